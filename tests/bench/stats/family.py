"""Goal 1: an equal candidate is rolled back by any of its metrics in 5 % of runs at most, however the traffic goes."""

import math
from dataclasses import replace

import numpy as np

from canary.rollout.verdicts import worst_breach
from canary.stats.sticky_weigh import weigh_sticky
from tests.bench.stats.crowds import Weights, scoring_of, visits
from tests.bench.stats.curves import N, Progress
from tests.bench.stats.draws import EQUAL, METRICS, Change, Schedule, draw
from tests.bench.stats.kept import Kept
from tests.bench.stats.rules import Case
from tests.bench.stats.settled import Stages, settled


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


def sticky_rolled_back(
    seed: int, *, users: int, weights: Weights, n: int, change: Change = EQUAL, each_a_coin: bool = False
) -> float:
    """Requests until the product's own evidence of users breaches a guardrail, asked at each of 50 looks.

    `each_a_coin` is wrong: requests counted as if each were somebody else's.
    """
    world = visits(seed, users=users, weights=weights, n=n, change=change)
    world = world.each_with_a_coin() if each_a_coin else world
    scoring, stages = scoring_of(seed), Stages(weights)
    for totals in settled(world, scoring, weights):
        tick = totals.as_of_us
        if worst_breach(weigh_sticky(totals, scoring, stages.segments(tick), stage=stages.present(tick))) is not None:
            return float(np.searchsorted(world.start_us, tick))
    return math.inf


def sticky_false_rollbacks(
    runs: int, *, users: int, weights: Weights, n: int, each_a_coin: bool = False, kept: Kept | None = None
) -> int:
    """In how many runs an equal candidate is rolled back where users stay; of `kept` runs those that are not made yet are."""
    kept = kept or Kept()
    progress = Progress(f"family, {users} sticky users, {shares(weights)}", runs - kept.runs, tell=n == N)

    def hit(seed: int) -> bool:
        return math.isfinite(sticky_rolled_back(seed, users=users, weights=weights, n=n, each_a_coin=each_a_coin))

    return kept.hits(runs, hit, step=progress.step)


def shares(weights: Weights) -> str:
    """Weights in words: `5-25-50%`."""
    return "-".join(f"{100 * weight:g}" for weight in weights) + "%"
