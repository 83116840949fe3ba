"""Settled counts of any kind: one arm empty, a segment without a coin, more than 2^31 of one cell, clocks that step back."""

import math
from datetime import timedelta

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from canary.rollout.considered import considered
from canary.rollout.estimate_words import words_of
from canary.rollout.estimates import Estimate, estimates
from canary.rollout.past import WINDOW_S
from canary.rollout.plan import HarmBudget, ShadowStage
from canary.rollout.scoring_of import scoring_spec
from canary.rollout.state import Before, RolloutState, SegmentRef
from canary.rollout.trend import past_of, window_of
from canary.rollout.weighing import evidence_of
from canary.stats.counts import SegmentTotals, Totals
from canary.stats.scoring import Scoring, freeze
from canary.stats.tables import tables_of
from canary.stats.totals import shape_of
from canary.terms import Better, Measures, MetricKind, MetricSpec, Phase, Scored
from tests.support.rollouts import T0, a_plan, a_state, at
from tests.support.scorings import a_profile

MEASURES = Measures(
    metrics=(
        MetricSpec(name="cost", kind=MetricKind.MEAN, source="header:c", cap=5.0, share=0.1, promote_rho=1.1),
        MetricSpec(name="score", kind=MetricKind.MEAN, source="json:/s", better=Better.HIGHER, cap=10.0, promote_delta=0.2),
        MetricSpec(name="refused", kind=MetricKind.RATE, source="header:r", share=0.1, promote_rho=1.5, promote_delta=0.01),
        MetricSpec(name="judged", kind=MetricKind.PREFERENCE, source="json:/j", share=0.1, promote_delta=0.05),
    ),
    classes=("hard",),
    diversity="body",
)
PLAN = a_plan(
    shadow=ShadowStage(),
    limits={"error": 0.01, "p99": 1.0, "cost": 1.0, "score": 5.0, "cost_over_cap": 0.1},
    harm_budget=HarmBudget(failed=10.0, cost=3.0),
)
PENDING = a_state(plan=PLAN, measures=MEASURES)
SCORINGS = [freeze(a_profile(), scoring_spec(PENDING, rate_per_s=per_s)) for per_s in (None, 0.0, 100.0)]
WEIGHTS = st.sampled_from([0, 1, 500, 9_999, 10_000])


@st.composite
def segments(draw: st.DrawFn) -> list[SegmentRef]:
    return [
        SegmentRef(
            id=number,
            stage=draw(st.integers(-1, 1)),
            weight_bp=draw(WEIGHTS),
            shadow_bp=draw(st.sampled_from([0, 10_000])),
            scored=draw(st.sampled_from(Scored)),
            opened_at=T0 + timedelta(seconds=draw(st.sampled_from([-1e6, 0.0, 1e4]))),
        )
        for number in range(1, 1 + draw(st.integers(0, 3)))
    ]


def of_segment(scoring: Scoring, seed: int, *, largest: int, empty: frozenset[int]) -> SegmentTotals:
    """Counts from 0 to the largest; `empty` are those of a contrast's four cells that hold nothing."""
    rng, shape = np.random.default_rng(seed), shape_of(scoring)
    rates, values = (
        rng.integers(0, largest, size, endpoint=True) * rng.integers(0, 2, size) for size in msgspec.structs.astuple(shape)
    )
    rates[[place for place in range(len(rates)) if place % 4 in empty]] = 0
    assigned = rng.integers(0, largest, 2, endpoint=True).tolist()
    return SegmentTotals(
        counts=tuple(rates.tolist()),
        values=tuple(values.tolist()) if seed % 3 else (),
        assigned_candidate=assigned[0],
        assigned_stable=assigned[1],
        settled_s=(1_000,) * len(tables_of(scoring).ages_us),
    )


def is_in_order(found: Estimate) -> bool:
    """Whether each estimate lies within its interval."""
    return all(
        (one.lower is None or one.lower <= one.estimate + 1e-9 * abs(one.estimate))
        and (one.upper is None or one.upper >= one.estimate - 1e-9 * abs(one.estimate))
        for one in (found.difference, found.ratio)
        if one is not None
    )


@settings(max_examples=60, deadline=None)
@given(
    segments(),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 3, 1_000, 2**33]),
    st.frozensets(st.integers(0, 3)),
    st.integers(0, len(SCORINGS) - 1),
    st.sampled_from([-100.0, 0.0, 1e6]),
)
def test_no_counts_break_a_look(
    found: list[SegmentRef], seed: int, largest: int, empty: frozenset[int], scored_by: int, now_s: float
) -> None:
    scoring = SCORINGS[scored_by]
    totals = Totals(segments={one.id: of_segment(scoring, seed + one.id, largest=largest, empty=empty) for one in found})
    state: RolloutState = msgspec.structs.replace(
        a_state(Phase.CANARYING, plan=PLAN), measures=MEASURES, scoring=scoring, segments=tuple(found)
    )
    evidence = evidence_of(totals, state, newest_tick_age_s=0.0)
    sides = [(row.log_e_rollback, row.log_e_promote, row.log_e_promote_pairs) for row in evidence.metrics]
    assert all(math.isfinite(log_e) for row in sides for log_e in row if log_e is not None)
    past = past_of(evidence, age_s=now_s)
    decision = considered(
        state, totals, evidence, before=msgspec.structs.replace(Before.of(state, at(now_s)), past=past)
    ).decision
    shown = estimates(state, totals, evidence, past=past)
    said = [words_of(row, one, past) for row, one in zip(evidence.metrics, shown, strict=True)]
    assert "nan" not in " ".join([decision.because, *(text for one in said for text in msgspec.structs.astuple(one))])
    assert [one for one in shown if not is_in_order(one)] == []
    assert window_of(state) >= WINDOW_S
    assert Totals.of_bytes(totals.to_bytes(), scoring) == totals
