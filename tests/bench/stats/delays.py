"""Goal 2: how soon errors are seen, in requests against what is possible at best, and in seconds through the whole product."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from canary.rollout.decide import decide
from canary.stats.bets import mixed
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

    def log_e(seed: int, counts: Ints) -> Floats:
        rates = engine_of(seed).strict
        column = rates.index[NAME]
        return mixed(rates.log_prior[column], counts @ rates.factors(weight_bp)[column].T)

    return _reached(log_e, rate, weight_bp, runs, events=events, horizon=horizon)


def informed_delays(rate: float, weight_bp: int, runs: int, *, events: int, horizon: int = HORIZON) -> Floats:
    """The same for one who knows both rates beforehand: their likelihood ratio to both arms at one rate, the nearest null."""
    weight = weight_bp / 1e4
    both = weight * rate + (1 - weight) * ERRORS
    worth = np.log([rate / both, (1 - rate) / (1 - both), ERRORS / both, (1 - ERRORS) / (1 - both)])
    return _reached(lambda _, counts: np.asarray(counts @ worth), rate, weight_bp, runs, events=events, horizon=horizon)


def _reached(
    log_e: Callable[[int, Ints], Floats], rate: float, weight_bp: int, runs: int, *, events: int, horizon: int
) -> Floats:
    """Requests until log e, of cumulative counts [looks, 4], is high enough and the candidate has failed so often."""
    after = _looks(horizon)
    weight, steps = weight_bp / 1e4, np.diff(after, prepend=0)
    chances = [weight * rate, weight * (1 - rate), (1 - weight) * ERRORS, (1 - weight) * (1 - ERRORS)]
    found = []
    for seed in range(runs):
        counts = np.random.default_rng([21, seed, weight_bp]).multinomial(steps, chances).cumsum(axis=0)
        reached = (log_e(seed, counts) >= -math.log(ALPHA)) & (counts[:, 0] >= events)
        found.append(float(after[reached.argmax()]) if reached.any() else math.inf)
    return np.array(found)


EACH: Final = 3_000
"""Looks at every request so far: ten requests between two looks would be a fortieth of the shortest bound that is compared."""


@lru_cache(maxsize=4)
def _looks(horizon: int) -> Ints:
    usual = looks_of(horizon)
    return np.concatenate([np.arange(1, min(EACH, horizon) + 1), usual[usual > EACH]])


@lru_cache(maxsize=4)
def scorings(slow: bool, errors: float) -> tuple[Scoring, ...]:
    """Of several profiles. Slow: answers take seconds, as a language model's do, and the timeout is 60 s; else .1 and 10 s."""
    if slow:
        return tuple(engine_of(k).shipped.scoring for k in range(4))
    drawn = (lognormal_answers(np.random.default_rng([22, k]), PROFILE, error_rate=errors) for k in range(4))
    return tuple(freeze(profile_of(answers), a_spec(shadow_lane_weight=0.0)) for answers in drawn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service in which the candidate's errors rise, and how often one looks."""

    stable: float
    candidate: float
    weight_bp: int
    per_s: float
    for_s: float
    slow: bool = False
    each_s: int = 1


def seconds(seed: int, service: Service) -> float:
    """Seconds until the whole product decides to roll back: counters, settled ages, weighing, deciding at every look.

    Failures of the candidate that are more than stable's come at once; slow services' own come when an answer would have.
    """
    rng = np.random.default_rng([23, seed])
    n = math.ceil(service.for_s * service.per_s)
    mine = rng.random(n) < service.weight_bp / 1e4
    answers = _slow_answers(rng, n) if service.slow else lognormal_answers(rng, n)
    usual = rng.random(n) < service.stable
    broken = mine & (rng.random(n) < (service.candidate - service.stable) / (1 - service.stable))
    latency = np.where(broken, 20_000, answers.latency_us)
    stream = Stream(
        start_us=arrivals(rng, n, per_s=service.per_s),
        candidate=mine,
        answers=Answers.of(age_us=latency + 1_000, latency_us=latency, failed=usual | broken),
    )
    scoring = scorings(service.slow, service.stable)[seed % 4]
    segments = [a_segment(weight_bp=service.weight_bp, stage=0)]
    rows, until_us = list(stream_rows(scoring, stream)), int(stream.start_us[-1])
    for after_s, evidence in looks(scoring, rows, segments, until_us=until_us, each_us=service.each_s * 1_000_000):
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
    said = f"outage, {weight_bp / 100:g} %, {per_s:g}/s{', slow service' if slow else ''}"
    for_s = 300 / min(per_s, 10)
    service = Service(stable=ERRORS, candidate=1.0, weight_bp=weight_bp, per_s=per_s, for_s=for_s, slow=slow)
    return _all(said, service, runs, tell)


def _all(said: str, service: Service, runs: int, tell: bool) -> Floats:
    progress, found = Progress(said, runs, tell=tell), []
    for seed in range(runs):
        found.append(seconds(seed, service))
        progress.step()
    return np.array(found)


TENTH: Final = Service(stable=0.005, candidate=0.1, weight_bp=500, per_s=10, for_s=600)
RISE: Final = Service(stable=0.02, candidate=0.045, weight_bp=500, per_s=20, for_s=2_400, each_s=10)
"""Errors from 2 to 4.5 %, within a second of the start, at 60 candidate requests a minute; a look each 10 s."""


def regression_seconds(service: Service, runs: int, *, tell: bool = False) -> Floats:
    """Seconds until a rise of errors rolls back."""
    return _all(f"errors {service.stable:.1%} -> {service.candidate:.1%}", service, runs, tell)
