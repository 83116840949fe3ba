"""What the statistics promise where users stay on their arm, and the same worlds for those who count requests.

Seeds are fixed and never chosen. At equality the methods are conservative, so the bound is the promise itself.
"""

import math
from functools import lru_cache

import numpy as np
import pytest

from canary.stats.clustered import ClusterTest, Outcomes
from tests.simulation.sticky_worlds import (
    Requests,
    a_world,
    by_clusters,
    by_costs,
    by_costs_of_requests,
    by_errors,
    by_first_events,
    by_requests,
)

pytestmark = pytest.mark.timeout(600)

RUNS = 120
USERS = [5_000, 800, 80]
WEIGHTS = [0.05, 0.5]
MEAN_RATE = 0.02 * 0.2 + 0.98 * 0.001


@lru_cache(maxsize=2)
def equal_worlds(users: int, weight: float) -> tuple[Requests, ...]:
    return tuple(a_world(seed, users=users, weight=weight, n=30_000) for seed in range(RUNS))


def share_of(found: list[int | None]) -> float:
    return sum(stop is not None for stop in found) / len(found)


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("users", USERS)
def test_first_events_roll_an_equal_candidate_back_in_5_percent_of_runs_at_most(users: int, weight: float) -> None:
    assert share_of([by_first_events(world, weight) for world in equal_worlds(users, weight)]) <= 0.05


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("users", USERS)
def test_clusters_roll_an_equal_candidate_back_in_5_percent_of_runs_at_most(users: int, weight: float) -> None:
    worlds = equal_worlds(users, weight)[:60]
    assert share_of([by_errors(world) for world in worlds]) <= 0.05
    assert share_of([by_costs(world) for world in worlds]) <= 0.05


def test_counting_the_requests_of_the_same_users_fails() -> None:
    """Guards against the tempting simplifications: a coin for each failure, and clusters of requests."""
    for users, weight in [(800, 0.5), (80, 0.5)]:
        worlds = equal_worlds(users, weight)
        assert share_of([by_requests(world, weight) for world in worlds]) >= 0.15
        assert share_of([by_costs_of_requests(world) for world in worlds[:60]]) >= 0.15


def test_a_few_tenants_are_called_too_few() -> None:
    """At 5 % four tenants have the candidate: clusters say nothing, whatever happens to these four."""
    worlds = [a_world(seed, users=80, weight=0.05, n=10_000, costs=50.0) for seed in range(20)]
    assert share_of([by_costs(world) for world in worlds]) == 0.0


@pytest.mark.parametrize(("users", "weight", "n"), [(5_000, 0.05, 120_000), (5_000, 0.5, 60_000), (800, 0.5, 60_000)])
def test_a_candidate_on_its_margin_is_promoted_in_5_percent_of_runs_at_most(users: int, weight: float, n: int) -> None:
    """Of 5,000 users 250 have the candidate at 5 %, and 5 of these fail often: by luck it can be none."""
    runs = range(40)
    errors = ClusterTest(effect=0.005, promote=True, rho=1.5, delta=0.001, stable_rate=MEAN_RATE)
    at_margin = (1.5 * MEAN_RATE + 0.001) / MEAN_RATE
    worlds = [a_world(seed, users=users, weight=weight, n=n, errors=at_margin) for seed in runs]
    assert share_of([by_clusters(world, world.failed.astype(np.int64), errors) for world in worlds]) <= 0.05
    costs = ClusterTest(effect=100.0, promote=True, rho=1.1, outcomes=Outcomes.MEAN)
    worlds = [a_world(seed, users=users, weight=weight, n=n // 2, costs=1.1) for seed in runs]
    assert share_of([by_clusters(world, world.cost, costs) for world in worlds]) <= 0.05


def test_regressions_of_sticky_users_are_found() -> None:
    def median(found: list[int | None]) -> float:
        return float(np.median([stop or math.inf for stop in found]))

    seeds = range(21)
    failing = [a_world(seed, users=5_000, weight=0.5, n=20_000, errors=4.0) for seed in seeds]
    assert median([by_first_events(world, 0.5) for world in failing]) <= 8_000
    outage = [a_world(seed, users=5_000, weight=0.05, n=20_000, errors=20.0) for seed in seeds]
    assert median([by_first_events(world, 0.05) for world in outage]) <= 10_000
    dear = [a_world(seed, users=5_000, weight=0.05, n=20_000, costs=4.0) for seed in seeds]
    assert median([by_costs(world) for world in dear]) <= 8_000
