"""Counters of closed minutes added up: every cell is settled for every age, so few of them need their second."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from canary.stats.cells import METRIC_SHIFT, SECOND_SHIFT, START, WHOLE_MINUTE, Ints, arrays_of, joined, packed

_SECOND_MASK: Final = WHOLE_MINUTE << SECOND_SHIFT
_MINUTE_S: Final = 60


def fleet_cells(rows: Sequence[bytes]) -> bytes:
    """The sum of closed rows of one minute and segment.

    Starts keep their second, by which a segment's span is known; all that followed them moves to the second of the last start.
    That leaves the span as it is, and the row a tenth of its bytes.
    """
    keys, counts = arrays_of(joined(rows))
    seconds = (keys & _SECOND_MASK) >> SECOND_SHIFT
    starts = _starts(keys, seconds)
    if starts.any():
        last = int(seconds[starts].max())
        keys = np.where(starts | (seconds == WHOLE_MINUTE), keys, keys & ~_SECOND_MASK | last << SECOND_SHIFT)
    return packed(keys, counts)


def total_cells(rows: Sequence[bytes]) -> bytes:
    """The sum of fleet rows of one segment: no cell knows its second any more."""
    keys, counts = arrays_of(joined(rows))
    return packed(keys | _SECOND_MASK, counts)


def span_of(cells: bytes, minute: int) -> tuple[int, int]:
    """First and last second of start in a fleet row; all of the minute where its starts do not say."""
    keys, _ = arrays_of(cells)
    seconds = (keys & _SECOND_MASK) >> SECOND_SHIFT
    known = seconds[_starts(keys, seconds)]
    first, last = (int(known.min()), int(known.max())) if len(known) else (0, _MINUTE_S - 1)
    return minute * _MINUTE_S + first, minute * _MINUTE_S + last


def _starts(keys: Ints, seconds: Ints) -> npt.NDArray[np.bool_]:
    """Which cells count starts by the second."""
    return np.asarray((keys >> METRIC_SHIFT == START) & (seconds != WHOLE_MINUTE))
