"""Forecasts: how long until the evidence is in, from the growth that a plan's bets have before it begins."""

import math
from typing import Final

import numpy as np

from canary.stats import bets as rates
from canary.stats import means
from canary.stats.contrast import Contrast, Vector
from canary.stats.means import Effect, Margin, MeanMetric
from canary.terms import Frozen

_STEPS: Final = 60
_LARGEST_N: Final = 2.0**40


class Growth(Frozen, frozen=True, kw_only=True):
    """What one request adds to the log of each component, when the candidate is what it is supposed to be."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    log_prior: float  # of each component in the e-value

    def requests(self, need: float, *, chance: float = 0.5) -> float | None:
        """Requests by which the threshold has been reached with this chance; None where it may never be.

        Each component's log is taken for a Brownian motion with its drift and variance, and the fastest one counts.
        """
        found = [_passed(mean, sd, need - self.log_prior, chance) for mean, sd in zip(self.mean, self.deviation, strict=True)]
        reached = [n for n in found if n is not None]
        return min(reached) if reached else None

    def chance(self, need: float, n: float) -> float:
        """Chance that the threshold is reached within n requests: of the best component alone, hence rather too low."""
        parts = zip(self.mean, self.deviation, strict=True)
        return max(_chance(mean, sd, need - self.log_prior, n) for mean, sd in parts)


def rate_growth(contrast: Contrast, weight: float, *, candidate: float, stable: float, shares: int = 1) -> Growth:
    """Growth of a contrast of the canary lane at true rates; `shares`: the contrasts that its metric averages."""
    factors = rates.log_factors(contrast, weight)
    chance = np.array([weight * candidate, weight * (1 - candidate), (1 - weight) * stable, (1 - weight) * (1 - stable)])
    return _growth(factors, np.broadcast_to(chance, factors.shape), share=1 / (len(factors) * shares))


def pair_growth(contrast: Contrast, *, both: float, worse: float, better: float, shares: int = 1) -> Growth:
    """Growth of a pair contrast per pair: chances that both sides score 1, only the candidate's, only stable's."""
    factors = rates.log_factors(contrast, 0.0)
    chance = np.array([both, worse, better, 1 - both - worse - better])
    return _growth(factors, np.broadcast_to(chance, factors.shape), share=1 / (len(factors) * shares))


def mean_growth(metric: MeanMetric, margin: Margin, weight: float, effect: Effect) -> Growth:
    """Growth of a mean's bets on all strata, where the candidate does to the profile what the effect says."""
    score, chance = means.trial(metric, margin, (effect,), weight)
    sizes = means.bets(metric, margin, weight)[0]
    factors = np.log1p(sizes[:, None] * score.reshape(1, -1))
    pooled = means.POOLED_SHARE if means.strata_mixed(metric, margin) else 1.0
    return _growth(factors, np.broadcast_to(chance.reshape(1, -1), factors.shape), share=pooled / len(sizes))


def _growth(factors: Vector, chance: Vector, *, share: float) -> Growth:
    mean = (chance * factors).sum(axis=1)
    variance = (chance * (factors - mean[:, None]) ** 2).sum(axis=1)
    deviation = np.sqrt(np.maximum(variance, 0.0))
    return Growth(mean=tuple(mean.tolist()), deviation=tuple(deviation.tolist()), log_prior=math.log(share))


def _chance(mean: float, deviation: float, height: float, n: float) -> float:
    """P(a Brownian motion with this drift reaches the height within n): the inverse Gaussian law."""
    if height <= 0:
        return 1.0
    if deviation <= 0 or n <= 0:
        return float(n > 0 and mean * n >= height)
    scale = deviation * math.sqrt(n)
    from scipy.special import log_ndtr, ndtr  # a rollout's state is read where forecasts are not made

    straight = float(ndtr((mean * n - height) / scale))
    reflected = float(log_ndtr(-(mean * n + height) / scale)) + 2 * mean * height / deviation**2
    return min(1.0, straight + math.exp(min(reflected, 0.0)))


def _passed(mean: float, deviation: float, height: float, chance: float) -> float | None:
    if height <= 0:
        return 0.0
    if _chance(mean, deviation, height, _LARGEST_N) < chance:
        return None
    low, high = 0.0, _LARGEST_N
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if _chance(mean, deviation, height, middle) >= chance else (middle, high)
    return high
