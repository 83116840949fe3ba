"""Bets on means: exact means over every sample and rounding, sides that cannot be helped, counts that add in any order."""

import itertools
import math
from typing import Any

import numpy as np
import pytest

from canary.stats.bets import CLIP, largest_bet
from canary.stats.grid import Grid, Known, Refused, Unknown, bin_of
from canary.stats.means import (
    Effect,
    Margin,
    MeanMetric,
    bets,
    canary_bin,
    combined,
    components,
    log_e,
    log_factors,
    over_cap,
    pair_bin,
    pair_grid,
    promote_effects,
    refused,
    scores,
    tolerated,
    trial,
)
from tests.support.values import (
    cost_metric,
    mean_counts,
    no_counts,
    promote_margin,
    quality_metric,
    rollback_margin,
    small_metric,
)

EFFECTS = (Effect(times=1.4), Effect(worst=0.3))


def small_margin(**changes: Any) -> Margin:
    return Margin(**{"name": "small.rollback", "rho": 1.1, "delta": 0.05, "effects": EFFECTS, **changes})


def mean_e(metric: MeanMetric, margin: Margin, chances: np.ndarray, requests: int) -> float:
    """Sum of P * e over every sequence of (stratum, bin); chances [strata, bins]."""
    factors = log_factors(metric, margin, 3_000).reshape(-1, chances.size)
    places = [place for place in range(chances.size) if chances.ravel()[place]]
    total = 0.0
    for sample in itertools.product(places, repeat=requests):
        parts = factors[:, list(sample)].sum(axis=1)
        total += math.prod(chances.ravel()[list(sample)]) * math.exp(float(combined(metric, margin, parts)))
    return total


def rounded(grid: Grid, value: float) -> np.ndarray:
    """Chances of an arm's bins when a value is rounded: over all numbers."""
    found = np.zeros(grid.width)
    upper = int(np.clip(np.searchsorted(grid.points, value), 1, len(grid.points) - 1))
    low, high = grid.points[upper - 1], grid.points[upper]
    found[upper] = (value - low) / (high - low)
    found[upper - 1] += 1 - found[upper]
    for number in (0, 2**64 - 1):
        assert found[bin_of(grid, Known(value=value), number)] > 0
    return found


def canary_chances(metric: MeanMetric, candidate: list[float], stable: list[float], *, weight: float) -> np.ndarray:
    """Each stratum has one value in each arm, rounded; strata 60 / 40."""
    rows = []
    for share, mine, theirs in zip((0.6, 0.4), candidate, stable, strict=True):
        rows.append(share * np.concatenate([weight * rounded(metric.grid, mine), (1 - weight) * rounded(metric.grid, theirs)]))
    return np.array(rows)


def test_mean_over_every_sample_and_rounding_is_one_on_the_edge_of_the_rollback_null() -> None:
    metric, margin = small_metric(), small_margin()
    stable = [0.7, 2.2]
    chances = canary_chances(metric, [1.1 * y + 0.05 for y in stable], stable, weight=0.3)
    assert mean_e(metric, margin, chances, 3) == pytest.approx(1.0, abs=1e-12)


def test_mean_is_one_on_the_edge_of_the_promote_null_where_nothing_is_cut() -> None:
    metric = small_metric(bounded=True)
    margin = small_margin(promote=True, rho=1.0, delta=0.3)
    stable = [0.7, 2.2]
    chances = canary_chances(metric, [y + 0.3 for y in stable], stable, weight=0.3)
    assert mean_e(metric, margin, chances, 3) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("rho", "delta"), [(1.5, 0.0), (1.0, 0.8), (1.3, 0.4)])
def test_cutting_at_the_cap_never_helps_the_candidate(rho: float, delta: float) -> None:
    """Its values are m(y) of stable's, on its margin exactly; what lies above the cap is cut in both arms."""
    metric = small_metric(grid=Grid(points=(0.0, 1.0, 2.5, 4.0)))
    margin = small_margin(promote=True, rho=rho, delta=delta)
    stable = [1.5, 3.9]
    chances = canary_chances(metric, [min(rho * y + delta, 4.0) for y in stable], stable, weight=0.3)
    assert mean_e(metric, margin, chances, 3) <= 1.0 + 1e-12
    uncut = [float(value) for value in tolerated(metric, margin, np.array(stable), linear=True)]
    assert max(uncut) > 4.0


def test_a_bounded_value_is_cut_before_the_margins_delta() -> None:
    margin = small_margin(promote=True, rho=1.5, delta=0.3)
    values = np.array([0.0, 2.0, 4.0])
    assert tolerated(small_metric(bounded=True), margin, values).tolist() == [0.3, 3.3, 4.3]
    assert tolerated(small_metric(), margin, values).tolist() == [0.3, 3.3, 4.0]
    assert tolerated(small_metric(), small_margin(rho=1.5, delta=0.3), values).tolist() == [0.3, 3.3, 6.3]


def test_mean_over_every_pair_and_rounding_is_one_on_the_edge_of_the_null() -> None:
    metric = small_metric(bounded=True)
    for promote in (False, True):
        margin = small_margin(pairs=True, promote=promote, rho=1.0, delta=0.3)
        grid = pair_grid(metric, margin)
        worlds = [(0.5, 3.2, 1.1), (0.3, 0.0, 0.4), (0.2, 1.0, 2.3)]
        bias = sum(p * (mine - theirs - 0.3) for p, mine, theirs in worlds)
        chances = sum(p * rounded(grid, mine - bias - theirs - 0.3) for p, mine, theirs in worlds)
        both = np.stack([0.6 * np.asarray(chances), 0.4 * np.asarray(chances)])
        assert mean_e(metric, margin, both, 2) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("weight_bp", [1, 500, 5_000, 9_500, 9_999])
@pytest.mark.parametrize("pairs", [False, True])
def test_every_bet_can_play_on_in_every_stratum(weight_bp: int, pairs: bool) -> None:
    for metric in (cost_metric(), quality_metric(), small_metric()):
        for margin in (rollback_margin(metric, pairs=pairs), promote_margin(metric, pairs=pairs)):
            sizes, score = bets(metric, margin, weight_bp / 10_000), scores(metric, margin, weight_bp / 10_000)
            assert (sizes > 0).all()
            assert sizes[0].max() <= CLIP * largest_bet(score) * (1 + 1e-12)
            assert np.isfinite(log_factors(metric, margin, weight_bp)).all()


def test_a_stratums_bets_are_bounded_by_its_own_worst_value() -> None:
    metric = cost_metric()
    margin = rollback_margin(metric)
    sizes, score = bets(metric, margin, 0.05), scores(metric, margin, 0.05)
    assert len(sizes) == 4
    for stratum in range(3):
        assert sizes[1 + stratum].max() <= CLIP * largest_bet(score[stratum]) * (1 + 1e-12)
        own = log_factors(metric, margin, 500)[1 + stratum]
        assert not np.delete(own, stratum, axis=1).any()
        assert own[:, stratum].any()


def test_the_promote_side_has_no_mixture_over_strata() -> None:
    metric = cost_metric()
    assert len(bets(metric, promote_margin(metric), 0.5)) == 1


def test_one_good_class_does_not_carry_a_bad_one() -> None:
    """Were strata averaged on the promote side, the cheaper class alone would clear a candidate that is dearer in all."""
    metric = small_metric(profile=((0.0, 9.0, 1.0, 0.0), (0.0, 0.0, 1.0, 9.0)))
    margin = small_margin(name="small.promote", promote=True, rho=1.1, delta=0.0, effects=(Effect(), Effect(times=0.9)))
    counts = no_counts(metric)
    counts[0, [0, 1]], counts[0, [8, 9]] = (400, 0), (400, 0)  # class 0: now free
    counts[1, [2, 3]], counts[1, [8, 10]] = (0, 400), (300, 100)  # class 1: dearer by far more
    assert log_e(metric, margin, [mean_counts(counts)]) < 0


def test_the_kelly_bet_grows_fastest() -> None:
    metric = small_metric(profile=((4.0, 3.0, 2.0, 1.0),))
    margin = small_margin(rho=1.0, delta=0.0, effects=(Effect(times=1.4),))
    best = float(bets(metric, margin, 0.3)[0, 0])
    own, chance = trial(metric, margin, margin.effects, 0.3)
    growth = [float((chance * np.log1p(best * step * own)).sum()) for step in (0.97, 1.0, 1.03)]
    assert growth[1] > max(growth[0], growth[2])
    assert chance.sum() == pytest.approx(1.0)


def test_a_class_that_the_profile_has_not_seen_is_taken_for_the_average_one() -> None:
    metric = small_metric(profile=((4.0, 3.0, 2.0, 1.0), (0.0, 0.0, 0.0, 0.0)))
    assert metric.centers()[1] == metric.centers()[0]
    sizes = bets(metric, small_margin(), 0.3)
    assert sizes[2] == pytest.approx(sizes[1])


def test_without_a_profile_the_bets_are_a_ladder() -> None:
    metric = small_metric(profile=((0.0,) * 4,))
    sizes = bets(metric, small_margin(), 0.3)[0]
    assert sizes == pytest.approx(CLIP * largest_bet(scores(metric, small_margin(), 0.3)) * 0.5 ** np.arange(10))


def test_golden_values() -> None:
    """Computed once by a plain loop over requests with one bet at a time."""
    metric = small_metric()
    counts = no_counts(metric)
    counts[0, [0, 1, 2, 3]], counts[0, [7, 8, 9, 10]] = (10, 12, 9, 7), (60, 40, 30, 12)
    counts[1, [1, 3, 5]], counts[1, [8, 10, 12]] = (8, 15, 1), (30, 31, 2)
    found = [mean_counts(counts, weight_bp=2_000)]
    assert log_e(metric, small_margin(), found) == pytest.approx(GOLDEN_ROLLBACK, abs=1e-9)
    promote = small_margin(name="small.promote", promote=True, rho=1.5, delta=0.1, effects=(Effect(), Effect(times=0.9)))
    assert log_e(metric, promote, found) == pytest.approx(GOLDEN_PROMOTE, abs=1e-9)


GOLDEN_ROLLBACK = 0.42767895008
GOLDEN_PROMOTE = -5.68707872364


def test_unknown_values_only_weaken_the_evidence() -> None:
    metric = small_metric()
    for margin in (small_margin(), small_margin(name="p", promote=True)):
        for pairs in (False, True):
            own = small_margin(name=margin.name, promote=margin.promote, pairs=pairs)
            factors = log_factors(metric, own, 3_000)[0]
            grid = pair_grid(metric, own) if pairs else metric.grid
            for half in range(1 if pairs else 2):
                part = factors[:, :, half * grid.width : (half + 1) * grid.width]
                assert part[:, :, grid.unknown] == pytest.approx(part[:, :, : grid.over + 1].min(axis=2))


def test_what_was_refused_moves_nothing_and_is_told() -> None:
    metric = small_metric()
    counts = no_counts(metric)
    counts[1, metric.grid.refused], counts[0, metric.grid.width + metric.grid.refused] = 3, 2
    found = [mean_counts(counts)]
    assert refused(metric, small_margin(), found) == 5
    assert log_e(metric, small_margin(), found) == pytest.approx(0.0)


def test_values_above_the_cap_are_worth_the_cap_and_counted_for_their_guard() -> None:
    metric = small_metric()
    factors = log_factors(metric, small_margin(), 3_000)
    for half in (0, 7):
        assert factors[..., half + 4] == pytest.approx(factors[..., half + 3])
    counts = no_counts(metric)
    counts[0, [0, 3, 4, 5, 6]] = 1, 2, 30, 4, 500
    counts[1, [7, 10, 11, 12, 13]] = 5, 6, 70, 8, 900
    assert over_cap(metric.grid, counts).tolist() == [[3, 30, 0, 4, 500, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 11, 70, 0, 8, 900]]


def test_without_a_coin_there_is_nothing_to_bet_on_but_pairs() -> None:
    metric = small_metric()
    assert not log_factors(metric, small_margin(), 0).any()
    assert not log_factors(metric, small_margin(), 10_000).any()
    assert log_factors(metric, small_margin(pairs=True), 0).any()


def test_counts_of_another_shape_are_refused() -> None:
    metric = small_metric()
    with pytest.raises(ValueError, match="strata and bins expected"):
        components(metric, small_margin(), mean_counts(no_counts(metric)[:1]))


def test_segments_weigh_the_same_in_any_order() -> None:
    metric = cost_metric()
    rng = np.random.default_rng(3)
    shape = no_counts(metric).shape
    found = [
        mean_counts(rng.integers(0, 20, shape), segment=segment, weight_bp=weight_bp)
        for segment, weight_bp in ((1, 100), (2, 500), (3, 2_500), (4, 5_000))
    ]
    first = log_e(metric, rollback_margin(metric), found)
    assert all(
        log_e(metric, rollback_margin(metric), [found[place] for place in order]) == first
        for order in itertools.permutations(range(4))
    )


def test_a_pair_is_cut_rounded_and_placed_on_its_margins_own_grid() -> None:
    metric = small_metric(bounded=True)
    margin = small_margin(pairs=True, rho=1.0, delta=0.5)
    grid = pair_grid(metric, margin)
    assert (grid.points[0], grid.cap, grid.points[3]) == (-4.5, 3.5, 0.0)
    for y in np.linspace(0, 4, 33).tolist():
        for rho, promote, bounded in itertools.product((1.0, 1.3), (False, True), (False, True)):
            own, other = small_metric(bounded=bounded), small_margin(pairs=True, promote=promote, rho=rho, delta=0.5)
            places = pair_grid(own, other).points
            at = pair_bin(own, other, Known(value=3.0), Known(value=y), exchange_id=b"x")
            assert abs(places[at] - (3.0 - float(tolerated(own, other, np.array(y))))) <= 2.0
    known = {
        (9.0, 0.0): len(grid.points) - 1,  # 4 - .5
        (0.0, 9.0): 0,
        (0.5, 0.0): 3,  # exactly the margin
        (9.0, 2.625): 4,  # 4 - 2.625 - .5, the first point above 0: values are cut, not their difference
    }
    for (mine, theirs), place in known.items():
        assert pair_bin(metric, margin, Known(value=mine), Known(value=theirs), exchange_id=b"x") == place
    assert pair_bin(metric, margin, Known(value=1.0), Unknown(), exchange_id=b"x") == grid.unknown
    assert pair_bin(metric, margin, Refused(reason="?"), Unknown(), exchange_id=b"x") == grid.refused


def test_an_answers_bin_follows_from_its_exchange_and_the_metrics_name() -> None:
    metric = small_metric()
    ids = [index.to_bytes(16, "big") for index in range(400)]
    mine = [canary_bin(metric, Known(value=1.75), exchange) for exchange in ids]
    assert mine == [canary_bin(metric, Known(value=1.75), exchange) for exchange in ids]
    assert 150 < mine.count(2) < 250
    assert mine != [canary_bin(small_metric(name="other"), Known(value=1.75), exchange) for exchange in ids]


def test_a_margin_that_nothing_can_exceed_is_refused_for_pairs() -> None:
    with pytest.raises(ValueError, match="nothing to find out"):
        pair_grid(small_metric(bounded=True), small_margin(pairs=True, delta=5.0))


def test_promotion_bets_on_no_effect_and_on_half_the_margin() -> None:
    metric = quality_metric()
    none, half_way = promote_effects(metric, rho=1.0, delta=0.02)
    assert none == Effect()
    assert (1 - metric.mean()) * half_way.worst == pytest.approx(0.01)
    assert promote_effects(cost_metric(), rho=1.1, delta=0.0)[1].times == pytest.approx(1.05)
