"""Numbers as people read them."""

import math

import pytest

from canary.rollout import words
from tests.support.rollouts import a_metric


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(37, 250, "14.8 %"), (5, 1_010, "0.5 %"), (0, 10, "0 %"), (0, 0, "0 %"), (1, 3_000, "0.033 %"), (10, 10, "100 %")],
)
def test_rates(part: int, whole: int, text: str) -> None:
    assert words.share(part, whole) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (42.4, "42 s"),
        (119, "119 s"),
        (120, "2 min"),
        (210, "3.5 min"),
        (7_200, "2 h"),
        (129_600, "36 h"),
        (259_200, "3 d"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    assert words.span(seconds) == text


@pytest.mark.parametrize(
    ("e", "text"), [(3_210, "e=3,210"), (2.71, "e=2.7"), (0.02, "e=0.02"), (1e-9, "e=under 0.001"), (1e9, "e=1,000,000,000")]
)
def test_evidence(e: float, text: str) -> None:
    assert words.e_value(math.log(e)) == text


def test_evidence_beyond_reading_is_a_power_of_ten() -> None:
    assert words.e_value(math.log(10) * 40) == "e=10^40"
    assert words.e_value(5_000.0) == "e=10^2171"


def test_weights_below_a_percent() -> None:
    assert words.weight(50) == "0.5 %"
    assert words.weight(2_500) == "25 %"


def test_a_metric_without_counts_says_so() -> None:
    assert words.comparison(a_metric("error", n_candidate=0, n_stable=0)) == "errors: nothing counted yet"


def test_latency_counts_slow_answers() -> None:
    text = "slow answers 0.8 % on candidate against 0.5 % on stable (2/250 against 5/1,000)"
    assert words.comparison(a_metric("latency")) == text


def test_an_unknown_metric_reads_as_words() -> None:
    assert words.name_of("schema_invalid") == "schema invalid"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.004212, "0.004212"),
        (0.0000042123, "0.000004212"),
        (12_345.678, "12,346"),
        (999.96, "1000"),
        (1.0, "1"),
        (12.50001, "12.5"),
        (100.0, "100"),
        (0.0, "0"),
        (-3.25, "-3.25"),
        (1e-9, "1.000e-09"),
        (1e15, "1.000e+15"),
    ],
)
def test_amounts_have_four_digits_and_no_exponent_where_one_can_do_without(value: float, text: str) -> None:
    assert words.number(value) == text
    assert words.number(value, sign=True) == ("+" if value >= 0 else "") + text
    assert words.amount(value, "USD") == f"{text} USD"
