"""Cells of answers and pairs, and the columns in which they are summed."""

import math

import numpy as np
import pytest

from canary.stats.cells import END, START, pack
from canary.stats.diversity import BINS, answer_key, bin_of_answer
from canary.stats.value_cells import FIRST_VALUE, columns_of_plan, end_cells, pair_cells, value_cell
from canary.stats.value_plan import ValuePlan
from canary.terms import Arm
from tests.support.value_plans import (
    TIMEOUT_US,
    Tally,
    a_cost,
    a_fact,
    a_plan,
    a_preference,
    a_quality,
    a_rate,
    a_spec,
    metric_of,
    vector_of,
)

SPEC = a_spec(a_cost(), a_quality(), a_rate(), a_preference(), classes=("chat",), diversity="body")
PLAN = a_plan(SPEC, [a_fact(0.5 + i / 500, 8.0, float(i % 50 == 0), 1.0) for i in range(500)])
FULL = a_fact(1.0, 8.0, 0.0, 3.0, answer=b"hello")


def found(plan: ValuePlan, tally: Tally, name: str, offset: int = 0) -> np.ndarray:
    """One metric's part of the columns; `offset` counts its pairs from 1."""
    return columns_of_plan(plan).blocks[metric_of(plan, name).number + offset].of(tally.vector())


def test_an_answer_has_one_cell_for_each_value_and_its_digest() -> None:
    assert len(end_cells(PLAN, Arm.CANDIDATE, FULL, 1)) == 6  # client_error, abandoned, cost, score, invalid, diversity
    assert len(end_cells(PLAN, Arm.CANDIDATE, a_fact(1.0, 8.0, 0.0, 3.0), 1)) == 5


@pytest.mark.parametrize("changes", [{"lost": True}, {"age_us": TIMEOUT_US + 1}])
def test_an_answer_that_was_lost_or_late_is_unknown(changes: dict[str, object]) -> None:
    late = a_fact(1.0, 8.0, 0.0, 3.0, **changes)
    assert end_cells(PLAN, Arm.CANDIDATE, late, 1) == ()
    assert pair_cells(PLAN, FULL, late) == pair_cells(PLAN, late, FULL) == ()


def test_an_answer_at_the_age_itself_counts() -> None:
    assert end_cells(PLAN, Arm.STABLE, a_fact(1.0, age_us=TIMEOUT_US))


def test_only_answers_that_ended_well_have_a_digest() -> None:
    for changes in ({"failed": True}, {"left": True}):
        assert len(end_cells(PLAN, Arm.STABLE, a_fact(1.0, 8.0, 0.0, 3.0, answer=b"hello", **changes))) == 5


def test_the_key_decides_which_answers_share_a_bin() -> None:
    bins = [[bin_of_answer(answer_key(salt), bytes([i])) for i in range(200)] for salt in (b"a" * 16, b"b" * 16)]
    assert bins[0] != bins[1]
    assert answer_key(b"a" * 16) not in (b"a" * 16, answer_key(b"b" * 16))


def test_starts_without_a_value_are_unknown_in_their_arm_and_class() -> None:
    tally = Tally(PLAN)
    tally.start(Arm.CANDIDATE, stratum=1, times=5)
    tally.start(Arm.STABLE, times=7)
    tally.answer(Arm.STABLE, a_fact(1.0, 8.0, 1.0, 3.0))
    rate = found(PLAN, tally, "invalid")
    assert rate.tolist() == [[0, 0, 0, 0, 0, 0, 1, 0, 7, 0], [0, 0, 0, 5, 0, 0, 0, 0, 0, 0]]
    silent = found(PLAN, tally, "diversity")[0]
    assert (silent[BINS], silent[-1], silent.sum()) == (5, 8, 13)


def test_values_over_the_cap_and_refused_ones_have_bins_of_their_own() -> None:
    tally = Tally(PLAN)
    for value in (100.0, math.nan, -1.0, None):
        tally.answer(Arm.CANDIDATE, a_fact(value, 8.0, 0.0, 3.0))
    grid = metric_of(PLAN, "cost").mean.grid  # type: ignore[union-attr]
    counts = found(PLAN, tally, "cost")[0]
    assert (counts[grid.over], counts[grid.refused], counts.sum()) == (1, 3, 4)


def test_a_pair_of_a_rate_or_a_preference_has_one_cell_for_all_margins() -> None:
    tally = Tally(PLAN)
    good, bad = a_fact(1.0, 8.0, 0.0, 9.0), a_fact(1.0, 8.0, 1.0, 1.0)
    for live, shadow, times in ((bad, bad, 1), (good, bad, 2), (bad, good, 3), (good, good, 4)):
        tally.pair(live, shadow, times=times)
    tally.pair(good, None, times=5)
    tally.pair(good, None, times=6, dropped=True)
    tally.pair(a_fact(1.0, 8.0, 0.0, 9.0, left=True), good, times=7)  # nobody knows what the client would have got
    assert found(PLAN, tally, "invalid", 1)[0].tolist() == [1, 2, 3, 4, 12, 0]
    assert found(PLAN, tally, "preference")[0].tolist() == [0, 2, 3, 5, 12, 0]
    assert found(PLAN, tally, "cost", 1)[0].sum() == 22


def test_a_pair_of_an_amount_has_a_cell_under_each_margin() -> None:
    cells = pair_cells(PLAN, FULL, FULL, 1)
    assert len(cells) == 5 + 5 + 1 + 1
    assert len({cell >> 32 for cell in cells}) == len(cells)


def test_a_pair_with_a_refused_value_is_refused() -> None:
    tally = Tally(PLAN)
    tally.pair(FULL, a_fact(math.nan, 8.0, 0.0, 3.0))
    tally.pair(a_fact(None, 8.0, 0.0, 3.0), FULL)
    assert found(PLAN, tally, "cost", 1)[0, -1] == 2
    assert found(PLAN, tally, "score", 1)[0, -1] == 0


def test_cells_of_contrasts_are_passed_over() -> None:
    assert not vector_of(PLAN, {pack(metric=END, stratum=0, arm=1, second=3, bin_index=9): 4}).any()


def test_nothing_to_add_adds_nothing() -> None:
    assert not vector_of(PLAN, {}).any()


@pytest.mark.parametrize(
    "cell",
    [
        value_cell(FIRST_VALUE + 99, 0),
        value_cell(0, 5),
        value_cell(0, 0, stratum=2),
        value_cell(metric_of(PLAN, "diversity").number, 3, stratum=1),
        pack(metric=START, stratum=2, arm=0, second=3, bin_index=0),
    ],
)
def test_what_the_plan_does_not_have_is_not_counted_as_something_else(cell: int) -> None:
    with pytest.raises(ValueError, match=r"known|does not have"):
        vector_of(PLAN, {cell: 1})


def test_a_plan_without_metrics_has_no_columns() -> None:
    assert columns_of_plan(ValuePlan()).size == 0
    assert not vector_of(ValuePlan(), {pack(metric=START, stratum=0, arm=0, second=3, bin_index=0): 1}).size
    assert end_cells(ValuePlan(), Arm.CANDIDATE, FULL) == pair_cells(ValuePlan(), FULL, FULL) == ()
