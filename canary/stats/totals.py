"""Settled counts: all that a decision reads of the counters, and the bytes from which it can be taken again."""

import struct
import zlib
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from canary.stats.contrast import CELLS
from canary.stats.frozen import Scoring
from canary.stats.tables import tables_of
from canary.stats.values import columns_of
from canary.terms import Frozen

Ints = npt.NDArray[np.int64]

FORMAT: Final = 1
"""First byte of stored totals."""

_BLOCK_COUNTS: Final = np.dtype("<i4")
_LEVEL: Final = 6


class SegmentTotals(Frozen, frozen=True, kw_only=True):
    """The settled counts of one segment."""

    counts: tuple[int, ...]  # by stratum, then four for each of the scoring's contrasts, in their order
    values: tuple[int, ...] = ()  # as `values.columns_of` lays them out, of minutes settled as a whole
    assigned_candidate: int = 0  # starts, settled or not
    assigned_stable: int = 0
    settled_s: tuple[int, ...] = ()  # for each age of the contrasts, ascending: span of the starts that are settled for it


class Block(Frozen, frozen=True, kw_only=True):
    """One minute of one segment: what late onset's bets read. Promote sides have none: their counts are zeros."""

    minute: int
    segment: int
    counts: bytes

    @classmethod
    def of(cls, minute: int, segment: int, counts: Ints) -> "Block":
        """The block of counts and values, one after the other."""
        return cls(minute=minute, segment=segment, counts=counts.astype(_BLOCK_COUNTS).tobytes())

    @property
    def any(self) -> bool:
        """Whether anything was counted."""
        return any(self.counts)


class Totals(Frozen, frozen=True, kw_only=True):
    """All that a decision reads of the counters."""

    segments: dict[int, SegmentTotals] = {}
    blocks: tuple[Block, ...] = ()  # of the last two hours, by minute and segment
    first_minute: int = 0  # of starts; 0: nothing has started
    as_of_us: int = 0  # last committed tick of the slowest live journal; 0: none

    def to_bytes(self) -> bytes:
        """Everything as bytes, for the record of a decision: the same for equal totals."""
        counts = np.frombuffer(b"".join(block.counts for block in self.blocks), dtype=_BLOCK_COUNTS)
        stored = _Stored(
            segments=dict(sorted(self.segments.items())),
            places=tuple((block.minute, block.segment) for block in self.blocks),
            planes=_planes(counts.reshape(len(self.blocks), -1)) if self.blocks else b"",
            first_minute=self.first_minute,
            as_of_us=self.as_of_us,
        )
        return bytes([FORMAT]) + zlib.compress(msgspec.msgpack.encode(stored), _LEVEL)

    @classmethod
    def of_bytes(cls, stored: bytes, scoring: Scoring) -> "Totals":
        """What `to_bytes` wrote; raises ValueError where it is damaged, or was counted under another scoring."""
        if not stored or stored[0] != FORMAT:
            raise ValueError(f"totals of format {FORMAT} expected, found {stored[:1]!r}")
        try:
            found = msgspec.msgpack.decode(zlib.decompress(stored[1:]), type=_Stored)
        except (zlib.error, msgspec.DecodeError) as error:
            raise ValueError(f"stored totals are damaged: {error}") from error
        shape = shape_of(scoring)
        for segment, totals in found.segments.items():
            if len(totals.counts) != shape.rates or len(totals.values) not in {0, shape.values}:
                raise ValueError(f"segment {segment} was counted under another scoring: {len(totals.counts)} counts")
        if len(found.planes) != len(found.places) * shape.block_bytes:
            raise ValueError("blocks were counted under another scoring")
        rows = _rows(found.planes, len(found.places))
        blocks = [Block(minute=m, segment=s, counts=row) for (m, s), row in zip(found.places, rows, strict=True)]
        return cls(segments=found.segments, blocks=tuple(blocks), first_minute=found.first_minute, as_of_us=found.as_of_us)

    def flat(self, scoring: Scoring) -> dict[str, int]:
        """Every count that is not zero by a readable name: `7/error.rollback/3` is cell 3 of that contrast in segment 7.

        Strata after the first say their number: `7/error.rollback/3/2`.
        """
        named: dict[str, int] = {}
        each = CELLS * len(scoring.contrasts)
        for segment, totals in sorted(self.segments.items()):
            for index, count in enumerate(totals.counts):
                stratum, place = divmod(index, each)
                name = f"{segment}/{scoring.contrasts[place // CELLS].name}/{place % CELLS}"
                named[f"{name}/{stratum}" if stratum else name] = count
            named[f"{segment}/assigned/candidate"] = totals.assigned_candidate
            named[f"{segment}/assigned/stable"] = totals.assigned_stable
        return {name: count for name, count in named.items() if count}


class _Stored(Frozen, frozen=True, kw_only=True):
    """Totals as they are packed: the blocks' counts column by column, first bytes of all, then second bytes, and so on."""

    segments: dict[int, SegmentTotals]
    places: tuple[tuple[int, int], ...]  # minute and segment of each block
    planes: bytes
    first_minute: int
    as_of_us: int


def _planes(counts: npt.NDArray[np.int32]) -> bytes:
    """Neighbours are then the same count a minute later, and most bytes are 0: it packs into a quarter."""
    columns = np.ascontiguousarray(counts.T)
    return columns.view(np.uint8).reshape(-1, _BLOCK_COUNTS.itemsize).T.tobytes()


def _rows(planes: bytes, blocks: int) -> list[bytes]:
    if not blocks:
        return []
    words = np.frombuffer(planes, dtype=np.uint8).reshape(_BLOCK_COUNTS.itemsize, -1).T
    columns = np.ascontiguousarray(words).view(_BLOCK_COUNTS).reshape(-1, blocks)
    return [row.tobytes() for row in np.ascontiguousarray(columns.T)]


class Shape(msgspec.Struct, frozen=True):
    """How many integers a segment has under a scoring."""

    rates: int  # strata * contrasts * 4
    values: int

    @property
    def block_bytes(self) -> int:
        """Size of a block's counts."""
        return (self.rates + self.values) * _BLOCK_COUNTS.itemsize


def shape_of(scoring: Scoring) -> Shape:
    """The shape of a scoring's counts."""
    return Shape(rates=scoring.strata * (tables_of(scoring).columns - 2), values=columns_of(scoring).size)


def read_late(scoring: Scoring) -> npt.NDArray[np.bool_]:
    """Which of a block's counts late onset's bets read: those of rollback contrasts, and of the rollback sides of values."""
    read = [place in scoring.read and not contrast.promote for place, contrast in enumerate(scoring.contrasts)]
    rollback = np.repeat(read, CELLS)
    columns = columns_of(scoring)
    values = np.zeros(columns.size, dtype=bool)
    for metric in scoring.values.metrics:
        numbers = [metric.number] if metric.rollback else []
        numbers += [metric.number + int(metric.in_canary)] if metric.rollback_pairs else []
        for number in numbers:
            block = columns.blocks[number]
            values[block.offset : block.offset + block.size] = True
    return np.concatenate([np.tile(rollback, scoring.strata), values])


def ints_of(counts: Sequence[int]) -> Ints:
    """Counts as an array that is only read: twice as fast as asking numpy to look at each of them."""
    return np.frombuffer(struct.pack(f"{len(counts)}q", *counts), dtype=np.int64)


def arrays_of(scoring: Scoring, counts: bytes) -> tuple[Ints, Ints]:
    """A block's rates [strata, contrasts, 4] and values."""
    found = np.frombuffer(counts, dtype=_BLOCK_COUNTS).astype(np.int64)
    size = shape_of(scoring).rates
    return found[:size].reshape(scoring.strata, len(scoring.contrasts), CELLS), found[size:]
