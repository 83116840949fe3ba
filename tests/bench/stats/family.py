"""Goal 1: an equal candidate is rolled back by any of its metrics in 5 % of runs at most, however the traffic goes."""

import math
from dataclasses import replace

import numpy as np

from canary.rollout.verdicts import worst_breach
from canary.stats.side import SegmentWeight
from canary.stats.sticky_weigh import weigh_sticky
from canary.terms import Scored
from tests.bench.stats.crowds import START_US, scoring_of, visits
from tests.bench.stats.curves import N, Progress
from tests.bench.stats.draws import EQUAL, METRICS, Change, Schedule, draw
from tests.bench.stats.kept import Kept
from tests.bench.stats.rules import Case
from tests.bench.stats.settled import MINUTE_US, SEGMENT, settled


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
    seed: int, *, users: int, weight: float, n: int, change: Change = EQUAL, each_a_coin: bool = False
) -> float:
    """Requests until the product's own evidence of users breaches a guardrail, asked at each of 50 looks.

    `each_a_coin` is wrong: requests counted as if each were somebody else's.
    """
    world = visits(seed, users=users, weight=weight, n=n, change=change)
    world = world.each_with_a_coin() if each_a_coin else world
    scoring, segments = scoring_of(seed), [a_segment_of(weight)]
    for totals in settled(world, scoring):
        if worst_breach(weigh_sticky(totals, scoring, segments, stage=0)) is not None:
            return float(np.searchsorted(world.start_us, totals.as_of_us))
    return math.inf


def a_segment_of(weight: float) -> SegmentWeight:
    """One weight from the first request on."""
    opened = START_US // MINUTE_US
    return SegmentWeight(id=SEGMENT, stage=0, weight_bp=round(1e4 * weight), scored=Scored.ALL, opened_minute=opened)


def sticky_false_rollbacks(
    runs: int, *, users: int, weight: float, n: int, each_a_coin: bool = False, kept: Kept | None = None
) -> int:
    """In how many runs an equal candidate is rolled back where users stay; of `kept` runs those that are not made yet are."""
    kept = kept or Kept()
    progress = Progress(f"family, {users} sticky users, {weight:.0%}", runs - kept.runs, tell=n == N)

    def hit(seed: int) -> bool:
        return math.isfinite(sticky_rolled_back(seed, users=users, weight=weight, n=n, each_a_coin=each_a_coin))

    return kept.hits(runs, hit, step=progress.step)
