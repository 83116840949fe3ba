"""Cells: the integers that are counted, and the bytes of a row of them."""

import zlib
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

START: Final = 1
"""An exchange was assigned."""
END: Final = 2
"""Its answer ended; the bin says how and when."""
PAIR_START: Final = 3
"""A copy is meant to be sent."""
PAIR_DROP: Final = 4
"""It was dropped before it was sent."""
PAIR_END: Final = 5
"""Both answers ended; the bin says how."""
FIRST_BYTE: Final = 6
"""Its answer ended; the bin says when its first byte had come."""

WHOLE_MINUTE: Final = 255
"""In place of a second: known to the minute only."""

FORMAT: Final = 2
"""First byte of a row's cells: keys turned so that the seconds of one cell stand together, then planes of bytes, deflated."""

JOINED: Final = 3
"""First byte of several rows' cells one after the other, each behind its length: together they are the sum."""

_FIRST_FORMAT: Final = 1
"""Keys in their own order, whole words, deflated: read, and written no more (it takes 1.8 times the bytes)."""

WHOLE: Final = 0
"""In place of a part: all of a minute in one piece."""

_BIN_BITS: Final = 16
_SECOND_BITS: Final = 8
_ARM_BITS: Final = 1
_STRATUM_BITS: Final = 7
SECOND_SHIFT: Final = _BIN_BITS
ARM_SHIFT: Final = SECOND_SHIFT + _SECOND_BITS
STRATUM_SHIFT: Final = ARM_SHIFT + _ARM_BITS
METRIC_SHIFT: Final = STRATUM_SHIFT + _STRATUM_BITS

_WORD: Final = np.dtype("<u8")
_SHORT: Final = np.dtype("<u4")  # a count in the first format
_LARGEST_COUNT: Final = 2**53
"""Larger ones would not be exact where counts are weighed."""

_LENGTH_BYTES: Final = 4
_LEVEL: Final = 6

_BIN_MASK: Final = (1 << _BIN_BITS) - 1
_SECOND_MASK: Final = (1 << _SECOND_BITS) - 1
_LOW_MASK: Final = (1 << _BIN_BITS + _SECOND_BITS) - 1
_PARTS: Final = tuple(second // 10 + 1 if second < 60 else 7 for second in range(_SECOND_MASK + 1))


def pack(*, metric: int, stratum: int, arm: int, second: int, bin_index: int) -> int:
    """One cell's key: metric, stratum (0..127), arm (1: candidate), second of start in its minute or 255, bin (0..65535)."""
    return metric << METRIC_SHIFT | stratum << STRATUM_SHIFT | arm << ARM_SHIFT | second << SECOND_SHIFT | bin_index


def part_of(key: int) -> int:
    """The part of its minute in which a cell is written: six of ten seconds of start, and one for all that has no second."""
    return _PARTS[key >> SECOND_SHIFT & _SECOND_MASK]


def to_bytes(cells: dict[int, int]) -> bytes:
    """Cells as bytes, the same for equal cells: sorted, zeros left out."""
    keys = np.fromiter(cells.keys(), dtype=np.int64, count=len(cells))
    counts = np.fromiter(cells.values(), dtype=np.int64, count=len(cells))
    return packed(keys, counts)


def packed(keys: Ints, counts: Ints) -> bytes:
    """The same of arrays, in any order; a key may come twice. Raises ValueError where a sum of counts does not fit."""
    turned, counts = _summed(_turned(keys), counts)
    if len(counts) and not 0 < counts.min() <= counts.max() <= _LARGEST_COUNT:
        raise ValueError(f"counts must lie in 1..{_LARGEST_COUNT}, found {counts.min()} to {counts.max()}")
    steps = np.diff(turned, prepend=0)
    return bytes([FORMAT]) + zlib.compress(_planes(steps) + _planes(counts), _LEVEL)


def joined(rows: Sequence[bytes]) -> bytes:
    """Several rows' cells as one row's, without unpacking them: a journal's minute out of its parts."""
    if len(rows) == 1:
        return rows[0]
    return bytes([JOINED]) + b"".join(len(row).to_bytes(_LENGTH_BYTES, "little") + row for row in rows)


def arrays_of(cells: bytes) -> tuple[Ints, Ints]:
    """Keys (ascending, each once) and counts of a row's bytes; raises ValueError where they are not what was written here."""
    form = cells[0] if cells else None
    if form == JOINED:
        found = [arrays_of(row) for row in _rows(cells)]
        none = np.zeros(0, dtype=np.int64)
        return _summed(np.concatenate([none, *(row[0] for row in found)]), np.concatenate([none, *(row[1] for row in found)]))
    if form not in {FORMAT, _FIRST_FORMAT}:
        raise ValueError(f"cells of format {FORMAT} expected, found {cells[:1]!r}")
    try:
        raw = zlib.decompress(cells[1:])
    except zlib.error as error:
        raise ValueError(f"cells are damaged: {error}") from error
    width = _WORD.itemsize + (_WORD if form == FORMAT else _SHORT).itemsize
    size = len(raw) // width
    if size * width != len(raw):
        raise ValueError(f"cells are damaged: {len(raw)} bytes are no whole number of entries")
    words, rest = raw[: size * _WORD.itemsize], raw[size * _WORD.itemsize :]
    if form == _FIRST_FORMAT:
        return np.cumsum(np.frombuffer(words, dtype=_WORD).astype(np.int64)), np.frombuffer(rest, _SHORT).astype(np.int64)
    keys, counts = _turned_back(np.cumsum(_words(words, size))), _words(rest, size)
    order = np.argsort(keys)
    return keys[order], counts[order]


def _rows(cells: bytes) -> Iterator[bytes]:
    place = 1
    while place < len(cells):
        begin = place + _LENGTH_BYTES
        place = begin + int.from_bytes(cells[place:begin], "little")
        if place > len(cells):
            raise ValueError(f"cells are damaged: {place - len(cells)} bytes are missing")
        yield cells[begin:place]


def _summed(keys: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Each key once, ascending, with the sum of its counts; sums of nothing are left out."""
    found, place = np.unique(keys, return_inverse=True)
    sums = np.zeros(len(found), dtype=np.int64)
    np.add.at(sums, place, counts)
    return found[sums != 0], sums[sums != 0]


def _turned(keys: Ints) -> Ints:
    """Bins before seconds: neighbours are then the same cell a second later, and their steps the same few numbers."""
    return keys & ~_LOW_MASK | (keys & _BIN_MASK) << _SECOND_BITS | keys >> SECOND_SHIFT & _SECOND_MASK


def _turned_back(keys: Ints) -> Ints:
    return keys & ~_LOW_MASK | (keys & _SECOND_MASK) << SECOND_SHIFT | keys >> _SECOND_BITS & _BIN_MASK


def _planes(numbers: Ints) -> bytes:
    """First bytes of all numbers, then second bytes, and so on: most of those are 0 and cost nothing."""
    return numbers.astype(_WORD).view(np.uint8).reshape(len(numbers), _WORD.itemsize).T.tobytes()


def _words(planes: bytes, size: int) -> Ints:
    numbers = np.frombuffer(planes, dtype=np.uint8).reshape(_WORD.itemsize, size).T.tobytes()
    return np.frombuffer(numbers, dtype=_WORD).astype(np.int64)


def from_bytes(cells: bytes) -> dict[int, int]:
    """Key to count; raises ValueError where the bytes are damaged or of another format."""
    keys, counts = arrays_of(cells)
    return dict(zip(keys.tolist(), counts.tolist(), strict=True))
