"""Frozen summary of a route's stable traffic, folded as log-histograms."""

import math
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from canary.stats.facts import Fact
from canary.terms import Frozen

BINS_PER_OCTAVE: Final = 64
"""1.1 % wide: finer than any margin, and 2,112 integers at most per histogram."""

_LARGEST_US: Final = 2**33
_KIND_SHIFT: Final = 16
_BIN_MASK: Final = (1 << _KIND_SHIFT) - 1


class Kind(IntEnum):
    """What one histogram of the profile holds; the high part of a profile cell's key."""

    SUCCESS_LATENCY = 1  # write -> end, of answers that ended well with the client still there
    LEFT_LATENCY = 2  # write -> the client's leaving
    WELL_AGE = 3  # start -> end of all that did not fail, the clients that left included
    FAILED_AGE = 4  # start -> end of all that failed


_SUCCESS: Final = int(Kind.SUCCESS_LATENCY) << _KIND_SHIFT
_LEFT: Final = int(Kind.LEFT_LATENCY) << _KIND_SHIFT
_WELL: Final = int(Kind.WELL_AGE) << _KIND_SHIFT
_FAILED: Final = int(Kind.FAILED_AGE) << _KIND_SHIFT


def bin_of(value_us: int) -> int:
    """Index of the log bin that holds a duration; everything under 1 us is in bin 0."""
    if value_us <= 1:
        return 0
    return int(math.log2(min(value_us, _LARGEST_US)) * BINS_PER_OCTAVE)


def upper_us(bin_index: int) -> float:
    """Upper edge of a bin."""
    return float(2.0 ** ((bin_index + 1) / BINS_PER_OCTAVE))


def profile_cells(fact: Fact) -> tuple[int, ...]:
    """Keys that one outcome of stable increments by one."""
    age = bin_of(fact.age_us)
    if fact.failed:
        return (_FAILED | age,)
    latency = bin_of(fact.latency_us) if fact.latency_us >= 0 else age
    return ((_LEFT if fact.left else _SUCCESS) | latency, _WELL | age)


class Profile(Frozen, frozen=True, kw_only=True):
    """What stable looked like before a rollout: sparse histograms as (bin, count), ascending. It tunes; it proves nothing."""

    success_latency: tuple[tuple[int, int], ...] = ()
    left_latency: tuple[tuple[int, int], ...] = ()
    well_age: tuple[tuple[int, int], ...] = ()
    failed_age: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, cells: dict[int, int]) -> "Profile":
        """The profile whose cells these are (sums over journals and hours)."""
        parts: dict[int, list[tuple[int, int]]] = {kind: [] for kind in Kind}
        for key in sorted(cells):
            if cells[key]:
                parts[key >> _KIND_SHIFT].append((key & _BIN_MASK, cells[key]))
        return cls(
            success_latency=tuple(parts[Kind.SUCCESS_LATENCY]),
            left_latency=tuple(parts[Kind.LEFT_LATENCY]),
            well_age=tuple(parts[Kind.WELL_AGE]),
            failed_age=tuple(parts[Kind.FAILED_AGE]),
        )

    @property
    def n(self) -> int:
        """Outcomes."""
        return _total(self.well_age) + self.failed

    @property
    def failed(self) -> int:
        """Outcomes that failed."""
        return _total(self.failed_age)

    @property
    def left(self) -> int:
        """Outcomes whose client left first."""
        return _total(self.left_latency)

    @property
    def successes(self) -> int:
        """Answers that ended well with the client still there."""
        return _total(self.success_latency)

    def quantile_us(self, share: float) -> int | None:
        """The latency that `share` of the successes do not exceed (a bin's upper edge), or None where there are none."""
        target = share * self.successes
        reached = 0
        for bin_index, count in self.success_latency:
            reached += count
            if reached >= target:
                return math.ceil(upper_us(bin_index))
        return None

    def not_well(self, age_us: float) -> int:
        """How many had not ended well by an age: failed, or still open then."""
        return self.n - _within(self.well_age, age_us)

    def exceeding(self, threshold_us: float, *, scale: float = 1.0) -> int:
        """How many failed or would take longer than the threshold, were every latency `scale` times as long."""
        return self.failed + self._slower(threshold_us / scale)

    def still_open(self, threshold_us: float, *, scale: float = 1.0) -> int:
        """How many would still be open at the threshold, were every latency `scale` times as long; failures had ended."""
        early_failures = _within(self.failed_age, threshold_us)
        return self.failed - early_failures + self._slower(threshold_us / scale)

    def _slower(self, threshold_us: float) -> int:
        slow = self.successes - _within(self.success_latency, threshold_us)
        return slow + self.left - _within(self.left_latency, threshold_us)

    def rate(self, count: int) -> float:
        """A count as a probability, never 0 and never 1: (x + .5) / (n + 1)."""
        return (count + 0.5) / (self.n + 1)

    def p_not_well(self, age_us: float) -> float:
        """P(not ended well by that age)."""
        return self.rate(self.not_well(age_us))

    def p_exceed(self, threshold_us: float, *, scale: float = 1.0) -> float:
        """P(failed or scale * latency > threshold)."""
        return self.rate(self.exceeding(threshold_us, scale=scale))

    def p_open(self, threshold_us: float, *, scale: float = 1.0) -> float:
        """P(scale * latency > threshold and not ended before by a failure)."""
        return self.rate(self.still_open(threshold_us, scale=scale))


def _total(histogram: Iterable[tuple[int, int]]) -> int:
    return sum(count for _, count in histogram)


def _within(histogram: Iterable[tuple[int, int]], value_us: float) -> int:
    """Counts of the bins that end at or below a value (one part in a million of slack for edges made by `quantile_us`)."""
    edge = value_us * (1 + 1e-6) + 1
    return sum(count for bin_index, count in histogram if upper_us(bin_index) <= edge)
