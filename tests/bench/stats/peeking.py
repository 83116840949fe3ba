"""Tests of two means that are looked at again and again: z, t, and the mixture test that allows for it asymptotically.

z and t: one-sided at 5 %, by the pooled proportion and by Welch's statistic with the normal quantile, on everything since the
start. mSPRT: Johari, Koomen, Pekelis, Walsh, "Peeking at A/B tests" (KDD 2017), the normal mixture with the variance as
estimated so far, two-sided at 5 %, a rollback where the candidate is the worse one; burn-in of 100 requests of each arm.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from tests.bench.stats.draws import Floats, Run

STEP_S: Final = 5
LEAST: Final = 30
BURN_IN: Final = 100
Z: Final = 1.6448536269514722
TAU: Final = {"errors": 0.01, "quality": 0.02}
"""Prior scale of the difference; latency and cost: a tenth of stable's mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Cumulative number, sum and sum of squares, [candidate, stable] x steps."""

    each: int
    n: Floats
    total: Floats
    squares: Floats

    @classmethod
    def of(cls, run: Run, metric: str, *, per_s: float) -> "Steps":
        each = max(1, round(STEP_S * per_s))
        size = run.n // each
        place = np.arange(size * each) // each + np.where(run.candidate[: size * each], 0, size)
        values = run.bad(metric)[: size * each]
        parts = [np.bincount(place, weights=w, minlength=2 * size) for w in (None, values, values * values)]
        n, total, squares = (part.reshape(2, size).cumsum(axis=1).astype(np.float64) for part in parts)
        return cls(each=each, n=n, total=total, squares=squares)

    def difference(self) -> tuple[Floats, Floats]:
        """Candidate's mean less stable's, and the variance of that."""
        with np.errstate(invalid="ignore", divide="ignore"):
            means = self.total / self.n
            spread = np.maximum(self.squares / self.n - means * means, 0) / np.maximum(self.n - 1, 1)
        return means[0] - means[1], spread[0] + spread[1]


def _first(crossed: Floats, each: int, every: int) -> float:
    """Requests at the first look of every `every` steps that crossed."""
    seen = np.flatnonzero(crossed[every - 1 :: every])
    return float((seen[0] + 1) * every * each) if len(seen) else math.inf


def fixed_level(steps: Steps, metric: str, *, every_s: int, z: float = Z) -> float:
    """The first look at which the fixed-sample test is significant."""
    difference, variance = steps.difference()
    if metric == "errors":
        pooled = steps.total.sum(axis=0) / steps.n.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = pooled * (1 - pooled) * (1 / steps.n).sum(axis=0)
    enough = (steps.n >= LEAST).all(axis=0) & (variance > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        crossed = enough & (difference / np.sqrt(variance) >= z)
    return _first(crossed, steps.each, every_s // STEP_S)


def msprt(steps: Steps, metric: str, *, alpha: float = 0.05) -> float:
    """The first step at which the mixture reaches 1 / alpha and the candidate is the worse one."""
    difference, variance = steps.difference()
    with np.errstate(invalid="ignore", divide="ignore"):
        tau = TAU.get(metric) or 0.1 * steps.total[1] / steps.n[1]
        prior = np.square(tau)
        log_e = 0.5 * np.log(variance / (variance + prior)) + difference**2 * prior / (2 * variance * (variance + prior))
    enough = (steps.n >= BURN_IN).all(axis=0) & (variance > 0)
    return _first(enough & (difference > 0) & (log_e >= -math.log(alpha)), steps.each, 1)
