"""Grids: unbiased rounding keyed by the exchange, one bin for each kind of reading, profiles whose mean survives."""

import math

import numpy as np
import pytest

from canary.stats.grid import (
    QUALITY_GRID,
    Grid,
    Known,
    Reading,
    Refused,
    Unknown,
    bin_of,
    cost,
    cost_grid,
    quality_loss,
    rounding_number,
    spread,
)
from tests.support.values import bins_of, cost_metric, costs, counted, quality_metric, tokens

GRID = Grid(points=(0.0, 1.0, 2.5, 4.0))
NUMBERS = 2**64


def test_a_rounding_number_is_the_same_for_ever() -> None:
    """Golden: another number here would change every stored count."""
    assert rounding_number(bytes(range(16)), "cost") == 5349537882789312257


def test_rounding_numbers_differ_by_exchange_by_metric_and_by_where_one_ends() -> None:
    found = {rounding_number(exchange, name) for exchange in (b"a", b"ab", bytes(16)) for name in ("cost", "bcost", "")}
    assert len(found) == 9


def test_rounding_numbers_are_uniform() -> None:
    numbers = (
        np.array([rounding_number(index.to_bytes(16, "big"), "cost") for index in range(4_000)], dtype=np.float64) / NUMBERS
    )
    counts = np.histogram(numbers, bins=20, range=(0, 1))[0]
    assert ((counts - 200) ** 2 / 200).sum() < 43.8  # 99.9 % of chi-square with 19 degrees


@pytest.mark.parametrize("value", [0.0, 0.25, 1.0, 1.75, 2.5, 3.999, 4.0])
def test_the_mean_over_all_numbers_is_the_value(value: float) -> None:
    """A thousand numbers evenly spaced stand for all 2^64 of them."""
    rounded = [GRID.points[bin_of(GRID, Known(value=value), (2 * index + 1) * NUMBERS // 2_000)] for index in range(1_000)]
    assert sum(rounded) / 1_000 == pytest.approx(value, abs=2e-3)


def test_a_value_on_a_point_stays_there_whatever_the_number() -> None:
    for index, point in enumerate(GRID.points):
        assert {bin_of(GRID, Known(value=point), number) for number in (0, NUMBERS // 2, NUMBERS - 1)} == {index}


def test_every_kind_of_reading_has_a_bin_of_its_own() -> None:
    readings: list[Reading] = [Known(value=4.1), Unknown(), Refused(reason="x")]
    assert [bin_of(GRID, reading, 0) for reading in readings] == [GRID.over, GRID.unknown, GRID.refused] == [4, 5, 6]
    assert GRID.width == 7


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -1.0, -math.inf])
def test_a_cost_that_is_none_is_refused_and_never_0(value: float | None) -> None:
    assert isinstance(cost(value), Refused)


def test_a_cost_is_taken_as_it_is() -> None:
    assert cost(0) == Known(value=0.0)
    assert cost(12_345) == Known(value=12_345.0)


@pytest.mark.parametrize("quality", [None, math.nan, -0.1, 1.1, math.inf])
def test_a_missing_quality_is_all_lost(quality: float | None) -> None:
    assert quality_loss(quality, failed=False) == Known(value=1.0)


def test_quality_is_turned_into_loss_and_a_failed_answer_lost_all() -> None:
    assert quality_loss(0.75, failed=False) == Known(value=0.25)
    assert quality_loss(0.75, failed=True) == Known(value=1.0)


@pytest.mark.parametrize("points", [(), (0.0,), (0.0, 0.0), (1.0, 0.5), (0.0, math.inf), (0.0, math.nan)])
def test_points_that_are_no_grid_are_refused(points: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="at least two finite points"):
        Grid(points=points)


def test_a_cost_grid_runs_from_the_profiles_small_costs_to_half_more_than_its_large_ones() -> None:
    seen = costs(np.random.default_rng(1), 4_000).value
    grid = cost_grid(counted(seen))
    assert len(grid.points) == 64
    assert grid.points[:2] == (0.0, float(np.sort(seen)[3]))
    assert grid.cap == pytest.approx(1.5 * np.sort(seen)[3_995])
    steps = np.diff(np.log(grid.points[1:]))
    assert steps == pytest.approx(steps[0])


def test_a_cost_grid_takes_a_hard_bound_even_under_what_was_seen() -> None:
    assert cost_grid({10.0: 5, 20.0: 5}, hard_bound=100.0).cap == 100.0
    assert cost_grid({10.0: 5, 20.0: 5}, hard_bound=8.0).points[1] == 4.0


def test_free_answers_alone_give_no_grid_for_costs() -> None:
    with pytest.raises(ValueError, match="above zero"):
        cost_grid({0.0: 100})


def test_a_spread_keeps_the_number_and_the_mean_of_values_cut_to_the_cap() -> None:
    seen = {0.0: 3, 0.5: 2, 2.5: 1, 3.7: 4, 9.0: 2}
    found = np.array(spread(GRID, seen))
    assert found.sum() == pytest.approx(12)
    assert found @ np.array(GRID.points) == pytest.approx(sum(min(value, 4.0) * count for value, count in seen.items()))


def test_a_quality_grid_has_33_equal_steps() -> None:
    assert len(QUALITY_GRID.points) == 33
    assert np.diff(QUALITY_GRID.points) == pytest.approx(1 / 32)


def test_the_streams_of_the_tests_are_rounded_like_single_values() -> None:
    class Fixed:
        def random(self, n: int) -> np.ndarray:
            return np.full(n, 0.4)

    values = np.array([0.0, 0.3, 0.41, 1.0, 2.0, 2.5, 3.0, 4.0, 4.01])
    many = bins_of(GRID, values, Fixed())  # type: ignore[arg-type]
    assert many.tolist() == [bin_of(GRID, Known(value=float(value)), int(0.4 * NUMBERS)) for value in values]


def test_the_metrics_of_the_tests_are_those_of_real_traffic() -> None:
    assert len(tokens()) >= 1_750
    assert len(cost_metric().profile) == 3
    assert 0.2 < quality_metric().mean() < 0.3
