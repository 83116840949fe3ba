"""What is known of a metric of values before a rollout, and what is asked of it: the frozen parts of every bet on a mean."""

import numpy as np

from canary.stats.contrast import Vector
from canary.stats.grid import Grid
from canary.terms import Frozen


class Effect(Frozen, frozen=True, kw_only=True):
    """One alternative: the candidate's values are stable's times `times`, and a share `worst` of them becomes the cap.

    Of values that are 0 or 1 a share below 0 says how many fewer are 1.
    """

    times: float = 1.0
    worst: float = 0.0


class Margin(Frozen, frozen=True, kw_only=True, cache_hash=True):
    """One side of a metric. Null: mean <= rho * stable's + delta (rollback), >= (promote). No effects: bets without profile."""

    name: str  # unique, "cost.rollback": pairs are rounded under it
    rho: float = 1.0
    delta: float = 0.0
    promote: bool = False
    pairs: bool = False
    effects: tuple[Effect, ...] = ()


class MeanMetric(Frozen, frozen=True, kw_only=True, cache_hash=True):
    """What is counted and what stable's traffic was like, frozen for the rollout's life."""

    name: str
    grid: Grid
    profile: tuple[tuple[float, ...], ...]  # expected counts of the grid's points, a row for each stratum
    bounded: bool = False  # no value can exceed the cap, so that none is ever cut

    @property
    def binary(self) -> bool:
        """Whether values are 0 or 1: nothing is rounded or cut, and a pair has four outcomes."""
        return len(self.grid.points) == 2

    def shares(self) -> Vector:
        """Each stratum's share of the profile."""
        rows = np.array(self.profile)
        total = float(rows.sum())
        return rows.sum(axis=1) / total if total else np.zeros(len(rows))

    def spread(self) -> Vector:
        """Distribution over the points within each stratum, [strata, points]; that of all where a stratum was not seen."""
        rows = np.array(self.profile)
        totals = rows.sum(axis=1, keepdims=True)
        pooled = rows.sum(axis=0)
        if not pooled.sum():
            return np.zeros_like(rows)
        return np.where(totals > 0, rows / np.where(totals > 0, totals, 1), pooled / pooled.sum())

    def centers(self) -> Vector:
        """c of each stratum."""
        return np.asarray((self.spread() * np.array(self.grid.points)).sum(axis=1))

    def mean(self) -> float:
        """The profile's mean."""
        return float((self.shares() * self.centers()).sum())
