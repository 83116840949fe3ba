"""Goal 1: an equal candidate is rolled back by any of its metrics in 5 % of runs at most, however the traffic goes."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from canary.stats.bets import mixed
from canary.stats.clustered import ClusterTest, Outcomes, cluster_evidence
from canary.stats.clusters import CLUSTERS, Clusters, Layer
from canary.stats.first_event import FirstEvent, FirstEvents, first_event_evidence, lower_rate
from canary.stats.sticky import rollback_log_e
from canary.terms import Arm
from tests.bench.stats.curves import Progress
from tests.bench.stats.draws import EQUAL, METRICS, Bools, Change, Floats, Ints, Schedule, draw, latencies
from tests.bench.stats.ours import ALPHA, SHARES, WHOLE
from tests.bench.stats.rules import Case

BLOCK: Final = 10_000
LOOK: Final = 2_000
SEGMENT: Final = 1
_HASH: Final = 2_654_435_761


def rolled_back(case: Case) -> float:
    """Requests until any metric of the family rolls back, with the product's tolerances and shares."""
    return min(case.shipped_breach(metric) for metric in METRICS)


def false_rollbacks(schedule: Schedule, runs: int, *, drift: bool = False, first_seed: int = 0, tell: bool = False) -> int:
    """In how many runs an equal candidate is rolled back."""
    progress = Progress(f"family, {schedule.name}{', drifting' if drift else ''}", runs, tell=tell)
    hits = 0
    for seed in range(first_seed, first_seed + runs):
        hits += math.isfinite(rolled_back(Case(run=draw(seed, schedule, EQUAL, drift=drift), seed=seed)))
        progress.step()
    return hits


def pooled_false_rollbacks(schedule: Schedule, runs: int, *, first_seed: int = 0) -> int:
    """Wrong: the counts of a drifting ramp taken for one segment, at the share that the candidate happened to get."""
    hits = 0
    for seed in range(first_seed, first_seed + runs):
        run = draw(seed, schedule, EQUAL, metrics=("errors",), drift=True)
        share_bp = round(1e4 * float(run.candidate.mean()))
        one = replace(run, schedule=Schedule(name="pooled", stages=((share_bp, run.n),)))
        hits += math.isfinite(Case(run=one, seed=seed).alone("errors"))
    return hits


@dataclass(frozen=True, slots=True, kw_only=True)
class Visits:
    """Requests of users who stay on their arm."""

    user: Ints
    candidate: Bools
    failed: Bools
    outcomes: dict[str, Ints]  # whole numbers a request: exceedances, cost, loss


def visits(seed: int, *, users: int, weight: float, n: int, change: Change = EQUAL) -> Visits:
    """Users differ: a few send most of the requests, 2 % fail often, and each has its own latency, price and taste."""
    rng = np.random.default_rng([seed, users, round(1e4 * weight), 5])
    activity = np.exp(rng.normal(0.0, 1.2, users)).cumsum()
    user = np.searchsorted(activity, rng.random(n) * activity[-1])
    on_candidate = rng.random(users) < weight
    rate = np.where(rng.random(users) < 0.02, 0.2, 0.001) * np.where(on_candidate, change.errors / EQUAL.errors, 1.0)
    failed = rng.random(n) < rate[user]
    seconds = latencies(rng, n) * np.exp(rng.normal(0.0, 0.3, users))[user] * np.where(on_candidate[user], change.slower, 1.0)
    price = 1_000 * np.exp(rng.normal(0.0, 0.8, users)) * np.where(on_candidate, change.dearer, 1.0)
    taste = rng.beta(4, 12, users)
    outcomes = {
        f"p{q:g}": (failed | (seconds > limit)).astype(np.int64) for q, limit in zip((50, 95, 99), THRESHOLDS, strict=True)
    }
    outcomes["errors"] = failed.astype(np.int64)
    outcomes["cost"] = (price[user] * rng.exponential(1.0, n)).astype(np.int64)
    outcomes["quality"] = np.where(failed, 1_000, rng.binomial(1_000, taste[user])).astype(np.int64)
    return Visits(user=user, candidate=on_candidate[user], failed=failed, outcomes=outcomes)


def _thresholds() -> Floats:
    rng = np.random.default_rng(11)
    return np.quantile(latencies(rng, 1 << 18) * np.exp(rng.normal(0.0, 0.3, 1 << 18)), (0.5, 0.95, 0.99))


THRESHOLDS: Final = _thresholds()

TESTS: Final = {
    "errors": ClusterTest(effect=0.005, rho=1.10, delta=0.0005),
    "p50": ClusterTest(effect=0.05),
    "p95": ClusterTest(effect=0.01),
    "p99": ClusterTest(effect=0.005),
    "cost": ClusterTest(effect=100.0, outcomes=Outcomes.MEAN, rho=1.02),
    "quality": ClusterTest(effect=20.0, outcomes=Outcomes.MEAN, delta=5.0),
}
"""The product's tolerances. Latency is scored at equal thresholds, which tolerates less than it does."""

STICKY_SHARES: Final = {"errors": SHARES["error_fast"] + SHARES["error"] + SHARES["error_timeout"]} | {
    name: SHARES[name] for name in ("latency", "cost", "quality")
}


def sticky_rolled_back(seed: int, *, users: int, weight: float, n: int, change: Change = EQUAL) -> float:
    """Requests until any metric rolls back, users being compared as the product compares them."""
    world = visits(seed, users=users, weight=weight, n=n, change=change)
    place = world.user * _HASH % 2**32 % CLUSTERS
    clusters = {name: Clusters() for name in TESTS}
    events = FirstEvents()
    needs = {name: -math.log(ALPHA * share / WHOLE) for name, share in STICKY_SHARES.items()}
    for new in (slice(at, min(at + LOOK, n)) for at in range(0, n, LOOK)):
        for name, cells in clusters.items():
            for arm, cluster, outcome, requests in _cells(world, world.outcomes[name], place, new):
                cells.add(Layer(SEGMENT, 0, new.start // BLOCK), arm, cluster, outcome=outcome, requests=requests)
        for index in (np.flatnonzero(world.failed[new]) + new.start).tolist():
            arm = Arm.CANDIDATE if world.candidate[index] else Arm.STABLE
            events.add(int(world.user[index]).to_bytes(8, "big"), FirstEvent(index, SEGMENT, arm))
        said = _said(clusters, events, round(1e4 * weight))
        if any(said[name] >= need for name, need in needs.items()):
            return float(new.stop)
    return math.inf


def _cells(world: Visits, outcome: Ints, place: Ints, new: slice) -> Iterator[tuple[Arm, int, int, int]]:
    for arm, mine in ((Arm.CANDIDATE, world.candidate[new]), (Arm.STABLE, ~world.candidate[new])):
        requests = np.bincount(place[new][mine], minlength=CLUSTERS)
        sums = np.bincount(place[new][mine], weights=outcome[new][mine], minlength=CLUSTERS)
        for cluster in np.flatnonzero(requests).tolist():
            yield arm, cluster, int(sums[cluster]), int(requests[cluster])


def _said(clusters: dict[str, Clusters], events: FirstEvents, weight_bp: int) -> dict[str, float]:
    found = {name: cluster_evidence(cells, TESTS[name]) for name, cells in clusters.items()}
    errors = TESTS["errors"]
    first = first_event_evidence(
        events,
        {SEGMENT: weight_bp},
        rho=errors.rho,
        delta=errors.delta,
        lowest_stable_rate=lower_rate(25, 5_000),
        users=0,
    )
    slow = np.array([found[name].log_e for name in ("p50", "p95", "p99")])
    return {
        "errors": rollback_log_e(first, found["errors"]),
        "latency": float(mixed(np.full(3, -math.log(3)), slow)),
        "cost": found["cost"].log_e,
        "quality": found["quality"].log_e,
    }


def sticky_false_rollbacks(runs: int, *, users: int, weight: float, n: int, first_seed: int = 0, tell: bool = False) -> int:
    """In how many runs an equal candidate is rolled back where users stay."""
    progress, hits = Progress(f"family, {users} sticky users, {weight:.0%}", runs, tell=tell), 0
    for seed in range(first_seed, first_seed + runs):
        hits += math.isfinite(sticky_rolled_back(seed, users=users, weight=weight, n=n))
        progress.step()
    return hits
