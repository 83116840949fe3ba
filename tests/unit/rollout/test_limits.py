"""Limits of the candidate alone: rates, means, qualities and quantiles; what is under its limit is not told."""

import math
from typing import Any

import pytest

from canary.rollout.counted import counted
from canary.rollout.limits import limit_alerts
from canary.rollout.plan import Plan
from canary.rollout.scoring_of import scoring_spec
from canary.rollout.signs import alerted
from canary.rollout.state import SegmentRef
from canary.stats.comparisons import comparisons_of
from canary.stats.contrast import Rule
from canary.stats.counts import SegmentTotals, Totals
from canary.stats.evidence import Alert, Evidence
from canary.stats.family import family_of
from canary.stats.guards import limit_log_e
from canary.stats.scoring import Scoring, freeze
from canary.stats.values import columns_of
from canary.terms import Better, Measures, MetricKind, MetricSpec, Phase, Scored
from tests.support.rollouts import T0, a_metric, a_plan, a_state, an_evidence
from tests.support.scorings import a_profile, a_scoring, a_spec

COST = MetricSpec(name="cost", kind=MetricKind.MEAN, source="header:x-cost", cap=50.0, unit="USD")
SCORE = MetricSpec(name="score", kind=MetricKind.MEAN, source="json:/s", better=Better.HIGHER, cap=10.0)


def a_segment(**fields: Any) -> SegmentRef:
    usual = {"id": 7, "stage": 0, "weight_bp": 500, "shadow_bp": 0, "scored": Scored.ALL, "opened_at": T0}
    return SegmentRef(**(usual | fields))


def told(
    scoring: Scoring, limits: dict[str, float], totals: Totals, evidence: Evidence, *segments: SegmentRef
) -> tuple[Alert, ...]:
    found = counted(totals, scoring, segments or [a_segment()])
    return tuple(limit_alerts(a_plan(limits=limits), found, scoring, evidence))


def rates(scoring: Scoring, four: tuple[int, int, int, int], *, rule: Rule = Rule.BAD, name: str = "") -> Totals:
    """Totals of segment 7 in which every contrast of a rule, or the one of this name, has these counts."""
    chosen = [one.name == name if name else one.rule is rule and not one.pairs for one in scoring.contrasts]
    counts = tuple(n for here in chosen for n in (four if here else (0, 0, 0, 0)))
    return Totals(segments={7: SegmentTotals(counts=counts)})


def values(scoring: Scoring, metric: str, bins: dict[int, int], *, segment: int = 7) -> Totals:
    """Totals of a segment in which so many of the candidate's answers are at each point of the metric's grid."""
    columns = columns_of(scoring)
    block = columns.blocks[next(one.number for one in scoring.values.metrics if one.name == metric)]
    vector = [0] * columns.size
    for place, count in bins.items():
        vector[block.offset + place] = count
    counts = tuple([0] * (4 * len(scoring.contrasts)))
    return Totals(segments={segment: SegmentTotals(counts=counts, values=tuple(vector))})


def test_errors_are_told_by_the_candidate_alone() -> None:
    scoring = a_scoring()
    (alert,) = told(scoring, {"error": 0.02}, rates(scoring, (80, 920, 8_000, 12_000)), an_evidence())
    assert alert.name == "limit:error"
    assert alert.because.startswith("errors on the candidate 8 % (80/1,000), over the limit of 2 %, e=")
    assert told(scoring, {"error": 0.02}, rates(scoring, (15, 985, 900, 0)), an_evidence()) == ()


def test_the_copies_errors_are_not_those_of_live_traffic() -> None:
    scoring = a_scoring()
    assert told(scoring, {"error": 0.02}, rates(scoring, (80, 920, 0, 0), name="error.rollback.pairs"), an_evidence()) == ()


def test_each_age_of_errors_has_its_part_of_the_chance() -> None:
    """So many are worth e = 20 and not 40: enough for a rate that is counted once, too little for the loudest of several."""
    scoring = a_scoring()
    ages = [one for one in scoring.contrasts if one.rule is Rule.BAD and not one.pairs]
    bad = next(bad for bad in range(20, 80) if limit_log_e(0.02, n=1_000, bad=bad) >= math.log(20))
    assert limit_log_e(0.02, n=1_000, bad=bad) < math.log(20 * len(ages))
    assert told(scoring, {"error": 0.02}, rates(scoring, (bad, 1_000 - bad, 0, 0)), an_evidence()) == ()
    row = a_metric("refusal", bad_candidate=bad, n_candidate=1_000)
    assert len(told(scoring, {"refusal": 0.02}, Totals(), an_evidence(row))) == 1
    fewer = a_metric("refusal", bad_candidate=bad - 1, n_candidate=1_000)
    assert told(scoring, {"refusal": 0.02}, Totals(), an_evidence(fewer)) == ()


def test_a_declared_rate_reads_its_row() -> None:
    row = a_metric("refusal", bad_candidate=60, n_candidate=250)
    (alert,) = told(a_scoring(), {"refusal": 0.05}, Totals(), an_evidence(row))
    assert "refusal on the candidate 24 % (60/250)" in alert.because
    assert told(a_scoring(), {"refusal": 0.05}, Totals(), an_evidence(a_metric("refusal", abstains="nothing"))) == ()


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"eror": 0.02}, "the limit on eror guards nothing: no such metric is counted"),
        ({"error": 5.0}, "the limit on errors guards nothing: a rate is never over 5"),
        ({"error": 1.0}, "the limit on errors guards nothing: a rate is never over 1"),
        ({"p99": 20.0}, "the limit on p99 latency guards nothing: no answer may take 20 s, the route's deadline comes first"),
    ],
)
def test_a_limit_that_guards_nothing_is_said(limits: dict[str, float], said: str) -> None:
    (alert,) = told(a_scoring(), limits, Totals(), an_evidence())
    assert alert.because == said


def with_limits(**limits: float) -> tuple[Scoring, Plan]:
    plan = a_plan(limits=limits)
    state = a_state(plan=plan, answer_timeout_s=10.0, connect_timeout_s=3.0)
    return freeze(a_profile(), scoring_spec(state)), plan


def test_a_quantile_has_a_counter_of_its_own_that_nothing_decides_by() -> None:
    scoring, _ = with_limits(p99=2.0)
    (limit,) = [contrast for contrast in scoring.contrasts if contrast.name.endswith(".limit")]
    assert (limit.name, limit.candidate_us, limit.stable_us) == ("p99.limit", 2_000_000, 2_000_000)
    assert 2_000_000 in scoring.candidate_us
    place = scoring.contrasts.index(limit)
    assert place not in scoring.read
    assert family_of(scoring).rollback == family_of(with_limits()[0]).rollback, "late onset does not bet on it either"
    without, _ = with_limits()
    assert without.metrics == scoring.metrics, "no share of the budget, and no place of another contrast, moved"
    assert not [one for one in with_limits(p99=10.0)[0].contrasts if one.name.endswith(".limit")], "past the deadline"


def test_users_are_not_compared_by_a_limit() -> None:
    state = a_state(plan=a_plan(limits={"p99": 2.0}), answer_timeout_s=10.0, sticky=True)
    scoring = freeze(a_profile(), scoring_spec(state))
    assert [one for one in scoring.contrasts if one.name == "p99.limit"]
    assert "p99.limit" not in comparisons_of(scoring).place


def test_a_quantile_over_its_limit_is_told_in_milliseconds() -> None:
    scoring, _ = with_limits(p99=1.5)
    (alert,) = told(scoring, {"p99": 1.5}, rates(scoring, (60, 940, 5_000, 0), name="p99.limit"), an_evidence())
    assert alert.because.startswith(
        "p99 latency on the candidate over the limit of 1,500 ms: 6 % (60/1,000) failed or took longer, 1 % may, e="
    )
    kept = rates(scoring, (10, 990, 5_000, 0), name="p99.limit")
    assert told(scoring, {"p99": 1.5}, kept, an_evidence()) == ()
    cold = a_segment(scored=Scored.FAILURES)
    slow = rates(scoring, (60, 940, 0, 0), name="p99.limit")
    assert told(scoring, {"p99": 1.5}, slow, an_evidence(), cold) == (), "a warm-up counts for failures alone"


def test_a_mean_over_its_limit_is_told_in_its_unit() -> None:
    scoring = a_scoring(measures=Measures(metrics=(COST,)))
    grid = next(one.mean.grid for one in scoring.values.metrics if one.name == "cost" and one.mean)
    at = next(place for place, point in enumerate(grid.points) if point > 10)
    worth, row = grid.points[at], a_metric("cost", mean_candidate=grid.points[at], mean_stable=1.0, unit="USD")
    totals = values(scoring, "cost", {at: 300})
    (alert,) = told(scoring, {"cost": 0.8 * worth}, totals, an_evidence(row))
    assert alert.because.startswith(f"cost on the candidate {worth:.2f} USD on average of 300, over the limit of ")
    assert told(scoring, {"cost": 1.01 * worth}, totals, an_evidence(row)) == ()
    unknown = values(scoring, "cost", {grid.unknown: 3_000})
    assert told(scoring, {"cost": 0.1}, unknown, an_evidence(row)) == (), "what is not known speaks against nobody"
    cold = a_segment(scored=Scored.FAILURES)
    assert told(scoring, {"cost": 0.8 * worth}, totals, an_evidence(row), cold) == ()


def test_a_limit_above_what_is_counted_of_a_value_guards_nothing() -> None:
    """Where no cap is declared the profile sets the grid's, so that no file tells whether a mean could ever lie beyond."""
    scoring = a_scoring(measures=Measures(metrics=(COST,)))
    grid = next(one.mean.grid for one in scoring.values.metrics if one.name == "cost" and one.mean)
    row = a_metric("cost", mean_candidate=grid.cap, mean_stable=1.0, unit="USD")
    all_over = values(scoring, "cost", {grid.over: 3_000})
    (alert,) = told(scoring, {"cost": 0.9 * grid.cap}, all_over, an_evidence(row))
    assert "over the limit of" in alert.because
    (alert,) = told(scoring, {"cost": grid.cap}, all_over, an_evidence(row))
    assert alert.because == (
        "the limit on cost guards nothing: values are cut to 50 USD before they are averaged: give it a cap above the limit"
    )


def test_a_quality_has_a_floor() -> None:
    scoring = a_scoring(measures=Measures(metrics=(SCORE,)))
    row = a_metric("score", mean_candidate=5.0, mean_stable=9.0)
    half = values(scoring, "score", {16: 400})  # 16 of 32 steps lost
    (alert,) = told(scoring, {"score": 7.0}, half, an_evidence(row))
    assert alert.because.startswith("score on the candidate 5 on average of 400, under the limit of 7, e=")
    assert told(scoring, {"score": 4.0}, half, an_evidence(row)) == ()
    (nothing,) = told(scoring, {"score": 10.0}, half, an_evidence(row))
    assert nothing.because == "the limit on score guards nothing: nothing is worth more than 10"


def test_users_that_stay_have_no_limit_of_a_mean() -> None:
    scoring = a_scoring(measures=Measures(metrics=(COST,)), sticky=True)
    (alert,) = told(scoring, {"cost": 1.0}, Totals(), an_evidence(a_metric("cost", mean_candidate=5.0, mean_stable=5.0)))
    assert "guards nothing: where users stay on their arm means are not counted by request" in alert.because


def test_a_limit_stands_among_a_looks_alerts_and_breaches_nothing() -> None:
    scoring, plan = with_limits(p99=1.5)
    state = a_state(Phase.CANARYING, plan=plan, scoring=scoring)
    found = alerted(state, rates(scoring, (60, 940, 5_000, 0), name="p99.limit"), an_evidence())
    assert found is not None
    assert [alert.name for alert in found.alerts] == ["limit:p99"]
    assert not any(row.breached for row in found.metrics)


def test_without_limits_the_scoring_is_as_it_was() -> None:
    assert a_spec().limits_us == ()
