"""Frozen summary of a route's stable traffic, folded as log-histograms."""

import math
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, Final

import msgspec

from canary.stats.facts import Fact
from canary.stats.value_profile import ValueProfile
from canary.terms import Frozen

BINS_PER_OCTAVE: Final = 64
"""1.1 % wide: finer than any margin, and 2,112 integers at most per histogram."""

HOUR_S: Final = 3_600

_LARGEST_US: Final = 2**33
_KIND_SHIFT: Final = 16
_BIN_MASK: Final = (1 << _KIND_SHIFT) - 1
_STRATUM_SHIFT: Final = 8
_KIND_MASK: Final = (1 << _STRATUM_SHIFT) - 1
_VALUES: Final = 1 << 16
"""Kinds from here on hold values, and have strata of their own."""


class Kind(IntEnum):
    """What one histogram of the profile holds; in the high part of a profile cell's key, above it the stratum."""

    SUCCESS_LATENCY = 1  # write -> end, of answers that ended well with the client still there
    LEFT_LATENCY = 2  # write -> the client's leaving
    WELL_AGE = 3  # start -> end of all that did not fail, the clients that left included
    FAILED_AGE = 4  # start -> end of all that failed
    FIRST_BYTE = 5  # write -> first byte of all that did not fail; where none came, their end
    FAILED_FIRST = 6  # the same of all that failed


_SUCCESS: Final = int(Kind.SUCCESS_LATENCY) << _KIND_SHIFT
_LEFT: Final = int(Kind.LEFT_LATENCY) << _KIND_SHIFT
_WELL: Final = int(Kind.WELL_AGE) << _KIND_SHIFT
_FAILED: Final = int(Kind.FAILED_AGE) << _KIND_SHIFT
_FIRST: Final = int(Kind.FIRST_BYTE) << _KIND_SHIFT
_FAILED_FIRST: Final = int(Kind.FAILED_FIRST) << _KIND_SHIFT


def bin_of(value_us: int) -> int:
    """Index of the log bin that holds a duration; everything under 1 us is in bin 0."""
    if value_us <= 1:
        return 0
    return int(math.log2(min(value_us, _LARGEST_US)) * BINS_PER_OCTAVE)


def upper_us(bin_index: int) -> float:
    """Upper edge of a bin."""
    return float(2.0 ** ((bin_index + 1) / BINS_PER_OCTAVE))


def profile_cells(fact: Fact, *, stratum: int = 0, first_byte: bool = False) -> tuple[int, ...]:
    """Keys that one outcome of stable increments by one; `first_byte` where the route guards the time to it."""
    at = stratum << (_KIND_SHIFT + _STRATUM_SHIFT)
    age = bin_of(fact.age_us)
    first: tuple[int, ...] = ()
    if fact.failed:
        if first_byte:
            first = (at | _FAILED_FIRST | (bin_of(fact.ttfb_us) if fact.ttfb_us >= 0 else age),)
        return (at | _FAILED | age, *first)
    latency = bin_of(fact.latency_us) if fact.latency_us >= 0 else age
    if first_byte:
        first = (at | _FIRST | (bin_of(fact.ttfb_us) if fact.ttfb_us >= 0 else latency),)
    return (at | (_LEFT if fact.left else _SUCCESS) | latency, at | _WELL | age, *first)


Histogram = tuple[tuple[int, int], ...]
"""(bin, count), ascending."""


class Profile(Frozen, frozen=True, kw_only=True):
    """What stable looked like before a rollout: sparse histograms. It tunes; it proves nothing."""

    success_latency: Histogram = ()
    left_latency: Histogram = ()
    well_age: Histogram = ()
    failed_age: Histogram = ()
    first_byte: Histogram = ()
    failed_first: Histogram = ()
    strata: tuple["Profile", ...] = ()  # the same by stratum, up to the last that was seen; empty where there is one alone
    values: ValueProfile = ValueProfile()
    per_s: float | None = None  # outcomes a second over the whole hours that it covers; None: not one hour is whole yet

    @classmethod
    def of_hours(cls, hours: Mapping[int, Mapping[int, int]], *, present: int) -> "Profile":
        """The profile of cells by hour, with its rate. The first hour and the present one are not whole, and tell none."""
        pooled: dict[int, int] = {}
        for cells in hours.values():
            for key, count in cells.items():
                pooled[key] = pooled.get(key, 0) + count
        first = min(hours, default=present)
        whole = range(first + 1, present)
        n = sum(_outcomes(hours[hour]) for hour in whole if hour in hours)
        found = cls.of(pooled)
        return msgspec.structs.replace(found, per_s=n / (len(whole) * HOUR_S)) if n else found

    @classmethod
    def of(cls, cells: dict[int, int]) -> "Profile":
        """The profile whose cells these are (sums over journals and hours)."""
        pooled: dict[tuple[int, int], int] = {}
        parts: dict[int, dict[tuple[int, int], int]] = {}
        for key in sorted(cells):
            kind = key >> _KIND_SHIFT
            if not cells[key] or kind >= _VALUES:
                continue
            place = (kind & _KIND_MASK, key & _BIN_MASK)
            pooled[place] = pooled.get(place, 0) + cells[key]
            parts.setdefault(kind >> _STRATUM_SHIFT, {})[place] = cells[key]
        last = max(parts, default=0)
        strata = tuple(cls._of(parts.get(stratum, {})) for stratum in range(last + 1)) if last else ()
        return cls._of(pooled, strata=strata, values=ValueProfile.of(cells))

    @classmethod
    def _of(
        cls,
        places: dict[tuple[int, int], int],
        *,
        strata: tuple["Profile", ...] = (),
        values: ValueProfile = ValueProfile(),  # noqa: B008 - frozen
    ) -> "Profile":
        found: dict[int, list[tuple[int, int]]] = {kind: [] for kind in Kind}
        for (kind, bin_index), count in sorted(places.items()):
            found[kind].append((bin_index, count))
        named: dict[str, Any] = {kind.name.lower(): tuple(found[kind]) for kind in Kind}
        return cls(**named, strata=strata, values=values)

    def stratum(self, number: int) -> "Profile":
        """One stratum's part; an empty one where it was not seen."""
        if not self.strata:
            return self if number == 0 else Profile()
        return self.strata[number] if number < len(self.strata) else Profile()

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
        return _quantile_us(self.success_latency, share)

    @property
    def timed(self) -> int:
        """Outcomes whose time to the first byte was kept."""
        return _total(self.first_byte) + _total(self.failed_first)

    def first_byte_us(self, share: float) -> int | None:
        """The time to the first byte that `share` of all that did not fail do not exceed, or None where none is known."""
        return _quantile_us(self.first_byte, share)

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

    def unanswered(self, threshold_us: float, *, scale: float = 1.0) -> int:
        """How many failed or had no byte by the threshold, were every time to the first byte `scale` times as long."""
        return self.timed - _within(self.first_byte, threshold_us / scale)

    def still_silent(self, threshold_us: float, *, scale: float = 1.0) -> int:
        """How many would still wait for the first byte at the threshold; failures before it had ended."""
        return self.unanswered(threshold_us, scale=scale) - _within(self.failed_first, threshold_us)

    def _slower(self, threshold_us: float) -> int:
        slow = self.successes - _within(self.success_latency, threshold_us)
        return slow + self.left - _within(self.left_latency, threshold_us)

    def rate(self, count: int) -> float:
        """A count as a probability, never 0 and never 1: (x + .5) / (n + 1)."""
        return (count + 0.5) / (self.n + 1)

    def p_not_well(self, age_us: float) -> float:
        """P(not ended well by that age)."""
        return self.rate(self.not_well(age_us))


def _quantile_us(histogram: Histogram, share: float) -> int | None:
    target, reached = share * _total(histogram), 0
    for bin_index, count in histogram:
        reached += count
        if reached >= target:
            return math.ceil(upper_us(bin_index))
    return None


def _outcomes(cells: Mapping[int, int]) -> int:
    ended = {Kind.WELL_AGE, Kind.FAILED_AGE}
    kinds = ((key >> _KIND_SHIFT, count) for key, count in cells.items())
    return sum(count for kind, count in kinds if kind < _VALUES and kind & _KIND_MASK in ended)


def _total(histogram: Iterable[tuple[int, int]]) -> int:
    return sum(count for _, count in histogram)


def _within(histogram: Iterable[tuple[int, int]], value_us: float) -> int:
    """Counts of the bins that end at or below a value (one part in a million of slack for edges made by `quantile_us`)."""
    edge = value_us * (1 + 1e-6) + 1
    return sum(count for bin_index, count in histogram if upper_us(bin_index) <= edge)
