"""The bets of each metric of values on settled columns: its rollback side, and what its rows read."""

import math
from functools import lru_cache

import numpy as np

from canary.stats.contrast import Vector
from canary.stats.mean_metric import Margin, MeanMetric
from canary.stats.means import combined, over_cap, parts, size_of
from canary.stats.side import Counted, Ints
from canary.stats.value_cells import columns_of_plan
from canary.stats.value_plan import Form, ValueMetric, ValuePlan
from canary.terms import BUCKETS, Scored


class Place:
    """Where a metric's counts stand in the columns."""

    def __init__(self, plan: ValuePlan, metric: ValueMetric) -> None:
        assert metric.mean is not None, f"{metric.name} has no grid, and no counts"
        self.metric = metric
        self.mean: MeanMetric = metric.mean
        self._blocks = columns_of_plan(plan).blocks
        self._source = next((one.mean.grid for one in plan.metrics if one.number == metric.number and one.mean), self.mean.grid)

    def canary(self, vector: Ints) -> Ints:
        """[strata, candidate's bins then stable's]"""
        counts = self._blocks[self.metric.number].of(vector)
        return over_cap(self._source, counts) if self.metric.form is Form.OVER_CAP else counts

    def pairs(self, margin: int, vector: Ints) -> Ints:
        """[strata, bins] under the margin at a place of `pair_margins`."""
        place = 0 if self.mean.binary else margin
        return self._blocks[self.metric.number + int(self.metric.in_canary) + place].of(vector)

    def canary_parts(self, margin: Margin, found: Counted, stratum: int | None = None) -> Vector:
        """Components under a margin, of one stratum or all; a warm-up, and a segment without a coin, say nothing."""
        if found.scored is not Scored.ALL or not 0 < found.weight_bp < BUCKETS:
            return np.zeros(size_of(self.mean, margin))
        return parts(self.mean, margin, found.weight_bp, _only(self.canary(found.values), stratum))

    def pair_parts(self, place: int, found: Counted, stratum: int | None = None) -> Vector:
        """Components of the pairs under the margin at a place of `pair_margins`."""
        margin = self.metric.pair_margins[place]
        if found.scored is not Scored.ALL:
            return np.zeros(size_of(self.mean, margin))
        return parts(self.mean, margin, 0, _only(self.pairs(place, found.values), stratum))


def _only(counts: Ints, stratum: int | None) -> Ints:
    if stratum is None:
        return counts
    alone = np.zeros_like(counts)
    alone[stratum] = counts[stratum]
    return alone


class ValueSide:
    """The rollback side of one metric: bets in the canary, then bets over pairs; the lanes share one share of the budget."""

    def __init__(self, plan: ValuePlan, metric: ValueMetric) -> None:
        self.place = Place(plan, metric)
        self._canary, self._pairs = metric.rollback, metric.rollback_pairs
        self._weight = metric.shadow_weight
        self._split = size_of(self.place.mean, self._canary) if self._canary else 0
        self.size = self._split + (size_of(self.place.mean, self._pairs) if self._pairs else 0)

    @property
    def name(self) -> str:
        """The metric's name."""
        return self.place.metric.name

    def components(self, found: Counted) -> Vector:
        """Log e that these counts add to each component, [size]."""
        lanes = []
        if self._canary:
            lanes.append(self.place.canary_parts(self._canary, found))
        if self._pairs:
            lanes.append(self.place.pair_parts(0, found))
        return np.concatenate(lanes)

    def combine(self, parts: Vector) -> Vector:
        """Log e-value of added components, [..., size] -> [...]."""
        mean = self.place.mean
        if self._pairs is None:
            assert self._canary is not None, "a side has a lane"
            return combined(mean, self._canary, parts)
        pairs = combined(mean, self._pairs, parts[..., self._split :])
        if self._canary is None or self._weight >= 1:  # a preference, or a rollout that has only a shadow
            return pairs
        canary = combined(mean, self._canary, parts[..., : self._split])
        return np.asarray(np.logaddexp(math.log1p(-self._weight) + canary, math.log(self._weight) + pairs))


@lru_cache(maxsize=64)
def sides_of_plan(plan: ValuePlan) -> tuple[ValueSide, ...]:
    """The rollback side of every metric that has one and adds up over minutes."""
    return tuple(ValueSide(plan, metric) for metric in plan.metrics if metric.rollback or metric.rollback_pairs)
