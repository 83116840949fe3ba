"""Counts of values in people's terms: means in the metric's own unit, pairs won and lost, task classes, what was refused."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from canary.stats.bets import even, mixed_apart
from canary.stats.contrast import Vector
from canary.stats.evidence import ClassEvidence
from canary.stats.side import Ints
from canary.stats.value_plan import Form
from canary.stats.value_sides import Place


class PairCounts(NamedTuple):
    """Pairs in which both were bad, the candidate was worse than tolerated, better, neither; and those without a value."""

    both: int = 0
    worse: int = 0
    better: int = 0
    same: int = 0
    refused: int = 0


def pair_counts(place: Place, counts: Sequence[Ints]) -> PairCounts:
    """All segments' pairs under a metric's first margin; of values that are 0 or 1 no margin is in it. Unknown: neither."""
    bins = [sum(column) for column in zip(*(row for one in counts for row in one.tolist()), strict=True)]
    if not bins:
        return PairCounts()
    if place.mean.binary:
        both, worse, better, neither, unknown, refused = bins
        return PairCounts(both, worse, better, neither + unknown, refused)
    middle = (len(bins) - 4) // 2  # as many points below 0 as above it, then over the cap, unknown, refused
    return PairCounts(0, sum(bins[middle + 1 : -2]), sum(bins[:middle]), bins[middle] + bins[-2], bins[-1])


def arms(place: Place, counts: Sequence[Ints]) -> tuple[Ints, Ints]:
    """All segments' and strata's bins of candidate and stable."""
    width = place.mean.grid.width
    total = sum((one.sum(axis=0) for one in counts), np.zeros(2 * width, dtype=np.int64))
    return total[:width], total[width:]


def means_of(place: Place, counts: Sequence[Ints]) -> tuple[float | None, float | None]:
    """Both arms' means of known values, cut to the cap, in the metric's own unit; None while an arm has none.

    Weighed by segment and stratum with nC nS / (nC + nS), so that neither a ramp nor a change of classes moves them.
    """
    width, values = place.mean.grid.width, _values(place)
    total = mine = theirs = 0.0
    for row in (row for one in counts for row in one):
        own, other = row[: len(values)], row[width : width + len(values)]
        n, m = int(own.sum()), int(other.sum())
        if n and m:
            weight = n * m / (n + m)
            total += weight
            mine += weight * float(own @ values) / n
            theirs += weight * float(other @ values) / m
    return (mine / total, theirs / total) if total else (None, None)


def class_rows(place: Place, counts: Sequence[Ints], parts: Vector, names: Sequence[str]) -> tuple[ClassEvidence, ...]:
    """Evidence of each task class on its own: `parts` are the rollback side's components, pool 0 is all of them together."""
    width, values = place.mean.grid.width, _values(place)
    summed = sum(counts, np.zeros((len(names), 2 * width), dtype=np.int64))
    pools = parts.reshape(1 + len(names), -1)
    log_e = mixed_apart(even(pools.shape[1]), pools[1:])
    return tuple(
        ClassEvidence(
            name=name,
            n_candidate=int(row[:width].sum()),
            n_stable=int(row[width:].sum()),
            bad_candidate=float(row[: len(values)] @ values),
            bad_stable=float(row[width : width + len(values)] @ values),
            log_e_rollback=found,
        )
        for name, row, found in zip(names, summed, log_e.tolist(), strict=True)
    )


def refusals(candidate: int, stable: int, pairs: int) -> str:
    """Why a metric with values that are none says nothing; empty where there are none."""
    parts = ((candidate, "of the candidate's answers"), (stable, "of stable's answers"), (pairs, "pairs"))
    found = [f"{count} {what}" for count, what in parts if count]
    return f"no usable value in {' and '.join(found)}" if found else ""


def _values(place: Place) -> Vector:
    """What the points and the bin over the cap are worth, in the metric's own unit."""
    grid, spec = place.mean.grid, place.metric.spec
    values = np.array([*grid.points, grid.cap])
    return spec.cap * (1 - values) if place.metric.form is Form.QUALITY and spec.cap else values
