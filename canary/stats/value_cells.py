"""Values in the counters: the cells that an answer or a pair increments, and the columns in which settled cells are summed.

Values are scored at the timeout's age and kept by the minute of start. A start whose value is not there by that age is
unknown for ever, so a minute is taken whole, once its journal's tick has passed its end and the age.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

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
from canary.stats.diversity import BINS, bin_of_answer
from canary.stats.facts import Fact
from canary.stats.grid import Reading
from canary.stats.mean_metric import Margin, MeanMetric
from canary.stats.means import canary_bin, pair_bin, pair_width
from canary.stats.readings import preferred, raw_of, reading_of
from canary.stats.side import Ints
from canary.stats.value_plan import Form, ValueMetric, ValuePlan
from canary.terms import Arm

FIRST_VALUE: Final = 16
"""Metric number of the first value; those below are starts, ends and pairs."""

_CANDIDATE_BIT: Final = 1 << ARM_SHIFT
_BIN_MASK: Final = (1 << SECOND_SHIFT) - 1
_STRATUM_MASK: Final = (1 << METRIC_SHIFT - STRATUM_SHIFT) - 1


def value_cell(number: int, bin_index: int, *, candidate: bool = False, stratum: int = 0) -> int:
    """Key that one answer, or one pair under one margin, increments; `number` counts values and pair margins from 0."""
    return pack(metric=FIRST_VALUE + number, stratum=stratum, arm=int(candidate), second=WHOLE_MINUTE, bin_index=bin_index)


class _Script(NamedTuple):
    """What an event of a plan counts, worked out once: metrics with the keys of their first cells."""

    guards: tuple[tuple[ValueMetric, MeanMetric, int], ...]  # that every rollout has: a yes or no of the fact itself
    answers: tuple[tuple[ValueMetric, MeanMetric, int], ...]
    digest: int  # -1: no digests are counted
    pairs: tuple[tuple[ValueMetric, tuple[tuple[Margin, int], ...]], ...]


@lru_cache(maxsize=64)
def _script(plan: ValuePlan) -> _Script:
    guards: list[tuple[ValueMetric, MeanMetric, int]] = []
    answers: list[tuple[ValueMetric, MeanMetric, int]] = []
    digest, pairs = -1, []
    for metric in plan.metrics:
        if metric.form is Form.DIVERSITY:
            digest = value_cell(metric.number, 0)
        elif metric.in_canary and metric.mean is not None:
            (guards if metric.index < 0 else answers).append((metric, metric.mean, value_cell(metric.number, 0)))
        first = metric.number + int(metric.in_canary)
        margins = metric.pair_margins[: metric.pair_numbers]
        if margins:
            pairs.append((metric, tuple((margin, value_cell(first + place, 0)) for place, margin in enumerate(margins))))
    return _Script(tuple(guards), tuple(answers), digest, tuple(pairs))


@lru_cache(maxsize=4_096)
def _guard_cells(plan: ValuePlan, client_error: bool, left: bool, *, bits: int) -> tuple[int, ...]:
    """Cells of the guards that every rollout has: nothing of them is rounded, so there are few, asked for again and again."""
    fact = Fact(age_us=0, latency_us=-1, failed=False, client_error=client_error, left=left)
    return tuple(
        key | bits | canary_bin(mean, reading_of(metric.form, metric.spec, raw_of(metric, fact), fact), b"")
        for metric, mean, key in _script(plan).guards
    )


def end_cells(plan: ValuePlan, arm: Arm, fact: Fact, stratum: int = 0) -> tuple[int, ...]:
    """Cells of an answer's end, beside those of the contrasts; none for one that was lost or came after the age."""
    if fact.lost or fact.age_us > plan.age_us:
        return ()
    script, side = _script(plan), _CANDIDATE_BIT if arm is Arm.CANDIDATE else 0
    bits = stratum << STRATUM_SHIFT | side
    guards = _guard_cells(plan, fact.client_error, fact.left, bits=bits)
    if not script.answers and script.digest < 0:
        return guards
    cells = [
        key | bits | canary_bin(mean, reading_of(metric.form, metric.spec, raw_of(metric, fact), fact), fact.exchange_id)
        for metric, mean, key in script.answers
    ]
    if script.digest >= 0 and fact.answer and not fact.failed and not fact.left:
        cells.append(script.digest | side | bin_of_answer(plan.key, fact.answer))
    return (*guards, *cells)


def pair_cells(plan: ValuePlan, live: Fact, shadow: Fact, stratum: int = 0) -> tuple[int, ...]:
    """Cells of a pair, beside those of the contrasts; none where a side was lost, left or late: such a pair is unknown."""
    if live.lost or shadow.lost or live.left or max(live.age_us, shadow.age_us) > plan.age_us:
        return ()
    cells, bits = [], stratum << STRATUM_SHIFT
    for metric, margins in _script(plan).pairs:
        mine, theirs = _pair_readings(metric, live, shadow)
        assert metric.mean is not None, "pairs are put on a grid"
        for margin, key in margins:
            cells.append(key | bits | pair_bin(metric.mean, margin, mine, theirs, exchange_id=live.exchange_id))
    return tuple(cells)


def _pair_readings(metric: ValueMetric, live: Fact, shadow: Fact) -> tuple[Reading, Reading]:
    mine, theirs = raw_of(metric, shadow), raw_of(metric, live)
    if metric.form is Form.PREFERENCE:
        return preferred(metric.spec, mine, theirs, (shadow, live))
    return reading_of(metric.form, metric.spec, mine, shadow), reading_of(metric.form, metric.spec, theirs, live)


class Block(NamedTuple):
    """One cell number's part of the columns."""

    offset: int
    strata: int
    arms: int  # 2: candidate's bins, then stable's; 1: pairs
    width: int
    unknown: int  # bin of a start, or of a copy, without a value

    @property
    def size(self) -> int:
        """Columns."""
        return self.strata * self.arms * self.width

    def of(self, vector: Ints) -> Ints:
        """This part of a vector, [strata, arms * width]."""
        return vector[self.offset : self.offset + self.size].reshape(self.strata, self.arms * self.width)


class Columns:
    """The counts of one segment as a vector of integers; a start without a value is in the place of an unknown one."""

    def __init__(self, plan: ValuePlan) -> None:
        self.blocks: tuple[Block, ...] = tuple(_blocks(plan))  # by cell number
        self.size = sum(block.size for block in self.blocks)
        self._strata = plan.strata
        self._tables = np.array(self.blocks, dtype=np.int64).reshape(len(self.blocks), 5)

    def add(self, vector: Ints, keys: Ints, counts: Ints) -> None:
        """Adds the cells of minutes that are settled for `plan.age_us`: starts, pair starts and drops, and values.

        Cells of contrasts are passed over. Raises ValueError for a value, a bin or a class that the plan does not have.
        """
        metric, stratum, arm = keys >> METRIC_SHIFT, keys >> STRATUM_SHIFT & _STRATUM_MASK, keys >> ARM_SHIFT & 1
        self._add_values(vector, metric - FIRST_VALUE, (stratum, arm, keys & _BIN_MASK), counts)
        signs = {START: (2, 1), PAIR_START: (1, 1), PAIR_DROP: (1, -1)}
        for kind, (arms, sign) in signs.items():
            here = metric == kind
            if not here.any():
                continue
            if stratum[here].max() >= self._strata:
                raise ValueError(f"class {stratum[here].max()} was counted, {self._strata} are known")
            for block in self.blocks:
                if block.arms == arms:
                    place = np.where(stratum[here] < block.strata, stratum[here], 0) * arms + (1 - arm[here]) * (arms - 1)
                    np.add.at(vector, block.offset + place * block.width + block.unknown, sign * counts[here])

    def _add_values(self, vector: Ints, number: Ints, place: tuple[Ints, Ints, Ints], counts: Ints) -> None:
        """A value's cell takes its start, or its copy, out of the unknown ones."""
        here = number >= 0
        if not here.any():
            return
        number, counts = number[here], counts[here]
        stratum, arm, bin_index = (part[here] for part in place)
        if number.max() >= len(self.blocks):
            raise ValueError(f"value {number.max()} was counted, {len(self.blocks)} are known")
        offset, strata, arms, width, unknown = self._tables[number].T
        if (stratum >= strata).any() or (bin_index >= width).any():
            raise ValueError("a value was counted in a class or a bin that this plan does not have")
        first = offset + (stratum * arms + (1 - arm) * (arms - 1)) * width
        np.add.at(vector, first + bin_index, counts)
        np.add.at(vector, first + unknown, -counts)


def _blocks(plan: ValuePlan) -> Iterator[Block]:
    offset = 0
    for metric in plan.metrics:
        for block in _shapes(plan, metric):
            yield block._replace(offset=offset)
            offset += block.size


def _shapes(plan: ValuePlan, metric: ValueMetric) -> Iterator[Block]:
    if metric.form is Form.DIVERSITY:
        yield Block(0, 1, 2, BINS + 1, BINS)
    if metric.mean is None:
        return
    if metric.in_canary:
        yield Block(0, plan.strata, 2, metric.mean.grid.width, metric.mean.grid.unknown)
    for margin in metric.pair_margins[: metric.pair_numbers]:
        width = pair_width(metric.mean, margin)
        yield Block(0, plan.strata, 1, width, width - 2)


@lru_cache(maxsize=64)
def columns_of_plan(plan: ValuePlan) -> Columns:
    """The columns of a plan, built once."""
    return Columns(plan)
