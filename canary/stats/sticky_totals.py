"""Settled counts of a sticky rollout: plain ones for people, moments and distinct users for the evidence."""

from typing import Any

import numpy as np

from canary.stats.comparisons import comparisons_of
from canary.stats.contrast import Vector
from canary.stats.frozen import Scoring
from canary.stats.moments import WIDTH
from canary.stats.totals import Totals


class StickyTotals(Totals, frozen=True, kw_only=True):
    """All that a decision reads of the counters; `segments` holds whole settled minutes, and `assigned` distinct users."""

    moments: bytes = b""  # [comparisons, WIDTH] float64, of all scored segments
    events: dict[str, dict[int, tuple[int, int]]] = {}  # users with a first event, by metric and segment: candidate, stable
    units: dict[int, tuple[int, int]] = {}  # distinct users of each segment
    full: tuple[str, ...] = ()  # metrics with more users than are counted
    users: int = 0  # distinct, of all segments under a coin

    def summed(self, scoring: Scoring) -> Vector:
        """The moments as an array; raises ValueError where they are those of another scoring."""
        size = len(comparisons_of(scoring).all)
        found = np.frombuffer(self.moments, dtype="<f8") if self.moments else np.zeros(size * WIDTH)
        if len(found) != size * WIDTH:
            raise ValueError(f"{size} comparisons expected, found {len(found)} numbers")
        return found.reshape(size, WIDTH)

    @classmethod
    def of_bytes(cls, stored: bytes, scoring: Scoring) -> "StickyTotals":
        """What `to_bytes` wrote; raises ValueError where it is damaged, or was counted under another scoring."""
        found: Any = super().of_bytes(stored, scoring)
        found.summed(scoring)
        return found  # type: ignore[no-any-return]
