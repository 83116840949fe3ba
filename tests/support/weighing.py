"""Totals made by hand, and rows found by name: what tests of weighing read and write."""

from collections.abc import Mapping, Sequence

import numpy as np

from canary.stats.contrast import Contrast
from canary.stats.counts import Block, SegmentTotals, Totals
from canary.stats.evidence import Evidence, MetricEvidence
from canary.stats.scoring import Scoring
from canary.stats.totals import shape_of

Counts = Mapping[tuple[str, int], Sequence[int]]
"""Four counts of a contrast in a stratum."""


def contrast_of(scoring: Scoring, name: str) -> Contrast:
    """The contrast of that name."""
    return next(found for found in scoring.contrasts if found.name == name)


def row_of(evidence: Evidence, metric: str) -> MetricEvidence:
    """The metric's row."""
    return next(found for found in evidence.metrics if found.metric == metric)


def array_of(scoring: Scoring, counts: Counts) -> np.ndarray:
    """[strata, contrasts, 4], zero where nothing is given."""
    names = [contrast.name for contrast in scoring.contrasts]
    found = np.zeros((scoring.strata, len(names), 4), dtype=np.int64)
    for (name, stratum), four in counts.items():
        found[stratum, names.index(name)] = four
    return found


def totals_of(scoring: Scoring, segments: Mapping[int, Mapping[int, Counts]]) -> Totals:
    """Totals of counts by segment and minute; promote sides have no blocks."""
    shape = shape_of(scoring)
    whole, blocks = {}, []
    promote = np.array([contrast.promote for contrast in scoring.contrasts])
    for segment, minutes in segments.items():
        arrays = {minute: array_of(scoring, counts) for minute, counts in minutes.items()}
        total = sum(arrays.values(), np.zeros((scoring.strata, len(scoring.contrasts), 4), dtype=np.int64))
        whole[segment] = SegmentTotals(counts=tuple(total.ravel().tolist()), values=(0,) * shape.values)
        for minute, found in arrays.items():
            kept = np.where(promote[:, None], 0, found).ravel()
            blocks.append(Block.of(minute, segment, np.concatenate([kept, np.zeros(shape.values, dtype=np.int64)])))
    first = min((minute for minutes in segments.values() for minute in minutes), default=0)
    blocks.sort(key=lambda block: (block.minute, block.segment))
    return Totals(segments=whole, blocks=tuple(blocks), first_minute=first, as_of_us=5)
