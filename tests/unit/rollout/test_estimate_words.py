"""An estimate as people read it: units, open ends, why there is no interval, and how long it takes."""

import math
from typing import Any

import pytest

from canary.rollout.estimate_words import EstimateWords, forecast_of, words_of
from canary.rollout.estimates import Estimate, Scale
from canary.rollout.past import Past
from canary.stats.evidence import MetricEvidence
from canary.stats.intervals import Interval
from tests.support.rollouts import a_metric

PAST = Past(age_s=60.0)


def interval(lower: float | None, estimate: float, upper: float | None) -> Interval:
    return Interval(lower=lower, estimate=estimate, upper=upper)


def told(row: MetricEvidence | None = None, *, past: Past | None = PAST, over: bool = False, **fields: Any) -> EstimateWords:
    row = row or a_metric()
    return words_of(row, Estimate(**{"metric": row.metric, **fields}), past, over=over)


@pytest.mark.parametrize(
    ("fields", "difference"),
    [
        ({"difference": interval(0.0039, 0.0205, None)}, "+2.05 (+0.39 to open) pp"),
        ({"difference": interval(-0.5, 0.0, 0.25), "scale": Scale.NET_LOSS}, "+0.00 (-50.00 to +25.00) % net loss"),
        (
            {
                "difference": interval(-0.0001, 0.0004, 0.00091234),
                "ratio": interval(0.978, 1.0345, None),
                "scale": Scale.AMOUNT,
                "unit": "USD",
            },
            "+0.0004 (-0.0001 to +0.0009123) USD, 1.03x (0.978x to open)",
        ),
        ({"ratio": interval(0.9, 0.95, 1.01), "scale": Scale.COMPLETIONS}, "0.95x (0.9x to 1.01x) of stable's completions"),
        ({"no_interval": "no pairs are settled"}, "no interval: no pairs are settled"),
        ({}, "-"),
    ],
)
def test_differences(fields: dict[str, Any], difference: str) -> None:
    assert told(**fields).difference == difference


@pytest.mark.parametrize(
    ("metric", "of", "name"),
    [
        ("latency", "p95", "latency (p95)"),
        ("latency", "p95.pairs", "latency (p95, pairs)"),
        ("latency", "later.pairs", "latency (later, pairs)"),
        ("error", "pairs", "errors, pairs"),
        ("shadow_error", "pairs", "errors in the shadow"),
        ("error", "", "errors"),
    ],
)
def test_the_threshold_that_is_shown_is_named(metric: str, of: str, name: str) -> None:
    assert told(a_metric(metric), of=of).name == name


def test_values_have_their_units() -> None:
    rate = told(candidate=0.028, stable=None)
    assert (rate.candidate, rate.stable) == ("2.80 %", "-")
    amount = told(candidate=0.0, stable=12_345.6, scale=Scale.AMOUNT, unit="ms")
    assert (amount.candidate, amount.stable) == ("0 ms", "12,346 ms")


def test_evidence_is_told_in_the_sentences_own_numbers() -> None:
    row = a_metric(log_e_rollback=math.log(609), need_rollback=math.log(1_000), log_e_promote=math.log(21))
    words = told(row, rollback_eta_s=75.0, promote_eta_s=0.0)
    assert (words.rollback, words.rollback_eta) == ("e=609 of 1,000", "75 s")
    assert (words.promote, words.promote_eta) == ("e=21 of 20", "reached")
    assert told(row, rollback_eta_s=0.0, over=True).rollback_eta == "reached"
    sideless = told(a_metric(need_rollback=None, log_e_promote=None, need_promote=None))
    assert (sideless.rollback, sideless.rollback_eta) == ("no guard", "-")
    assert (sideless.promote, sideless.promote_eta) == ("no gate", "-")


def test_a_gate_that_pairs_opened_says_so() -> None:
    row = a_metric(
        log_e_promote=-6.7, need_promote=math.log(40), log_e_promote_pairs=math.log(80), need_promote_pairs=math.log(40)
    )
    words = told(row, promote_eta_s=0.0)
    assert (words.promote, words.promote_eta) == ("e=80 of 40 by pairs", "reached")
    behind = a_metric(log_e_promote=3.0, need_promote=3.7, log_e_promote_pairs=0.0, need_promote_pairs=3.7)
    assert "pairs" not in told(behind).promote
    assert told(a_metric(promote_abstains="no_profile")).promote == "cannot pass: no_profile"


@pytest.mark.parametrize(
    ("past", "over", "eta"),
    [
        (None, False, "no forecast yet"),
        (Past(age_s=12.0), False, "no forecast yet"),
        (Past(age_s=31.0), False, "not growing"),
        (Past(age_s=31.0), True, "-"),
    ],
)
def test_what_is_not_known_yet_is_not_called_standing_still(past: Past | None, over: bool, eta: str) -> None:
    words = told(past=past, over=over)
    assert (words.rollback_eta, words.promote_eta) == (eta, eta)


@pytest.mark.parametrize(
    ("eta_s", "past", "said"),
    [
        (None, None, "No forecast yet: 0 s of looks, 30 s are needed."),
        (None, Past(age_s=12.4), "No forecast yet: 12 s of looks, 30 s are needed."),
        (None, Past(age_s=100.0, window_s=3_600.0), "No forecast yet: 100 s of looks, 6 min are needed."),
        (None, PAST, "No forecast: at the present growth not every gate opens."),
        (7_200.0, PAST, "At the present growth every gate is open in 2 h."),
        (0.0, None, "Every gate is open."),
    ],
)
def test_all_gates_in_one_sentence(eta_s: float | None, past: Past | None, said: str) -> None:
    assert forecast_of(eta_s, past) == said
    assert forecast_of(eta_s, past, over=True) == ""
