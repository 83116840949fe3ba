"""What the clustered comparison needs of its layers: sums that add up, so that no layer has to be kept for another look.

With D = sum om_s (mC_s - rho mS_s - delta) / W, everything that D, its jackknife variance and its burn-ins are made of is a
sum over layers s: W, om_s times either arm's mean, how far either arm's mean moves (times om_s) when a cluster is left out,
requests of each cluster, and outcomes. Sums of fractions are the same in the same order only: add layers in one fixed order.
"""

from typing import Final, NamedTuple

import numpy as np

from canary.stats.clusters import CLUSTERS, Ints
from canary.stats.contrast import Vector

_MOVED: Final = 3
_N: Final = _MOVED + 2 * CLUSTERS
_OUTCOMES: Final = _N + 2 * CLUSTERS
WIDTH: Final = _OUTCOMES + 2
"""Numbers of one comparison: W, both means, both arms' moves and requests by cluster, both sums of outcomes."""


def no_moments(comparisons: int) -> Vector:
    """Of no layer at all."""
    return np.zeros((comparisons, WIDTH))


def moments_of(cells: Ints) -> Vector:
    """One layer's moments, [comparisons, WIDTH], of its cells [comparisons, arm, cluster, (n, Y)].

    Zeros where an arm has fewer than two clusters: one alone has no spread to read.
    """
    found = no_moments(len(cells))
    n, y = cells[..., 0].astype(np.float64), cells[..., 1].astype(np.float64)
    there = ((n > 0).sum(axis=2) >= 2).all(axis=1)
    n, y = n[there], y[there]
    of_arm, sums = n.sum(axis=2), y.sum(axis=2)  # [comparisons, arm]
    means = sums / of_arm
    weight = of_arm.prod(axis=1) / of_arm.sum(axis=1)
    moved = weight[:, None, None] * (y - means[:, :, None] * n) / (of_arm[:, :, None] - n)
    size = len(n)
    parts = (weight[:, None], weight[:, None] * means, moved.reshape(size, 2 * CLUSTERS), n.reshape(size, 2 * CLUSTERS), sums)
    found[there] = np.concatenate(parts, axis=1)
    return found


class Moments(NamedTuple):
    """Those of one comparison, or of several beside each other [comparisons, ...], read by name."""

    weight: Vector
    means: Vector  # [arm]: 0 the candidate
    moved: Vector  # [arm, cluster]: of the means, when a cluster is left out
    n: Vector  # [arm, cluster]
    outcomes: Vector  # [arm]

    @classmethod
    def of(cls, rows: Vector) -> "Moments":
        """Of rows of summed moments."""
        weight, shape = rows[:, 0], (len(rows), 2, CLUSTERS)
        scale = np.where(weight > 0, weight, 1.0)[:, None]
        return cls(
            weight=weight,
            means=rows[:, 1:_MOVED] / scale,
            moved=(rows[:, _MOVED:_N] / scale).reshape(shape),
            n=rows[:, _N:_OUTCOMES].reshape(shape),
            outcomes=rows[:, _OUTCOMES:],
        )

    def at(self, place: int) -> "Moments":
        """One of several."""
        return Moments(*(column[place] for column in self))
