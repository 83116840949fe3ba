"""Settled counts of a sticky rollout: plain ones for people, moments and distinct users for the evidence."""

import zlib
from typing import Final

import msgspec
import numpy as np

from canary.stats.comparisons import comparisons_of
from canary.stats.contrast import Vector
from canary.stats.frozen import Scoring
from canary.stats.moments import WIDTH
from canary.stats.totals import Totals
from canary.stats.unit_answers import Answers

FORMAT: Final = 101
"""First byte of stored totals of users; those of requests begin with smaller ones."""

_LEVEL: Final = 1
"""Fractions hardly pack at all, and every look is packed."""


class StickyTotals(Totals, frozen=True, kw_only=True):
    """All that a decision reads of the counters; `segments` holds whole settled minutes, and as assigned distinct users."""

    moments: bytes = b""  # [comparisons, WIDTH] float64, of all scored segments
    events: dict[str, dict[int, tuple[int, int]]] = {}  # users with a first event, by metric and segment: candidate, stable
    units: dict[int, tuple[int, int]] = {}  # distinct users of each segment
    full: tuple[str, ...] = ()  # metrics with more users than are counted
    late: dict[int, dict[int, tuple[int, int]]] | None = None  # by block: the same of `error` since it; None: not counted then
    answers: Answers = {}  # users by the bin of their first answer, by segment: candidate, stable
    users: int = 0  # distinct, of all segments under a coin

    def summed(self, scoring: Scoring) -> Vector:
        """The moments as an array; raises ValueError where they are those of another scoring."""
        size = len(comparisons_of(scoring).all)
        found = np.frombuffer(self.moments, dtype="<f8") if self.moments else np.zeros(size * WIDTH)
        if len(found) != size * WIDTH:
            raise ValueError(f"{size} comparisons expected, found {len(found)} numbers")
        return found.reshape(size, WIDTH)

    def to_bytes(self) -> bytes:
        """Everything as bytes, for the record of a decision: the same for equal totals."""
        return bytes([FORMAT]) + zlib.compress(msgspec.msgpack.encode(self), _LEVEL)

    @classmethod
    def of_bytes(cls, stored: bytes, scoring: Scoring) -> "StickyTotals":
        """What `to_bytes` wrote; raises ValueError where it is damaged, or was counted under another scoring."""
        if not stored or stored[0] != FORMAT:
            raise ValueError(f"totals of format {FORMAT} expected, found {stored[:1]!r}")
        try:
            found = msgspec.msgpack.decode(zlib.decompress(stored[1:]), type=cls)
        except (zlib.error, msgspec.DecodeError) as error:
            raise ValueError(f"stored totals are damaged: {error}") from error
        found.summed(scoring)
        plain = comparisons_of(scoring).plain * scoring.strata
        for segment, totals in found.segments.items():
            if len(totals.counts) != plain:
                raise ValueError(f"segment {segment} was counted under another scoring: {len(totals.counts)} counts")
        return found
