"""Makers of plans of values: metrics as a route declares them, facts of answers, profiles of many, counted columns."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from canary.stats.cells import PAIR_DROP, PAIR_START, START, pack
from canary.stats.evidence import MetricEvidence
from canary.stats.facts import Fact
from canary.stats.side import Counted, Ints
from canary.stats.spec import ScoringSpec
from canary.stats.value_cells import columns_of_plan, end_cells, pair_cells
from canary.stats.value_plan import ValueMetric, ValuePlan
from canary.stats.value_planning import plan_values
from canary.stats.value_profile import ValueProfile, value_profile_cells
from canary.stats.value_rows import Look
from canary.stats.value_sides import sides_of_plan
from canary.terms import Arm, Better, Measures, MetricKind, MetricSpec, Scored

TIMEOUT_US = 61_000_000
FACTORS = (10.0, 2.0, 1.0, 1.0)
"""Of stages at 1, 5, 25 and 50 %."""


def a_cost(**changes: Any) -> MetricSpec:
    usual = {"name": "cost", "kind": MetricKind.MEAN, "source": "header:x-cost", "unit": "USD", "share": 0.1}
    return MetricSpec(**{**usual, "rollback_rho": 1.02, "promote_rho": 1.1, **changes})


def a_quality(**changes: Any) -> MetricSpec:
    usual = {"name": "score", "kind": MetricKind.MEAN, "source": "json:/score", "better": Better.HIGHER, "cap": 10.0}
    return MetricSpec(**{**usual, "share": 0.1, "rollback_delta": 0.05, "promote_delta": 0.2, **changes})


def a_rate(**changes: Any) -> MetricSpec:
    usual = {"name": "invalid", "kind": MetricKind.RATE, "source": "header:x-invalid", "share": 0.03}
    margins = {"rollback_rho": 1.1, "rollback_delta": 0.002, "promote_rho": 1.5, "promote_delta": 0.005}
    return MetricSpec(**{**usual, **margins, **changes})


def a_preference(**changes: Any) -> MetricSpec:
    usual = {"name": "preference", "kind": MetricKind.PREFERENCE, "source": "json:/score", "better": Better.HIGHER}
    return MetricSpec(**{**usual, "share": 0.03, "rollback_delta": 0.01, "promote_delta": 0.05, **changes})


def a_spec(*metrics: MetricSpec, classes: tuple[str, ...] = (), diversity: str = "", **changes: Any) -> ScoringSpec:
    measures = Measures(metrics=metrics, classes=classes, diversity=diversity)
    usual = {"answer_timeout_s": 60.0, "connect_timeout_s": 5.0, "stage_factors": FACTORS, "answer_key": b"k" * 16}
    return ScoringSpec(**{**usual, "measures": measures, **changes})


def a_fact(*values: float | None, **changes: Any) -> Fact:
    """An answer that ended well after 100 ms."""
    usual = {"age_us": 100_000, "latency_us": 90_000, "failed": False, "left": False, "exchange_id": b"x" * 16}
    return Fact(**{**usual, "values": values, **changes})


def profile_of(spec: ScoringSpec, facts: Iterable[tuple[Fact, int]]) -> ValueProfile:
    """Of stable's answers, each with its stratum."""
    cells: dict[int, int] = {}
    for fact, stratum in facts:
        for key in value_profile_cells(spec.measures, fact, stratum):
            cells[key] = cells.get(key, 0) + 1
    return ValueProfile.of(cells)


def a_plan(spec: ScoringSpec, facts: Iterable[Fact] = (), *, stratum: int = 0) -> ValuePlan:
    """Planned from a profile of these answers, its shares of the whole budget."""
    plan = plan_values(profile_of(spec, ((fact, stratum) for fact in facts)), spec, age_us=TIMEOUT_US)
    return plan.scaled(plan.share + plan.rare_share + 0.55)


def metric_of(plan: ValuePlan, name: str) -> ValueMetric:
    return next(metric for metric in plan.metrics if metric.name == name)


class Tally:
    """Cells of one segment, as journals would count them."""

    def __init__(self, plan: ValuePlan) -> None:
        self.plan = plan
        self.cells: dict[int, int] = {}

    def _count(self, keys: Iterable[int], times: int = 1) -> None:
        for key in keys:
            self.cells[key] = self.cells.get(key, 0) + times

    def start(self, arm: Arm, *, stratum: int = 0, times: int = 1) -> None:
        self._count([pack(metric=START, stratum=stratum, arm=int(arm is Arm.CANDIDATE), second=7, bin_index=0)], times)

    def answer(self, arm: Arm, fact: Fact, *, stratum: int = 0, times: int = 1) -> None:
        """A start and its end."""
        self.start(arm, stratum=stratum, times=times)
        self._count(end_cells(self.plan, arm, fact, stratum), times)

    def pair(self, live: Fact, shadow: Fact | None, *, stratum: int = 0, times: int = 1, dropped: bool = False) -> None:
        """A copy that is meant to be sent; None: nothing more is known of it."""
        self._count([pack(metric=PAIR_START, stratum=stratum, arm=0, second=7, bin_index=0)], times)
        if dropped:
            self._count([pack(metric=PAIR_DROP, stratum=stratum, arm=0, second=7, bin_index=0)], times)
        elif shadow is not None:
            self._count(pair_cells(self.plan, live, shadow, stratum), times)

    def vector(self) -> Ints:
        return vector_of(self.plan, self.cells)

    def counted(self, weight_bp: int = 5_000, scored: Scored = Scored.ALL) -> Counted:
        return counted(self.vector(), weight_bp, scored)


def vector_of(plan: ValuePlan, cells: Mapping[int, int]) -> Ints:
    columns = columns_of_plan(plan)
    vector = np.zeros(columns.size, dtype=np.int64)
    columns.add(vector, np.array(list(cells), dtype=np.int64), np.array(list(cells.values()), dtype=np.int64))
    return vector


def counted(vector: Ints, weight_bp: int = 5_000, scored: Scored = Scored.ALL) -> Counted:
    return Counted(weight_bp=weight_bp, scored=scored, rates=np.zeros((1, 0, 4), dtype=np.int64), values=vector)


def rollback_log_e(plan: ValuePlan, found: Iterable[Counted]) -> dict[str, float]:
    """Every side's, from the rollout's start."""
    segments = list(found)
    return {
        side.name: float(side.combine(sum((side.components(one) for one in segments), np.zeros(side.size))))
        for side in sides_of_plan(plan)
    }


def evidence_of(
    plan: ValuePlan, spec: ScoringSpec, *found: Counted, stage: int = 0, gated: tuple[int, ...] = ()
) -> dict[str, MetricEvidence]:
    """Rows by metric."""
    rows = Look(plan, spec, found, rollback=rollback_log_e(plan, found), stage=stage, gated=gated).rows()
    return {row.metric: row for row in rows}
