"""Raw values: what is missing, unreadable or out of bounds, in each form of metric, and what a failed answer is worth."""

import math

import pytest

from canary.stats.facts import UNTOLD
from canary.stats.grid import Known, Refused, Unknown
from canary.stats.readings import form_of, preferred, raw_of, reading_of
from canary.stats.value_plan import Form, ValueMetric
from canary.stats.value_profile import BUILT_IN
from canary.terms import Better, MetricKind
from tests.support.value_plans import a_cost, a_fact, a_preference, a_quality, a_rate

WELL = a_fact()
FAILED = a_fact(failed=True)
LEFT = a_fact(left=True)
UNREADABLE = [math.nan, -math.inf, -1.0]
LOST, NOTHING_LOST = Known(value=1.0), Known(value=0.0)


def test_a_metrics_form_follows_from_its_kind_and_direction() -> None:
    assert [form_of(spec) for spec in (a_rate(), a_cost(), a_quality(), a_preference())] == [
        Form.RATE,
        Form.AMOUNT,
        Form.QUALITY,
        Form.PREFERENCE,
    ]
    assert form_of(a_rate(better=Better.HIGHER)) is Form.RATE


@pytest.mark.parametrize("raw", UNREADABLE)
@pytest.mark.parametrize("fact", [WELL, FAILED, LEFT])
def test_an_amount_that_is_none_is_refused(raw: float, fact: object) -> None:
    assert isinstance(reading_of(Form.AMOUNT, a_cost(), raw, fact), Refused)  # type: ignore[arg-type]


def test_what_nobody_can_tell_is_unknown_in_every_form() -> None:
    for form, spec in ((Form.AMOUNT, a_cost()), (Form.RATE, a_rate()), (Form.QUALITY, a_quality())):
        assert reading_of(form, spec, UNTOLD, WELL) == Unknown()
    assert reading_of(Form.QUALITY, a_quality(), UNTOLD, FAILED) == LOST
    assert preferred(a_preference(), UNTOLD, 1.0, (WELL, WELL)) == (Unknown(), Unknown())
    assert preferred(a_preference(), 1.0, UNTOLD, (WELL, FAILED)) == (Unknown(), Unknown())


def test_an_answer_that_refuses_the_request_costs_nothing_where_it_says_nothing() -> None:
    assert reading_of(Form.AMOUNT, a_cost(), None, a_fact(client_error=True)) == NOTHING_LOST


def test_an_answer_that_ended_well_must_say_its_amount() -> None:
    assert isinstance(reading_of(Form.AMOUNT, a_cost(), None, WELL), Refused)


def test_a_failed_answer_costs_what_was_billed_and_nothing_if_nothing_was() -> None:
    for fact in (FAILED, LEFT):
        assert reading_of(Form.AMOUNT, a_cost(), None, fact) == NOTHING_LOST
        assert reading_of(Form.AMOUNT, a_cost(), 0.25, fact) == Known(value=0.25)


def test_a_failed_answers_quality_is_lost_whatever_it_says() -> None:
    assert reading_of(Form.QUALITY, a_quality(), 10.0, FAILED) == LOST
    assert reading_of(Form.QUALITY, a_quality(absent_is_bad=False), None, FAILED) == LOST


def test_a_quality_is_the_share_of_its_cap_that_is_lost() -> None:
    assert reading_of(Form.QUALITY, a_quality(), 7.5, WELL) == Known(value=0.25)
    assert reading_of(Form.QUALITY, a_quality(), 10.0, WELL) == NOTHING_LOST
    assert reading_of(Form.QUALITY, a_quality(cap=0.3), 0.1 + 0.2, WELL) == NOTHING_LOST  # .30000000000000004


@pytest.mark.parametrize("raw", UNREADABLE)
@pytest.mark.parametrize("absent_is_bad", [True, False])
def test_an_unreadable_quality_is_lost(raw: float, absent_is_bad: bool) -> None:
    assert reading_of(Form.QUALITY, a_quality(absent_is_bad=absent_is_bad), raw, WELL) == LOST


def test_a_missing_quality_counts_as_the_route_says() -> None:
    assert reading_of(Form.QUALITY, a_quality(), None, WELL) == LOST
    assert reading_of(Form.QUALITY, a_quality(absent_is_bad=False), None, WELL) == NOTHING_LOST


def test_a_quality_above_its_bound_is_refused() -> None:
    """Were it cut, scores of 0..100 under a cap of 1 would make any two versions equally good."""
    refused = reading_of(Form.QUALITY, a_quality(cap=1.0), 87.0, WELL)
    assert refused == Refused(reason="87 lies above the cap of 1")


def test_a_rate_is_bad_where_it_says_yes_or_no_where_that_is_better() -> None:
    assert [reading_of(Form.RATE, a_rate(), raw, WELL) for raw in (0.0, 1.0, 3.0)] == [NOTHING_LOST, LOST, LOST]
    better = a_rate(better=Better.HIGHER)
    assert [reading_of(Form.RATE, better, raw, WELL) for raw in (0.0, 1.0)] == [LOST, NOTHING_LOST]


@pytest.mark.parametrize("better", list(Better))
def test_a_missing_rate_counts_as_the_route_says_and_an_unreadable_one_is_bad(better: Better) -> None:
    assert reading_of(Form.RATE, a_rate(better=better), None, WELL) == LOST
    lenient = a_rate(better=better, absent_is_bad=False)
    assert reading_of(Form.RATE, lenient, None, WELL) == NOTHING_LOST
    assert [reading_of(Form.RATE, lenient, raw, WELL) for raw in UNREADABLE] == [LOST] * len(UNREADABLE)


def test_guards_that_every_rollout_has_are_read_from_the_fact() -> None:
    client_error, abandoned = (ValueMetric(form=Form.RATE, spec=spec) for spec in BUILT_IN)
    wrong, gone = a_fact(client_error=True), a_fact(left=True)
    assert [raw_of(client_error, fact) for fact in (wrong, gone, WELL)] == [1.0, 0.0, 0.0]
    assert [raw_of(abandoned, fact) for fact in (wrong, gone, WELL)] == [0.0, 1.0, 0.0]
    assert [spec.kind for spec in BUILT_IN] == [MetricKind.RATE] * 2


def test_values_that_were_not_handed_over_are_absent() -> None:
    second = ValueMetric(form=Form.AMOUNT, spec=a_cost(), index=1)
    assert raw_of(second, a_fact(1.0)) is None
    assert raw_of(second, a_fact(1.0, 2.0)) == 2.0


@pytest.mark.parametrize(
    ("mine", "theirs", "word"),
    [
        (8.0, 7.0, "win"),
        (7.0, 8.0, "loss"),
        (7.0, 7.0, "tie"),
        (None, 7.0, "loss"),
        (7.0, math.nan, "win"),
        (None, None, "tie"),
    ],
)
def test_of_a_pair_only_the_order_counts(mine: float | None, theirs: float | None, word: str) -> None:
    words = {"win": (NOTHING_LOST, LOST), "loss": (LOST, NOTHING_LOST), "tie": (NOTHING_LOST, NOTHING_LOST)}
    assert preferred(a_preference(), mine, theirs, (WELL, WELL)) == words[word]
    other_way = {"win": "loss", "loss": "win", "tie": "tie"}[word]
    if mine is not None and theirs == theirs:
        assert preferred(a_preference(better=Better.LOWER), mine, theirs, (WELL, WELL)) == words[other_way]


def test_a_failed_answer_loses_to_one_that_did_not_fail() -> None:
    assert preferred(a_preference(), 9.0, 1.0, (FAILED, WELL)) == (LOST, NOTHING_LOST)
    assert preferred(a_preference(), 1.0, 9.0, (WELL, FAILED)) == (NOTHING_LOST, LOST)
    assert preferred(a_preference(), 1.0, 9.0, (FAILED, FAILED)) == (NOTHING_LOST, NOTHING_LOST)


def test_where_absence_is_not_bad_a_pair_without_a_value_is_a_tie() -> None:
    lenient = a_preference(absent_is_bad=False)
    assert preferred(lenient, None, 9.0, (WELL, WELL)) == (NOTHING_LOST, NOTHING_LOST)
    assert preferred(lenient, None, 9.0, (FAILED, WELL)) == (LOST, NOTHING_LOST)
