"""Forecasts: exact where growth is exact, near what simulated streams need."""

import math
from typing import Any

import numpy as np
import pytest

from canary.stats.bets import log_factors, mixed
from canary.stats.contrast import Contrast, Rule
from canary.stats.forecast import Growth, mean_growth, pair_growth, rate_growth
from canary.stats.means import Effect
from tests.support.values import cost_metric, promote_margin, rollback_margin

NEED = math.log(20)
CONTRAST = Contrast(name="x", rule=Rule.BAD, age_us=1_000_000, center=0.01, effects=(0.015, 0.03, 0.1))


def test_growth_is_the_mean_and_spread_of_a_requests_factors() -> None:
    growth = rate_growth(CONTRAST, 0.25, candidate=0.05, stable=0.01, shares=3)
    chances = np.array([0.25 * 0.05, 0.25 * 0.95, 0.75 * 0.01, 0.75 * 0.99])
    factors = log_factors(CONTRAST, 0.25)
    assert growth.mean == pytest.approx((factors @ chances).tolist())
    assert growth.deviation == pytest.approx(np.sqrt(factors**2 @ chances - (factors @ chances) ** 2).tolist())
    assert growth.log_prior == pytest.approx(-math.log(9))


def test_the_exact_law_of_a_brownian_motion() -> None:
    """Drift 1, deviation 2, height 3, by 5 steps: P = Phi(2 / (2 sqrt 5)) + exp(1.5) Phi(-8 / (2 sqrt 5))."""
    growth = Growth(mean=(1.0,), deviation=(2.0,), log_prior=0.0)
    phi = lambda x: 0.5 * math.erfc(-x / math.sqrt(2))  # noqa: E731
    expected = phi(2 / (2 * math.sqrt(5))) + math.exp(1.5) * phi(-8 / (2 * math.sqrt(5)))
    assert growth.chance(3.0, 5.0) == pytest.approx(expected, abs=1e-12)
    n = growth.requests(3.0, chance=expected)
    assert n == pytest.approx(5.0, rel=1e-9)


def test_without_growth_there_is_no_forecast() -> None:
    """An equal candidate: every bet shrinks, and its chance to reach 20 by luck stays under one half for ever."""
    growth = rate_growth(CONTRAST, 0.25, candidate=0.01, stable=0.01)
    assert growth.requests(NEED) is None
    assert growth.requests(NEED, chance=0.9) is None
    assert growth.chance(NEED, 1e9) <= 0.05


def test_what_is_reached_already_needs_nothing() -> None:
    growth = Growth(mean=(-1.0,), deviation=(1.0,), log_prior=0.0)
    assert growth.requests(0.0) == 0.0
    assert growth.chance(0.0, 0.0) == 1.0
    assert Growth(mean=(0.5,), deviation=(0.0,), log_prior=0.0).requests(2.0) == pytest.approx(4.0)


def test_larger_effects_and_weights_need_fewer_requests() -> None:
    def needed(**changes: Any) -> float:
        usual = {"candidate": 0.03, "stable": 0.01}
        found = rate_growth(CONTRAST, changes.pop("weight", 0.25), **{**usual, **changes}).requests(NEED)
        assert found is not None
        return found

    assert needed(candidate=0.1) < needed() < needed(candidate=0.02)
    assert needed(weight=0.5) < needed() < needed(weight=0.05)


@pytest.mark.parametrize(("weight", "candidate"), [(0.05, 0.1), (0.5, 0.03), (0.5, 0.1)])
def test_the_forecast_is_near_what_streams_need(weight: float, candidate: float) -> None:
    """Median and 90 % quantile of simulated streams, within a third."""
    growth = rate_growth(CONTRAST, weight, candidate=candidate, stable=0.01)
    median, late = growth.requests(NEED), growth.requests(NEED, chance=0.9)
    assert median is not None
    assert late is not None
    rng = np.random.default_rng(2)
    runs, steps = 200, 200
    each = max(1, round(4 * median / steps))
    chances = [weight * candidate, weight * (1 - candidate), (1 - weight) * 0.01, (1 - weight) * 0.99]
    counts = rng.multinomial(each, chances, size=(runs, steps)).cumsum(axis=1)
    log_e = mixed(np.full(3, -math.log(3)), np.einsum("rsc,kc->rsk", counts, log_factors(CONTRAST, weight)))
    first = np.where((log_e >= NEED).any(axis=1), (log_e >= NEED).argmax(axis=1) + 1, steps) * each
    assert median == pytest.approx(np.median(first), rel=0.34)
    assert late == pytest.approx(np.quantile(first, 0.9), rel=0.34)


def test_pairs_need_fewer_than_requests() -> None:
    pairs = Contrast(name="p", rule=Rule.BAD, age_us=1_000_000, pairs=True)
    found = pair_growth(pairs, both=0.005, worse=0.045, better=0.005).requests(NEED)
    single = rate_growth(CONTRAST, 0.05, candidate=0.05, stable=0.01).requests(NEED)
    assert found is not None
    assert single is not None
    assert found < single


def test_means_grow_by_their_profile() -> None:
    metric = cost_metric()
    rollback, promote = rollback_margin(metric), promote_margin(metric)
    dearer = mean_growth(metric, rollback, 0.5, Effect(times=1.2)).requests(NEED)
    much_dearer = mean_growth(metric, rollback, 0.5, Effect(times=2.0)).requests(NEED)
    equal = mean_growth(metric, promote, 0.5, Effect()).requests(NEED)
    assert dearer is not None
    assert much_dearer is not None
    assert equal is not None
    assert much_dearer < dearer
    assert mean_growth(metric, rollback, 0.5, Effect()).requests(NEED) is None
    assert mean_growth(metric, promote, 0.5, Effect(times=1.1)).requests(NEED) is None
