"""All rules on one run: after how many requests each of them rolls back, and after how many ours would promote."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np

from tests.bench.stats.draws import PER_S, Bools, Floats, Run, latencies
from tests.bench.stats.judge import kayenta
from tests.bench.stats.late import restarted
from tests.bench.stats.ours import (
    ALPHA,
    LATENCIES,
    MIN_EVENTS,
    NEED_PROMOTE,
    Engine,
    Looks,
    Means,
    engine_of,
    looks,
    need,
)
from tests.bench.stats.peeking import Steps, fixed_level, msprt
from tests.bench.stats.thresholds import ARGO_SUCCESS, SUCCESS, argo, flagger, point_estimates

ALPHAS: Final = (0.2, 0.1, 0.05, 0.02, 0.01, 0.001)
"""Of the curve that our one-metric test draws as its level moves."""

OURS: Final = "canary, as shipped"
ALONE: Final = "canary, alone"

_P99_US: Final = 1.25 * 1e6 * float(np.quantile(latencies(np.random.default_rng(3), 1 << 20), 0.99))
"""Flagger's threshold: a quarter above stable's true p99, which its user would have to know."""

ERROR_METRICS: Final = ("error_fast", "error", "error_timeout", "throughput")
"""What failures roll back by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """Whether a threshold is reached, look by look."""

    looks: Looks
    reached: Bools

    @property
    def first(self) -> float:
        """Requests at the first look that reaches it."""
        return float(self.looks.after[self.reached.argmax()]) if self.reached.any() else math.inf


@dataclass(kw_only=True)
class Case:
    """One run with all that our engine says of it; computed once, where asked for."""

    run: Run
    seed: int
    per_s: float = PER_S
    each: int = 0  # requests between two looks; 0: the usual looks
    steps: dict[str, Steps] = field(default_factory=dict)
    paths: dict[str, Floats] = field(default_factory=dict)

    @cached_property
    def looks(self) -> Looks:
        return looks(self.run.n, self.each)

    @cached_property
    def engine(self) -> Engine:
        return engine_of(self.seed)

    @cached_property
    def shipped(self) -> tuple[Floats, Floats]:
        return self.engine.shipped.paths(self.run, self.looks)

    @cached_property
    def strict(self) -> tuple[Floats, Floats]:
        return self.engine.strict.paths(self.run, self.looks)

    @cached_property
    def cost(self) -> list[Floats]:
        return self.engine.cost.paths(self.run, self.looks, self.engine.margins("cost"), seed=self.seed)

    @cached_property
    def cost_by_class(self) -> Floats:
        """Log e with nothing tolerated, price tiers told apart."""
        means, margin = self.engine.cost_by_class, self.engine.margins("cost")[1]
        return means.combine(margin)(means.paths(self.run, self.looks, [margin], seed=self.seed)[0])

    @cached_property
    def quality(self) -> list[Floats]:
        return self.engine.quality.paths(self.run, self.looks, self.engine.margins("quality"), seed=self.seed)

    def steps_of(self, metric: str) -> Steps:
        """The metric's sums of each 5 s."""
        if metric not in self.steps:
            self.steps[metric] = Steps.of(self.run, metric, per_s=self.per_s)
        return self.steps[metric]

    def _at(self, reached: Bools) -> float:
        return Crossing(looks=self.looks, reached=reached).first

    def _restarted(self, parts: Floats, combine: Callable[[Floats], Floats]) -> Floats:
        return restarted(parts, self.looks.after, combine, per_s=self.per_s)

    def shipped_path(self, name: str) -> Floats:
        """Log e of one metric's rollback side with the product's tolerances, restarts included."""
        if name in {"cost", "quality"}:
            means, parts = self._mean(name)
            return self._restarted(parts[0], means.combine(self.engine.margins(name)[0]))
        names = [f"{quantile}.rollback" for quantile in LATENCIES] if name == "latency" else [f"{name}.rollback"]
        return self._restarted(*self.engine.shipped.side(self.shipped[0], names))

    def shipped_breach(self, metric: str) -> float:
        """Rollback by this metric with the product's tolerances and its share of the budget."""
        if metric != "errors":
            return self._at(self.shipped_path(metric) >= need(metric))
        index, events = self.engine.shipped.index, self.shipped[1]
        least = {metric.name: MIN_EVENTS if metric.counts_failures else 0 for metric in self.engine.shipped.scoring.metrics}
        enough = {name: events[:, index[f"{name}.rollback"]] >= least[name] for name in ERROR_METRICS}
        return self._at(
            np.logical_or.reduce([enough[name] & (self.shipped_path(name) >= need(name)) for name in ERROR_METRICS])
        )

    def _mean(self, name: str) -> tuple[Means, list[Floats]]:
        return (self.engine.cost, self.cost) if name == "cost" else (self.engine.quality, self.quality)

    def alone_path(self, metric: str) -> Floats:
        """Log e of one metric with nothing tolerated, from the start alone."""
        if metric not in self.paths:
            self.paths[metric] = self._alone_path(metric)
        return self.paths[metric]

    def _alone_path(self, metric: str) -> Floats:
        if metric == "cost":
            return self.cost_by_class
        if metric == "quality":
            return self.engine.quality.combine(self.engine.margins(metric)[1])(self.quality[1])
        parts, events = self.strict
        rates = self.engine.strict
        if metric == "latency":
            latency, combine = rates.side(parts, [f"{name}.rollback" for name in LATENCIES])
            return combine(latency)
        column = rates.index["error_timeout.rollback"]
        return np.where(events[:, column] >= MIN_EVENTS, rates.one(parts, "error_timeout.rollback"), -math.inf)

    def alone(self, metric: str, alpha: float = ALPHA) -> float:
        """Rollback by this metric alone, with the whole budget and nothing tolerated."""
        return self._at(self.alone_path(metric) >= -math.log(alpha))

    def gate_path(self, name: str) -> Floats:
        """Log e of one guardrail's promote side."""
        if name in {"cost", "quality"}:
            means, parts = self._mean(name)
            return means.combine(self.engine.margins(name)[2])(parts[2])
        contrast = "error.promote.1" if name == "errors" else f"{name}.promote.1"
        return self.engine.shipped.one(self.shipped[0], contrast)

    def gate(self, name: str) -> Bools:
        """Whether one guardrail's promotion stands open, look by look."""
        return self.gate_path(name) >= NEED_PROMOTE

    def promoted(self, names: tuple[str, ...]) -> float:
        """When all of these guardrails stand open at one look."""
        return self._at(np.logical_and.reduce([self.gate(name) for name in names]))


def gates_of(metric: str) -> tuple[str, ...]:
    """The guardrails that a metric promotes by."""
    return LATENCIES if metric == "latency" else (metric,)


def rollbacks(case: Case, metric: str, *, curve: bool = False) -> dict[str, float]:
    """Requests until each rule rolls back for this metric; infinite where it never does. `curve`: at many levels."""
    run, per_s, steps = case.run, case.per_s, case.steps_of(metric)
    values = run.bad(metric)
    found = {
        OURS: case.shipped_breach(metric),
        ALONE: case.alone(metric),
        "mSPRT": msprt(steps, metric),
        "t-test each 5 s": fixed_level(steps, metric, every_s=5),
        "t-test each 60 s": fixed_level(steps, metric, every_s=60),
        "Kayenta, 10 s points": kayenta(values, run.candidate, point_s=10, per_s=per_s),
        "Kayenta, 60 s points": kayenta(values, run.candidate, point_s=60, per_s=per_s),
    }
    if metric in {"errors", "latency"}:
        for checks in (1, 5):
            name = f"Flagger, {checks} failed check{'s' if checks > 1 else ''}"
            found[name] = flagger(run, metric, failed_checks=checks, p99_us=_P99_US, per_s=per_s)
    if metric == "errors":
        found["Argo 95 %, 5 min, limit 3"] = argo(run, success=ARGO_SUCCESS, interval_s=300, failure_limit=3, per_s=per_s)
        found["Argo 99 %, 60 s, limit 0"] = argo(run, success=SUCCESS, interval_s=60, failure_limit=0, per_s=per_s)
        found["Argo 99 %, 60 s, limit 3"] = argo(run, success=SUCCESS, interval_s=60, failure_limit=3, per_s=per_s)
    if metric != "quality":
        found["arbr, each 5 min"] = point_estimates(run, metric, interval_s=300, per_s=per_s)
        found["arbr's estimates each 60 s"] = point_estimates(run, metric, interval_s=60, per_s=per_s)
    return found | (levels(case, metric) if curve else {})


def levels(case: Case, metric: str) -> dict[str, float]:
    """The rules that have a dial, at many positions of it."""
    steps = case.steps_of(metric)
    found = {f"alone@{alpha:g}": case.alone(metric, alpha) for alpha in ALPHAS}
    found |= {f"t@{z:g}": fixed_level(steps, metric, every_s=60, z=z) for z in (1.28, 1.645, 2.33, 3.09, 3.72)}
    if metric in {"errors", "latency"}:
        run, per_s = case.run, case.per_s
        checks = {k: flagger(run, metric, failed_checks=k, p99_us=_P99_US, per_s=per_s) for k in (1, 2, 3, 4, 5, 7)}
        found |= {f"flagger@{k}": delay for k, delay in checks.items()}
    return found
