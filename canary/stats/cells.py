"""Cells: the integers that are counted, and the bytes of a row of them."""

import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

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

WHOLE_MINUTE: Final = 255
"""In place of a second: known to the minute only."""

FORMAT: Final = 1
"""First byte of a row's cells."""

_BIN_BITS: Final = 16
_SECOND_BITS: Final = 8
_ARM_BITS: Final = 1
_STRATUM_BITS: Final = 7
SECOND_SHIFT: Final = _BIN_BITS
ARM_SHIFT: Final = SECOND_SHIFT + _SECOND_BITS
STRATUM_SHIFT: Final = ARM_SHIFT + _ARM_BITS
METRIC_SHIFT: Final = STRATUM_SHIFT + _STRATUM_BITS

_COUNTS: Final = np.dtype("<u4")
_KEYS: Final = np.dtype("<u8")
_LARGEST_COUNT: Final = 2**32 - 1


def pack(*, metric: int, stratum: int, arm: int, second: int, bin_index: int) -> int:
    """One cell's key: metric, stratum (0..127), arm (1: candidate), second of start in its minute or 255, bin (0..65535)."""
    return metric << METRIC_SHIFT | stratum << STRATUM_SHIFT | arm << ARM_SHIFT | second << SECOND_SHIFT | bin_index


def to_bytes(cells: dict[int, int]) -> bytes:
    """Cells as bytes, the same for equal cells on every machine: sorted, zeros left out, keys as differences, deflated."""
    keys = np.fromiter(cells.keys(), dtype=np.int64, count=len(cells))
    counts = np.fromiter(cells.values(), dtype=np.int64, count=len(cells))
    order = np.argsort(keys)
    order = order[counts[order] != 0]
    keys, counts = keys[order], counts[order]
    if len(counts) and not 0 < counts.min() <= counts.max() <= _LARGEST_COUNT:
        raise ValueError(f"counts must lie in 1..{_LARGEST_COUNT}, found {counts.min()} to {counts.max()}")
    steps = np.diff(keys, prepend=0).astype(_KEYS)
    return bytes([FORMAT]) + zlib.compress(steps.tobytes() + counts.astype(_COUNTS).tobytes(), 1)


def arrays_of(cells: bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Keys (ascending) and counts of a row's bytes; raises ValueError where they are not what `to_bytes` wrote."""
    if not cells or cells[0] != FORMAT:
        raise ValueError(f"cells of format {FORMAT} expected, found {cells[:1]!r}")
    try:
        raw = zlib.decompress(cells[1:])
    except zlib.error as error:
        raise ValueError(f"cells are damaged: {error}") from error
    size = len(raw) // (_KEYS.itemsize + _COUNTS.itemsize)
    if size * (_KEYS.itemsize + _COUNTS.itemsize) != len(raw):
        raise ValueError(f"cells are damaged: {len(raw)} bytes are no whole number of entries")
    steps = np.frombuffer(raw, dtype=_KEYS, count=size)
    counts = np.frombuffer(raw, dtype=_COUNTS, offset=size * _KEYS.itemsize)
    return np.cumsum(steps.astype(np.int64)), counts.astype(np.int64)


def from_bytes(cells: bytes) -> dict[int, int]:
    """Key to count; raises ValueError where the bytes are damaged or of another format."""
    keys, counts = arrays_of(cells)
    return dict(zip(keys.tolist(), counts.tolist(), strict=True))
