"""Values on a grid: what an answer's cost or quality is taken for, and its unbiased rounding onto a few points.

A value between two points goes up with the chance that makes the rounded value's mean the value itself, so a bet on rounded
values is as fair as one on the values. The chance is a keyed hash: the same exchange is rounded the same way for ever.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final, TypeAlias

from canary.terms import Frozen

COST_POINTS: Final = 64
QUALITY_POINTS: Final = 33

CAP_TIMES: Final = 1.5
"""Of the profile's 99.9 % quantile: the cap of costs that have no hard bound."""

_ROUNDING: Final = b"canary-rounding"
_NUMBERS: Final = 2**64


class Known(Frozen, frozen=True, kw_only=True):
    """A value that can be scored: finite, not negative, larger is worse."""

    value: float


class Unknown(Frozen, frozen=True, kw_only=True):
    """There was a value and nobody can tell it any more: still open at the age, or its worker died."""


class Refused(Frozen, frozen=True, kw_only=True):
    """What was given is no value. One of these and the metric says nothing for the rest of the rollout."""

    reason: str


Reading: TypeAlias = Known | Unknown | Refused


def cost(nano_usd: float | None) -> Known | Refused:
    """A cost as it was billed; None where a model has no known price, which must never count as 0."""
    if nano_usd is None:
        return Refused(reason="no price is known")
    if not math.isfinite(nano_usd) or nano_usd < 0:
        return Refused(reason=f"{nano_usd} is no amount of money")
    return Known(value=float(nano_usd))


def quality_loss(quality: float | None, *, failed: bool) -> Known:
    """1 - quality; a failed answer, and one whose quality is missing or lies outside 0..1, has lost all of it."""
    if failed or quality is None or not 0 <= quality <= 1:  # NaN compares false
        return Known(value=1.0)
    return Known(value=1.0 - quality)


class Grid(Frozen, frozen=True, kw_only=True, cache_hash=True):
    """Ascending points, the last of which is the cap. An arm's bins are the points, then over the cap, unknown, refused."""

    points: tuple[float, ...]

    def __post_init__(self) -> None:
        """Raises ValueError where the points are not at least two finite ones in ascending order."""
        ascending = all(low < high for low, high in zip(self.points, self.points[1:], strict=False))
        if len(self.points) < 2 or not ascending or not all(map(math.isfinite, self.points)):
            raise ValueError(f"a grid needs at least two finite points in ascending order, found {self.points}")

    @property
    def cap(self) -> float:
        """Values above it count as it."""
        return self.points[-1]

    @property
    def over(self) -> int:
        """Bin of values above the cap: worth the cap, and counted apart for the guard that nothing hides there."""
        return len(self.points)

    @property
    def unknown(self) -> int:
        """Bin of `Unknown`."""
        return len(self.points) + 1

    @property
    def refused(self) -> int:
        """Bin of `Refused`."""
        return len(self.points) + 2

    @property
    def width(self) -> int:
        """Bins of one arm."""
        return len(self.points) + 3


QUALITY_GRID: Final = Grid(points=tuple(index / (QUALITY_POINTS - 1) for index in range(QUALITY_POINTS)))


def cost_grid(values: Mapping[float, int], *, hard_bound: float | None = None) -> Grid:
    """Zero, then log-spaced points from the profile's .1 % quantile (of costs above zero) to the cap.

    `values` counts the costs of the profile. Raises ValueError where no cost lies above zero, as then nothing is known of
    their scale.
    """
    above = {value: count for value, count in values.items() if value > 0 and count > 0}
    if not above:
        raise ValueError("a grid for costs needs a profile with costs above zero")
    cap = hard_bound if hard_bound is not None else CAP_TIMES * _quantile(above, 0.999)
    first = min(_quantile(above, 0.001), cap / 2)  # a bound under all that was seen leaves a grid all the same
    steps = COST_POINTS - 2
    between = [first * (cap / first) ** (index / steps) for index in range(steps)]
    return Grid(points=(0.0, *between, float(cap)))


def _quantile(values: Mapping[float, int], q: float) -> float:
    wanted, seen = q * sum(values.values()), 0
    for value in sorted(values):
        seen += values[value]
        if seen >= wanted:
            return value
    return max(values)


def rounding_number(exchange_id: bytes, name: str) -> int:
    """64 bits that decide which way an exchange's value is rounded for the metric or margin of this name."""
    text = bytes([len(exchange_id)]) + exchange_id + name.encode()
    return int.from_bytes(blake2b(text, digest_size=8, person=_ROUNDING).digest(), "big")


def bin_of(grid: Grid, reading: Reading, number: int) -> int:
    """The bin that counts a reading, under its rounding number; values below the first point count as it."""
    match reading:
        case Unknown():
            return grid.unknown
        case Refused():
            return grid.refused
        case Known(value=value):
            return grid.over if value > grid.cap else _rounded(grid.points, value, number)


def _rounded(points: tuple[float, ...], value: float, number: int) -> int:
    if value <= points[0]:
        return 0
    upper = bisect_left(points, value)
    low, high = points[upper - 1], points[upper]
    return upper if number < (value - low) / (high - low) * _NUMBERS else upper - 1


def spread(grid: Grid, values: Mapping[float, int]) -> tuple[float, ...]:
    """Counted values as expected counts of the grid's points; their mean is that of the values, cut to the cap."""
    points, found = grid.points, [0.0] * len(grid.points)
    for value, count in _cut(grid, values):
        upper = max(1, bisect_left(points, value))
        share = (value - points[upper - 1]) / (points[upper] - points[upper - 1])
        found[upper] += count * share
        found[upper - 1] += count * (1 - share)
    return tuple(found)


def _cut(grid: Grid, values: Mapping[float, int]) -> Iterable[tuple[float, int]]:
    for value in sorted(values):
        yield min(max(value, grid.points[0]), grid.cap), values[value]
