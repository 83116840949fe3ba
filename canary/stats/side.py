"""One metric's rollback side as parts that add: what late onset's restarts and all kinds of metrics have in common."""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from canary.stats.contrast import Vector
from canary.terms import Frozen, Scored

Ints = npt.NDArray[np.int64]


class SegmentWeight(Frozen, frozen=True, kw_only=True):
    """What the statistics need to know of a segment."""

    id: int
    stage: int  # -1: shadow; 0..n-1: stages; n: watch
    weight_bp: int
    scored: Scored
    opened_minute: int = 0  # of the controller's clock; 0: not known


class Counted(NamedTuple):
    """Settled counts of one segment, or of one minute of it."""

    weight_bp: int
    scored: Scored
    rates: Ints  # [strata, contrasts, 4]
    values: Ints  # [columns], laid out by `values.columns_of(scoring)`


class Side(Protocol):
    """The bets of one metric against "not worse than tolerated"."""

    @property
    def name(self) -> str:
        """The metric's name."""
        ...

    @property
    def size(self) -> int:
        """Number of components."""
        ...

    def components(self, found: Counted) -> Vector:
        """Log e that these counts add to each component, [size]; these add over segments and minutes."""
        ...

    def combine(self, parts: Vector) -> Vector:
        """Log e-value of added components, [..., size] -> [...]: mixed over bets, strata, thresholds, lanes, in that order."""
        ...
