"""What can be expected at best, and how sure a share of runs is."""

import math
from typing import Final

import numpy as np
from scipy.stats import beta

from tests.bench.stats.draws import Floats

LEVEL: Final = 0.99
"""Of one-sided Clopper-Pearson limits."""


def upper(hits: int, runs: int, *, level: float = LEVEL) -> float:
    """The largest chance that is still compatible with so many hits."""
    return 1.0 if hits >= runs else float(beta.ppf(level, hits + 1, runs - hits))


def lower(hits: int, runs: int, *, level: float = LEVEL) -> float:
    """The smallest chance that is still compatible with so many hits."""
    return 0.0 if hits <= 0 else float(beta.ppf(1 - level, hits, runs - hits + 1))


def _kl(p: float, q: float) -> float:
    """Of two coins, in nats."""
    terms = [(a, b) for a, b in ((p, q), (1 - p, 1 - q)) if a > 0]
    return math.inf if any(b <= 0 for _, b in terms) else sum(a * math.log(a / b) for a, b in terms)


def rate_bound(candidate: float, stable: float, weight: float, *, alpha: float = 0.05) -> float:
    """Requests that any test of level alpha needs on average to see that one rate is above the other, both unknown.

    ln(1 / alpha) over the smallest divergence between what is and what the null allows: both arms at one rate.
    """
    both = weight * candidate + (1 - weight) * stable
    return -math.log(alpha) / (weight * _kl(candidate, both) + (1 - weight) * _kl(stable, both))


def promote_rate_bound(rate: float, weight: float, *, rho: float, delta: float, alpha: float = 0.05) -> float:
    """The same for "the candidate, equal to stable, is below rho * stable + delta"."""
    tried = np.linspace(rate * 0.2, rate, 20_000)
    edge = rho * tried + delta
    cost = weight * _kls(rate, edge) + (1 - weight) * _kls(rate, tried)
    return -math.log(alpha) / float(cost.min())


def shifted_rate_bound(candidate: float, stable: float, weight: float, *, alpha: float = 0.05) -> float:
    """The same where candidate and stable are scored at thresholds of their own, and the null says that their rates agree."""
    tried = np.linspace(min(candidate, stable), max(candidate, stable), 20_000)
    cost = weight * _kls(candidate, tried) + (1 - weight) * _kls(stable, tried)
    return -math.log(alpha) / float(cost.min())


def _kls(p: float, q: Floats) -> Floats:
    return np.asarray(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))


def mean_bound(gap: float, sd_candidate: float, sd_stable: float, weight: float, *, alpha: float = 0.05) -> float:
    """The same for two normal means that lie a gap apart: 2 ln(1 / alpha) * (variance of a request's difference) / gap^2."""
    return -2 * math.log(alpha) * (sd_candidate**2 / weight + sd_stable**2 / (1 - weight)) / gap**2
