"""What people are shown of each metric: the true difference lies in its interval, in the metric's own unit."""

from typing import Any

import msgspec
import numpy as np
import pytest

from canary.rollout.estimates import Estimate, Scale, estimates
from canary.rollout.simulate import T0, Lab, Question, _Run
from canary.rollout.state import SegmentRef
from canary.rollout.trend import past_of
from canary.rollout.weighing import evidence_of
from canary.rollout.worlds import EQUAL, Effect
from canary.stats.counts import Horizon, SegmentTotals, Totals
from canary.stats.evidence import MetricEvidence
from canary.stats.scoring import Scoring
from canary.stats.value_plan import Form
from canary.stats.values import columns_of
from canary.terms import Measures, MetricKind, MetricSpec, Phase, Scored
from tests.support.priced import MEASURES, PLAN, PROFILE
from tests.support.rollouts import a_metric, a_state, an_evidence
from tests.support.scorings import a_scoring
from tests.support.value_plans import a_preference


def after(effect: Effect, *, requests: int = 20_000) -> dict[str, Estimate]:
    """Estimates after so many requests at 50 %."""
    run = _Run(Lab(Question(plan=PLAN, profile=PROFILE, rate_per_s=100.0, measures=MEASURES), effect), np.random.default_rng(5))
    for _ in range(requests // 2_000):
        run._serve(20.0)
    tick = Horizon(journal="j", tick_at_us=round(T0.timestamp() * 1e6) + 10**10, dead=False)
    totals = run._ledger.settled([tick], run._lab.scoring)
    evidence = evidence_of(totals, run._state, newest_tick_age_s=0.0)
    return {one.metric: one for one in estimates(run._state, totals, evidence, past=past_of(evidence, age_s=60.0))}


@pytest.mark.parametrize(
    ("effect", "metric", "difference"),
    [
        (EQUAL, "error_timeout", 0.0),
        (EQUAL, "cost", 0.0),
        (EQUAL, "score", 0.0),
        (Effect(name="e", errors=5.0), "error_timeout", 0.043),
        (Effect(name="c", metric="cost", times=1.5), "cost", 0.00225),
        (Effect(name="s", metric="score", worst=0.2), "score", -1.6),
    ],
)
def test_the_interval_holds_the_true_difference(effect: Effect, metric: str, difference: float) -> None:
    one = after(effect)[metric]
    assert one.difference is not None
    assert one.difference.lower is not None
    assert one.difference.upper is not None
    assert one.difference.lower < difference < one.difference.upper
    assert one.difference.lower <= one.difference.estimate <= one.difference.upper
    assert one.candidate is not None
    assert one.stable is not None
    if difference:
        assert (one.difference.lower > 0) == (difference > 0) or one.difference.upper < 0, "a large one is told from none"


def test_quantiles_are_shown_at_the_tolerated_limit() -> None:
    found = after(EQUAL, requests=4_000)
    median = found["p50"]
    assert median.candidate == pytest.approx(0.5, abs=0.08)
    assert median.stable == pytest.approx(0.5, abs=0.08)


def test_an_average_shows_the_threshold_that_says_most_with_its_part_of_alpha() -> None:
    """Slower by a half: the median says most, and its interval is wider than the median's own row has it."""
    found = after(Effect(name="l", latency=1.5), requests=4_000)
    latency, median = found["latency"], found["p50"]
    assert latency.of == "p50"
    assert (latency.candidate, latency.stable) == (median.candidate, median.stable)
    assert latency.difference is not None
    assert median.difference is not None
    assert latency.difference.estimate == median.difference.estimate
    assert None not in {latency.difference.lower, median.difference.lower}
    assert 0 < latency.difference.lower < median.difference.lower  # type: ignore[operator]


def test_an_amount_has_a_ratio_too() -> None:
    cost = after(Effect(name="c", metric="cost", times=1.5))["cost"]
    assert cost.scale is Scale.AMOUNT
    assert cost.ratio is not None
    assert cost.ratio.lower is not None
    assert cost.ratio.upper is not None
    assert 1.0 < cost.ratio.lower < 1.5 < cost.ratio.upper


def test_throughput_is_a_ratio_of_completions() -> None:
    equal, out = after(EQUAL)["throughput"], after(Effect(name="o", errors=40.0))["throughput"]
    assert equal.scale is Scale.COMPLETIONS
    for one, below in ((equal, False), (out, True)):
        assert one.difference is None
        assert one.ratio is not None
        assert one.ratio.lower is not None
        assert one.ratio.upper is not None
        assert one.ratio.lower < one.ratio.estimate < one.ratio.upper
        assert (one.ratio.upper < 1) is below
    assert out.ratio is not None
    assert out.ratio.estimate == pytest.approx(0.6, abs=0.05), "40 % of the candidate's answers fail"


def test_nothing_counted_is_nothing_shown() -> None:
    lab = Lab(Question(plan=PLAN, profile=PROFILE, rate_per_s=1.0, measures=MEASURES), EQUAL)
    assert estimates(lab.state, None, None) == ()


def totals_of(
    scoring: Scoring, fours: dict[int, dict[str, tuple[int, int, int, int]]], values: dict[int, dict[int, int]] | None = None
) -> Totals:
    """Totals by segment: four counts of each contrast by name, and cells of values by their place."""
    size = columns_of(scoring).size
    segments = {}
    for segment, named in fours.items():
        vector = [0] * size
        for place, count in ((values or {}).get(segment) or {}).items():
            vector[place] = count
        counts = [n for contrast in scoring.contrasts for n in named.get(contrast.name, (0, 0, 0, 0))]
        segments[segment] = SegmentTotals(counts=tuple(counts), values=tuple(vector))
    return Totals(segments=segments, as_of_us=5)


def a_segment(id_: int, **fields: Any) -> SegmentRef:
    usual = {"id": id_, "stage": 0, "weight_bp": 5_000, "shadow_bp": 0, "scored": Scored.ALL, "opened_at": T0}
    return SegmentRef(**(usual | fields))


def shown(
    scoring: Scoring, totals: Totals, *segments: SegmentRef, phase: Phase = Phase.CANARYING
) -> tuple[dict[str, Estimate], dict[str, MetricEvidence]]:
    state = msgspec.structs.replace(a_state(phase), scoring=scoring, segments=segments)
    evidence = evidence_of(totals, state, newest_tick_age_s=0.0)
    rows = {row.metric: row for row in evidence.metrics}
    return {one.metric: one for one in estimates(state, totals, evidence)}, rows


def test_a_warm_up_counts_for_failures_alone_as_it_does_for_the_decision() -> None:
    scoring = a_scoring(stage_factors=(1.0,))
    names = ("p50.rollback", "p95.rollback", "p99.rollback")
    cold = dict.fromkeys(names, (90, 10, 50, 50)) | {"error_fast.rollback": (9, 91, 1, 99)}
    calm = dict.fromkeys(names, (50, 50, 50, 50)) | {"error_fast.rollback": (1, 99, 1, 99)}
    warm_up, own = a_segment(1, scored=Scored.FAILURES), a_segment(2)
    with_it, rows = shown(scoring, totals_of(scoring, {1: cold, 2: calm}), warm_up, own)
    without, _ = shown(scoring, totals_of(scoring, {2: calm}), own)
    assert with_it["p50"].difference == without["p50"].difference
    assert with_it["latency"] == without["latency"]
    assert with_it["error_fast"].candidate == pytest.approx(10 / 200), "failures count in a warm-up too"
    assert rows["latency"].n_candidate == 100


def test_a_warm_up_counts_for_no_mean() -> None:
    metric = MetricSpec(name="cost", kind=MetricKind.MEAN, source="header:x-cost", rollback_rho=1.02, promote_rho=1.1, cap=50.0)
    scoring = a_scoring(measures=Measures(metrics=(metric,)), stage_factors=(1.0,))
    block = columns_of(scoring).blocks[next(one.number for one in scoring.values.metrics if one.name == "cost")]
    half = block.size // 2
    dear, equal = (
        {block.offset + 40: 500, block.offset + half + 20: 500},
        {block.offset + 20: 500, block.offset + half + 20: 500},
    )
    warm_up, own = a_segment(1, scored=Scored.FAILURES), a_segment(2)
    found, rows = shown(scoring, totals_of(scoring, {1: {}, 2: {}}, {1: dear, 2: equal}), warm_up, own)
    assert rows["cost"].n_candidate == 500
    assert found["cost"].difference is not None
    assert found["cost"].difference.estimate == pytest.approx(0.0, abs=1e-9)


def test_the_shadow_shows_its_pairs() -> None:
    scoring = a_scoring()
    errors = dict.fromkeys(("error.promote.pairs", "error.rollback.pairs"), (2, 40, 5, 453))
    pairs = errors | {"p95.rollback.pairs": (5, 60, 9, 426)}
    found, rows = shown(
        scoring, totals_of(scoring, {1: pairs}), a_segment(1, stage=-1, weight_bp=0, shadow_bp=10_000), phase=Phase.SHADOWING
    )
    for metric in ("shadow_error", "error_timeout"):
        one = found[metric]
        assert one.of == "pairs"
        assert one.difference is not None, metric
        assert one.difference.estimate == pytest.approx(35 / 500)
        assert one.difference.lower is not None
        assert one.difference.lower > 0
        assert (one.candidate, one.stable) == (None, None), "of pairs the rates are nobody's"
    latency = found["latency"]
    assert (rows["latency"].pairs_worse, rows["latency"].pairs_better) == (60, 9)
    assert latency.of == "p95.pairs"
    assert latency.difference is not None
    assert latency.difference.estimate == pytest.approx(51 / 500)
    assert found["error_fast"].no_interval == "nothing is counted in both arms"
    assert found["throughput"].no_interval == "nothing is counted in both arms"


def test_a_preference_is_a_net_loss_over_pairs() -> None:
    measures = Measures(metrics=(a_preference(),), diversity="body")
    scoring = a_scoring(measures=measures)
    metric = next(one for one in scoring.values.metrics if one.form is Form.PREFERENCE)
    block = columns_of(scoring).blocks[metric.number]
    cells = {block.offset + 1: 60, block.offset + 2: 30, block.offset + 3: 100, block.offset + 4: 10}
    shadow = a_segment(1, stage=-1, weight_bp=0, shadow_bp=10_000)
    found, rows = shown(scoring, totals_of(scoring, {1: {}}, {1: cells}), shadow, phase=Phase.SHADOWING)
    one = found["preference"]
    assert (rows["preference"].pairs_worse, rows["preference"].pairs_better, rows["preference"].pairs) == (60, 30, 200)
    assert one.scale is Scale.NET_LOSS
    assert one.difference is not None
    assert one.difference.estimate == pytest.approx(30 / 190)
    assert found["diversity"].difference is None
    nothing, _ = shown(scoring, totals_of(scoring, {1: {}}), shadow, phase=Phase.SHADOWING)
    assert nothing["preference"].no_interval == "no pairs are settled"
    assert nothing["diversity"].no_interval == "how varied answers are has no scale"


def test_users_that_stay_have_no_intervals_and_are_told_why() -> None:
    state = msgspec.structs.replace(a_state(Phase.CANARYING), scoring=a_scoring(sticky=True), segments=(a_segment(1),))
    found = estimates(state, Totals(), an_evidence(a_metric()))
    assert [one.no_interval for one in found] == ["users are compared, and requests have no interval that holds"]
    assert (found[0].candidate, found[0].stable) == (2 / 250, 5 / 1_000)
