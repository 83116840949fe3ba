"""The bet of the fastest expected growth under each of several alternatives."""

from typing import Final

import numpy as np

from canary.stats.contrast import Vector

LADDER: Final = 10
"""Bets of .98 * lmax * 2^-k that need no profile."""

_BISECTIONS: Final = 60
_NO_BET: Final = 1e-6
"""Of the largest bet: less is none."""


def kelly(scores: Vector, chances: Vector, largest: float) -> Vector:
    """Where sum(chance * log(1 + bet * score)) is largest within 0..largest, for each row; by bisection of its derivative.

    A row whose best bet is none gets one of largest * 2^-k, by its place: it keeps some power, the scales are covered, and
    components mean the same in every segment. (A tiny profile can leave an alternative that the null already explains.)
    """

    def slope(bet: Vector) -> Vector:
        return np.asarray((chances * scores / (1 + bet[:, None] * scores)).sum(axis=1))

    low, high = np.zeros(len(scores)), np.full(len(scores), largest)
    rising_to_the_end = slope(high) >= 0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        rising = slope(middle) > 0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    best = np.where(rising_to_the_end, largest, low)
    instead = largest * 0.5 ** ((1 + 3 * np.arange(len(best))) % LADDER)
    return np.where(best > _NO_BET * largest, best, instead)
