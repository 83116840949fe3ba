"""Worlds of users that stay on their arm: a few send most of the requests, a few of them fail much more than the others."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from canary.stats.bets import rare_log_e
from canary.stats.clustered import ClusterTest, Outcomes, evidence_of
from canary.stats.clusters import CLUSTERS
from canary.stats.first_event import RATIOS, FirstEvent, FirstEvents, evidence_of_users, lower_rate
from canary.stats.moments import Moments, moments_of, no_moments
from canary.terms import Arm

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

SEGMENT = 7
BLOCK = 10_000
"""Requests in one block of time."""

LOOK = 2_000
"""Requests between two looks."""

NEED = math.log(20)
ERROR_RATE = 0.005
ARMS = (Arm.CANDIDATE, Arm.STABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """One entry a request, in their order."""

    user: Ints
    candidate: Bools
    failed: Bools
    cost: Ints


def a_world(seed: int, *, users: int, weight: float, n: int, errors: float = 1.0, costs: float = 1.0) -> Requests:
    """Requests of users whose arm is a coin each; `errors` and `costs` multiply those of the candidate's users.

    Activity and cost of users are lognormal; 2 % of the users fail in 20 % of their requests, the others in .1 %.
    """
    rng = np.random.default_rng([seed, users, round(1e4 * weight)])
    activity = np.exp(rng.normal(0.0, 1.2, users)).cumsum()
    user = np.searchsorted(activity, rng.random(n) * activity[-1])
    on_candidate = rng.random(users) < weight
    rate = np.where(rng.random(users) < 0.02, 0.2, 0.001) * np.where(on_candidate, errors, 1.0)
    price = 1_000 * np.exp(rng.normal(0.0, 0.8, users)) * np.where(on_candidate, costs, 1.0)
    cost = (price[user] * rng.exponential(1.0, n)).astype(np.int64)
    return Requests(user=user, candidate=on_candidate[user], failed=rng.random(n) < rate[user], cost=cost)


def looks(n: int) -> Iterator[slice]:
    """What is new at each look."""
    return (slice(at, min(at + LOOK, n)) for at in range(0, n, LOOK))


def by_first_events(world: Requests, weight: float, *, rho: float = 1.0, delta: float = 0.0) -> int | None:
    """After how many requests first events call for a rollback; None: never."""
    events = FirstEvents()
    for new in looks(len(world.user)):
        for index in (np.flatnonzero(world.failed[new]) + new.start).tolist():
            arm = Arm.CANDIDATE if world.candidate[index] else Arm.STABLE
            events.add(int(world.user[index]).to_bytes(8, "big"), FirstEvent(index, SEGMENT, arm))
        said = evidence_of_users(
            events.counts(),
            {SEGMENT: round(1e4 * weight)},
            rho=rho,
            delta=delta,
            lowest_stable_rate=lower_rate(25, 5_000),
        )
        if said.log_e >= NEED:
            return new.stop
    return None


def by_requests(world: Requests, weight: float) -> int | None:
    """Wrong: every failure counts, as if each request had a coin of its own."""
    for new in looks(len(world.user)):
        failed = world.failed[: new.stop]
        candidate = int((failed & world.candidate[: new.stop]).sum())
        counts = ((weight, candidate, int(failed.sum()) - candidate),)
        if rare_log_e(counts, rho=1.0, ratios=RATIOS) >= NEED:
            return new.stop
    return None


def by_clusters(world: Requests, y: Ints, test: ClusterTest, *, cluster: Ints | None = None, need: float = NEED) -> int | None:
    """After how many requests the clusters' evidence crosses; `cluster`: of each request, of its user if not given."""
    place = world.user * 2_654_435_761 % 2**32 % CLUSTERS if cluster is None else cluster
    settled, cells = no_moments(1), np.zeros((1, len(ARMS), CLUSTERS, 2), dtype=np.int64)
    for new in looks(len(world.user)):
        if new.start % BLOCK == 0:
            settled, cells = settled + moments_of(cells), np.zeros_like(cells)
        for arm in range(len(ARMS)):
            there = new.start + np.flatnonzero(world.candidate[new] == (arm == 0))
            cells[0, arm, :, 0] += np.bincount(place[there], minlength=CLUSTERS)
            cells[0, arm, :, 1] += np.bincount(place[there], weights=y[there], minlength=CLUSTERS).astype(np.int64)
        if evidence_of(Moments.of(settled + moments_of(cells)), [test])[0].log_e >= need:
            return new.stop
    return None


ERRORS = ClusterTest(effect=ERROR_RATE)
COSTS = ClusterTest(effect=100.0, outcomes=Outcomes.MEAN)


def by_errors(world: Requests) -> int | None:
    """The failures, clustered."""
    return by_clusters(world, world.failed.astype(np.int64), ERRORS)


def by_costs(world: Requests) -> int | None:
    """The costs, clustered."""
    return by_clusters(world, world.cost, COSTS)


def by_costs_of_requests(world: Requests) -> int | None:
    """Wrong: clusters of requests in place of users."""
    return by_clusters(world, world.cost, COSTS, cluster=np.arange(len(world.user)) * 2_654_435_761 % 2**32 % CLUSTERS)
