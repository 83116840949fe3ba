"""Goal 2: how soon errors are seen, in requests against what is possible at best, and in seconds through the whole product."""

import math
from functools import lru_cache
from typing import Final

import numpy as np

from canary.rollout.decide import decide
from canary.stats.bets import mixed
from canary.stats.family import factors_of, family_of
from canary.stats.freezing import freeze
from canary.stats.frozen import Scoring
from canary.terms import Action
from tests.bench.stats.curves import Progress
from tests.bench.stats.draws import ERRORS, Floats, Ints, latencies
from tests.bench.stats.ours import ALPHA, MIN_EVENTS, engine_of, looks_of
from tests.simulation.stats_worlds import CANARY, looks
from tests.support.rollouts import at
from tests.support.scorings import a_segment, a_spec
from tests.support.streams import Answers, Stream, arrivals, lognormal_answers, profile_of, stream_rows

HORIZON: Final = 600_000
PROFILE: Final = 5_000
NAME: Final = "error_timeout.rollback"


def error_delays(rate: float, weight_bp: int, runs: int, *, events: int = MIN_EVENTS, horizon: int = HORIZON) -> Floats:
    """Requests until errors alone, with nothing tolerated, roll back; stable fails in .5 %. Only counts are drawn."""
    after = _looks(horizon)
    weight, steps = weight_bp / 1e4, np.diff(after, prepend=0)
    chances = [weight * rate, weight * (1 - rate), (1 - weight) * ERRORS, (1 - weight) * (1 - ERRORS)]
    found = []
    for seed in range(runs):
        counts = np.random.default_rng([21, seed, weight_bp]).multinomial(steps, chances).cumsum(axis=0)
        rates = engine_of(seed).strict
        column = rates.index[NAME]
        parts = counts @ factors_of(rates.scoring, weight_bp)[column].T
        reached = (mixed(family_of(rates.scoring).log_prior[column], parts) >= -math.log(ALPHA)) & (counts[:, 0] >= events)
        found.append(float(after[reached.argmax()]) if reached.any() else math.inf)
    return np.array(found)


@lru_cache(maxsize=4)
def _looks(horizon: int) -> Ints:
    return looks_of(horizon)


def fast_service() -> tuple[Scoring, ...]:
    """Answers within a second, a timeout of 10 s: scorings of several profiles."""
    return tuple(
        freeze(profile_of(lognormal_answers(np.random.default_rng([22, k]), PROFILE)), a_spec(shadow_lane_weight=0.0))
        for k in range(4)
    )


def slow_service() -> tuple[Scoring, ...]:
    """Answers that take seconds, as a language model's do, and a timeout of 60 s."""
    return tuple(engine_of(k).shipped.scoring for k in range(4))


@lru_cache(maxsize=2)
def scorings(slow: bool) -> tuple[Scoring, ...]:
    """Frozen once."""
    return slow_service() if slow else fast_service()


def seconds(
    seed: int, *, stable: float, candidate: float, weight_bp: int, per_s: float, for_s: float, slow: bool = False
) -> float:
    """Seconds until the whole product decides to roll back: counters, settled ages, weighing, deciding, a look each second.

    Failures of the candidate that are more than stable's come at once; slow services' own come when an answer would have.
    """
    rng = np.random.default_rng([23, seed])
    n = math.ceil(for_s * per_s)
    mine = rng.random(n) < weight_bp / 1e4
    answers = _slow_answers(rng, n) if slow else lognormal_answers(rng, n)
    usual = rng.random(n) < stable
    broken = mine & (rng.random(n) < (candidate - stable) / (1 - stable))
    latency = np.where(broken, 20_000, answers.latency_us)
    stream = Stream(
        start_us=arrivals(rng, n, per_s=per_s),
        candidate=mine,
        answers=Answers.of(age_us=latency + 1_000, latency_us=latency, failed=usual | broken),
    )
    scoring = scorings(slow)[seed % 4]
    segments = [a_segment(weight_bp=weight_bp, stage=0)]
    rows = list(stream_rows(scoring, stream))
    for after_s, evidence in looks(scoring, rows, segments, until_us=int(stream.start_us[-1])):
        if decide(CANARY, evidence, at(after_s), profile_n=PROFILE).action is Action.ROLL_BACK:
            return after_s
    return math.inf


def _slow_answers(rng: np.random.Generator, n: int) -> Answers:
    latency = (np.minimum(latencies(rng, n), 59) * 1e6).astype(np.int64)
    return Answers.of(age_us=latency + 1_000, latency_us=latency, failed=np.zeros(n, dtype=bool))


OUTAGES: Final = {(500, 100): 4, (500, 10): 16, (500, 1): 65, (5_000, 100): 3, (5_000, 10): 7, (5_000, 1): 30}
"""Weight and requests a second, and the median seconds in which an outage is to be seen."""


def outage_seconds(weight_bp: int, per_s: float, runs: int, *, slow: bool = False, tell: bool = False) -> Floats:
    """Seconds until an outage of the candidate rolls back."""
    progress = Progress(f"outage, {weight_bp / 100:g} %, {per_s:g}/s{', slow service' if slow else ''}", runs, tell=tell)
    found = []
    for seed in range(runs):
        found.append(
            seconds(seed, stable=ERRORS, candidate=1.0, weight_bp=weight_bp, per_s=per_s, for_s=300 / min(per_s, 10), slow=slow)
        )
        progress.step()
    return np.array(found)


def regression_seconds(runs: int, *, stable: float, candidate: float, weight_bp: int, per_s: float, for_s: float) -> Floats:
    """Seconds until a rise of errors, within a second of the start, rolls back."""
    return np.array(
        [
            seconds(seed, stable=stable, candidate=candidate, weight_bp=weight_bp, per_s=per_s, for_s=for_s)
            for seed in range(runs)
        ]
    )
