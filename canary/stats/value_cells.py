"""Values in the counters: the cells that an answer's cost or quality increments, and the counts that settled minutes hold.

Values are scored at the timeout's age and kept by the minute of start. A start whose value is not there by that age is
unknown for ever, so a minute is taken whole, once its journal's tick has passed its end and the age.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from canary.stats.cells import (
    ARM_SHIFT,
    METRIC_SHIFT,
    PAIR_DROP,
    PAIR_START,
    SECOND_SHIFT,
    START,
    STRATUM_SHIFT,
    WHOLE_MINUTE,
    pack,
)
from canary.stats.grid import Grid
from canary.stats.means import Counts

FIRST_VALUE: Final = 16
"""Metric number of the first value; those below are starts, ends and pairs."""

_BIN_MASK: Final = (1 << SECOND_SHIFT) - 1
_STRATUM_MASK: Final = (1 << METRIC_SHIFT - STRATUM_SHIFT) - 1
_ARM_BIT: Final = 1 << ARM_SHIFT


def value_cell(number: int, bin_index: int, *, candidate: bool = False, stratum: int = 0) -> int:
    """Key that one answer, or one pair under one margin, increments; `number` counts values and pair margins from 0."""
    return pack(metric=FIRST_VALUE + number, stratum=stratum, arm=int(candidate), second=WHOLE_MINUTE, bin_index=bin_index)


def canary_counts(cells: Mapping[int, int], number: int, grid: Grid, *, strata: int) -> Counts:
    """[strata, candidate's bins then stable's] of settled minutes' cells; starts without a value are unknown."""
    found = np.zeros((strata, 2 * grid.width), dtype=np.int64)
    for key, count in cells.items():
        metric, stratum = key >> METRIC_SHIFT, key >> STRATUM_SHIFT & _STRATUM_MASK
        half = 0 if key & _ARM_BIT else grid.width
        if metric == START:
            found[stratum, half + grid.unknown] += count
        elif metric == FIRST_VALUE + number:
            found[stratum, half + (key & _BIN_MASK)] += count
            found[stratum, half + grid.unknown] -= count
    return found


def pair_counts(cells: Mapping[int, int], number: int, grid: Grid, *, strata: int) -> Counts:
    """[strata, bins] of settled minutes' cells; copies that were sent and gave no pair are unknown."""
    found = np.zeros((strata, grid.width), dtype=np.int64)
    moves = {PAIR_START: 1, PAIR_DROP: -1}
    for key, count in cells.items():
        metric, stratum = key >> METRIC_SHIFT, key >> STRATUM_SHIFT & _STRATUM_MASK
        if metric in moves:
            found[stratum, grid.unknown] += moves[metric] * count
        elif metric == FIRST_VALUE + number:
            found[stratum, key & _BIN_MASK] += count
            found[stratum, grid.unknown] -= count
    return found


def added(rows: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """The cells of many minutes and journals together."""
    total: dict[int, int] = {}
    for row in rows:
        for key, count in row.items():
            total[key] = total.get(key, 0) + count
    return total
