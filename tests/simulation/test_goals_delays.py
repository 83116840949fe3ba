"""Goals 2 and the little-traffic promises, small: how soon errors are seen, and that little traffic is never guessed on."""

import numpy as np
import pytest

from tests.bench.stats.bounds import rate_bound
from tests.bench.stats.delays import (
    HORIZON,
    OUTAGES,
    RISE,
    TENTH,
    error_delays,
    informed_delays,
    outage_seconds,
    regression_seconds,
)
from tests.bench.stats.draws import EQUAL, ERRORS, Change
from tests.bench.stats.few import PER_MINUTE, outcomes
from tests.bench.stats.ours import MIN_EVENTS

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize(
    ("rate", "weight_bp", "times"), [(0.01, 5_000, 1.7), (0.02, 500, 1.7), (0.02, 5_000, 1.7), (0.1, 500, 2.2)]
)
def test_errors_are_seen_near_the_bound_of_any_test(rate: float, weight_bp: int, times: float) -> None:
    """1.5 and 1.8 times the bound are the goals; of 120 runs the mean is known to a tenth of itself."""
    delays = error_delays(rate, weight_bp, 120)
    assert np.minimum(delays, HORIZON).mean() <= times * rate_bound(rate, ERRORS, weight_bp / 1e4)


def test_what_the_floor_of_three_events_costs_is_the_floors_own() -> None:
    """With it the likelihood ratio of the true rates itself is above 1.74 times the bound, and ours is close to it."""
    bound = rate_bound(0.1, ERRORS, 0.05)
    alone = MIN_EVENTS / (0.05 * 0.1)
    assert alone == pytest.approx(1.74 * bound, rel=0.001)
    ours = np.minimum(error_delays(0.1, 500, 120), HORIZON).mean()
    best = informed_delays(0.1, 500, 120, events=MIN_EVENTS, horizon=20_000).mean()  # of the same requests
    assert 1.6 * bound <= best <= ours <= 1.12 * best
    assert informed_delays(0.1, 500, 120, events=0, horizon=20_000).mean() <= 1.55 * bound


@pytest.mark.parametrize(("weight_bp", "per_s"), list(OUTAGES))
def test_an_outage_is_rolled_back_within_seconds(weight_bp: int, per_s: int) -> None:
    """At one request a second and 5 % the third failure alone takes a minute: the median of 21 runs may be off by a third."""
    slack = 1.35 if per_s == 1 else 1.0
    assert np.median(outage_seconds(weight_bp, per_s, 21)) <= slack * OUTAGES[(weight_bp, per_s)]


def test_errors_of_10_percent_are_rolled_back_within_two_minutes_at_10_requests_a_second() -> None:
    found = regression_seconds(TENTH, 21)
    assert np.median(found) <= 120


def test_a_rise_from_2_to_4_and_a_half_percent_is_rolled_back_within_12_minutes() -> None:
    """60 candidate requests a minute at 5 %, failing within a second of their start."""
    found = regression_seconds(RISE, 15)
    assert np.median(found) <= 12 * 60


@pytest.mark.parametrize("per_minute", PER_MINUTE)
def test_little_traffic_is_decided_rightly_or_honestly_not_yet(per_minute: int) -> None:
    (equal,) = outcomes(per_minute, 500, EQUAL, 8, rivals=False)
    assert equal.wrong / equal.runs <= 0.05
    (broken,) = outcomes(per_minute, 500, Change(name="outage", metric="errors", errors=1.0), 4, rivals=False)
    assert broken.rolled_back == broken.runs
    if per_minute == 6:
        assert equal.undecided == equal.runs  # 430 candidate requests a day prove nothing about .5 % of errors
