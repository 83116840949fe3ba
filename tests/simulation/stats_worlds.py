"""Worlds in which the statistics are tried: streams of requests, decided each second through the real counters.

Run as a program for the full numbers: `python -m tests.simulation.stats_worlds [world ...]`.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from canary.rollout.decide import decide
from canary.stats.counts import CounterRow, Ledger
from canary.stats.evidence import Evidence, MetricEvidence
from canary.stats.scoring import Scoring, freeze
from canary.stats.weigh import SegmentWeight, weigh
from canary.terms import Action, Phase
from tests.support.rollouts import a_state, at
from tests.support.scorings import a_horizon, a_segment, a_spec
from tests.support.streams import (
    EPOCH_US,
    Answers,
    Stream,
    arrivals,
    lognormal_answers,
    pair_rows,
    profile_of,
    stream_rows,
)

SECOND_US = 1_000_000
PROFILE = 2_000
CANARY: Final = a_state(Phase.CANARYING)
"""Any state with live traffic: what the evidence is of, the segments say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A rollback: by which metric, after how many scored requests or pairs, how many seconds in."""

    metric: str
    scored: int
    after_s: float


def a_frozen(rng: np.random.Generator, **changes: object) -> Scoring:
    """A scoring frozen from a profile of its own."""
    return freeze(profile_of(lognormal_answers(rng, PROFILE)), a_spec(**changes))


def looks(
    scoring: Scoring,
    rows: Sequence[CounterRow],
    segments: Sequence[SegmentWeight],
    *,
    until_us: int,
    each_us: int = SECOND_US,
) -> Iterator[tuple[float, Evidence]]:
    """The evidence at every tick until all is settled. Rows may come before their time: the tick says what counts."""
    ledger = Ledger()
    ledger.add(rows)
    last_us = until_us + max(contrast.age_us for contrast in scoring.contrasts) + 2 * SECOND_US
    for tick_us in range(EPOCH_US, last_us, each_us):
        totals = ledger.settled([a_horizon(tick_us)], scoring)
        yield (tick_us - EPOCH_US) / 1e6, weigh(totals, scoring, segments, stage=segments[-1].stage)


def rollback(story: Iterator[tuple[float, Evidence]]) -> Stopped | None:
    """The first look at which the rollout is decided to be rolled back."""
    for after_s, evidence in story:
        if decide(CANARY, evidence, at(after_s), profile_n=PROFILE).action is Action.ROLL_BACK:
            breached = [metric for metric in evidence.metrics if metric.breached]
            scored = max(metric.n_candidate + metric.n_stable + metric.pairs for metric in breached)
            return Stopped(metric=breached[0].metric, scored=scored, after_s=after_s)
    return None


def canary(
    seed: int, *, n: int = 20_000, per_s: float = 100.0, weight_bp: int = 500, candidate_errors: float = 0.005
) -> Stopped | None:
    """A canary at one weight; stable fails in .5 % of requests."""
    rng = np.random.default_rng(seed)
    scoring = a_frozen(rng)
    candidate = rng.random(n) < weight_bp / 1e4
    answers = lognormal_answers(rng, n, error_rate=np.where(candidate, candidate_errors, 0.005))
    stream = Stream(start_us=arrivals(rng, n, per_s=per_s), candidate=candidate, answers=answers)
    segments = [a_segment(weight_bp=weight_bp, stage=1)]
    return rollback(looks(scoring, list(stream_rows(scoring, stream)), segments, until_us=int(stream.start_us[-1])))


def outage(rng: np.random.Generator, n: int, *, per_s: float = 100.0, share: float = 1.0) -> Stream:
    """Shared outages, 15 s of each minute: the candidate fails at once, stable at its timeout of 10 s, equally often."""
    start_us, candidate = arrivals(rng, n, per_s=per_s), rng.random(n) < 0.05
    fine, after_s = lognormal_answers(rng, n), (start_us - EPOCH_US) / 1e6
    hit = (after_s > 20) & (after_s % 60 < 15) & (rng.random(n) < share)
    age_us = np.where(hit, np.where(candidate, 10_000, 10_100_000), fine.age_us)
    latency_us = np.where(hit, age_us - 1_000, fine.latency_us)
    return Stream(
        start_us=start_us,
        candidate=candidate,
        answers=Answers.of(age_us=age_us, latency_us=latency_us, failed=fine.failed | hit),
    )


def shared_outages(seed: int, *, n: int = 12_000, share: float = 1.0) -> Stopped | None:
    """The canary of `outage`."""
    rng = np.random.default_rng(seed)
    scoring = a_frozen(rng)
    stream = outage(rng, n, share=share)
    rows = list(stream_rows(scoring, stream))
    return rollback(looks(scoring, rows, [a_segment(stage=1)], until_us=int(stream.start_us[-1])))


def pairs(
    seed: int,
    *,
    n: int = 3_000,
    errors: float = 0.005,
    slower: float = 1.0,
    patience_s: float | None = None,
    leaving_is_known: bool = True,
) -> Stopped | None:
    """A shadow at 100 pairs a second; half of the noise of both latencies is shared. Clients may leave stable's answer.

    `leaving_is_known=False` takes the instant of leaving for stable's latency, which is wrong.
    """
    rng = np.random.default_rng(seed)
    scoring = a_frozen(rng)
    shared = rng.normal(size=n)

    def answers(error_rate: float, times: float) -> Answers:
        noise = np.sqrt(0.5) * (shared + rng.normal(size=n))
        latency = (0.1 * np.exp(0.7 * noise) * times * 1e6).astype(np.int64)
        return Answers.of(age_us=latency + 1_000, latency_us=latency, failed=rng.random(n) < error_rate)

    live, shadow = answers(0.005, 1.0), answers(errors, slower)
    if patience_s is not None:
        live = impatient(rng, live, patience_s)
        live = live if leaving_is_known else Answers.of(age_us=live.age_us, latency_us=live.latency_us, failed=live.failed)
    start_us = arrivals(rng, n, per_s=100.0)
    segments = [a_segment(stage=-1, weight_bp=0)]
    rows = list(pair_rows(scoring, start_us, live, shadow))
    return rollback(looks(scoring, rows, segments, until_us=int(start_us[-1])))


def impatient(rng: np.random.Generator, answers: Answers, patience_s: float) -> Answers:
    """The same answers, to clients that leave after an exponential time."""
    patience = (rng.exponential(patience_s, len(answers.age_us)) * 1e6).astype(np.int64)
    left = patience < answers.latency_us
    latency = np.where(left, patience, answers.latency_us)
    return Answers(age_us=latency + 1_000, latency_us=latency, failed=answers.failed & ~left, left=left)


RAMP_BP = (100, 500, 2_500, 5_000)


def ramp(seed: int, *, pooled: bool, each: int = 8_000) -> Stopped | None:
    """An identical candidate on a ramp while everybody's errors grow from 2 to 16 %; `pooled`: as if it were one segment."""
    rng = np.random.default_rng(seed)
    scoring = a_frozen(rng, shadow_lane_weight=0.0)
    start_us = arrivals(rng, each * len(RAMP_BP), per_s=500.0)
    weights = np.repeat(np.array(RAMP_BP) / 1e4, each)
    candidate = rng.random(len(start_us)) < weights
    answers = lognormal_answers(rng, len(start_us), error_rate=np.linspace(0.02, 0.16, len(start_us)))
    stream = Stream(start_us=start_us, candidate=candidate, answers=answers)
    if pooled:
        share_bp = round(1e4 * float(candidate.mean()))
        rows = list(stream_rows(scoring, stream))
        return rollback(looks(scoring, rows, [a_segment(stage=3, weight_bp=share_bp)], until_us=int(start_us[-1])))
    rows, segments = [], []
    for stage, weight_bp in enumerate(RAMP_BP):
        part = slice(stage * each, (stage + 1) * each)
        rows += stream_rows(scoring, stream.part(part), segment=10 + stage)
        segments.append(a_segment(id=10 + stage, stage=stage, weight_bp=weight_bp))
    return rollback(looks(scoring, rows, segments, until_us=int(start_us[-1])))


def cleared(metrics: Sequence[MetricEvidence], name: str) -> bool:
    """Whether a metric's gate stands open."""
    return next(metric for metric in metrics if metric.metric == name).cleared


def ever_cleared(seed: int, name: str, *, n: int, weight_bp: int, on_the_margin: str) -> bool:
    """Whether a gate opens at any look to a candidate that lies exactly on its final margin."""
    rng = np.random.default_rng(seed)
    scoring = a_frozen(rng, shadow_lane_weight=0.0)
    candidate = rng.random(n) < weight_bp / 1e4
    errors = np.where(candidate, 1.5 * 0.005 + 0.001, 0.005) if on_the_margin == "errors" else 0.005
    gate = next(metric for metric in scoring.metrics if metric.name == name)
    contrast = scoring.contrasts[gate.promote[-1]]
    slower = contrast.candidate_us / contrast.stable_us if contrast.stable_us else 1.0
    answers = lognormal_answers(rng, n, error_rate=errors, slower=np.where(candidate, slower, 1.0))
    stream = Stream(start_us=arrivals(rng, n, per_s=500.0), candidate=candidate, answers=answers)
    rows = list(stream_rows(scoring, stream))
    story = looks(
        scoring, rows, [a_segment(stage=3, weight_bp=weight_bp)], until_us=int(stream.start_us[-1]), each_us=2 * SECOND_US
    )
    return any(cleared(evidence.metrics, name) for _, evidence in story)


def promoted_after(seed: int, *, n: int = 60_000, weight_bp: int = 5_000, errors: float = 0.005) -> int | None:
    """Requests until every gate of the last stage stands open to an equal candidate."""
    rng = np.random.default_rng(seed)
    scoring = a_frozen(rng)
    candidate = rng.random(n) < weight_bp / 1e4
    answers = lognormal_answers(rng, n, error_rate=errors)
    stream = Stream(start_us=arrivals(rng, n, per_s=300.0), candidate=candidate, answers=answers)
    rows = list(stream_rows(scoring, stream))
    for _, evidence in looks(scoring, rows, [a_segment(stage=3, weight_bp=weight_bp)], until_us=int(stream.start_us[-1])):
        gates = [metric for metric in evidence.metrics if metric.need_promote is not None and metric.metric != "shadow_error"]
        if all(metric.cleared for metric in gates):
            return max(metric.n_candidate + metric.n_stable for metric in gates)
    return None


def _report(name: str, stops: list[Stopped | None]) -> str:
    stopped = [stop for stop in stops if stop is not None]
    scored = [stop.scored if stop else np.inf for stop in stops]
    return f"{name}: {len(stopped)} of {len(stops)} rolled back, median after {np.median(scored):,.0f} scored"


FULL: dict[str, Callable[[], str]] = {
    "identical": lambda: _report("identical, 5 %, 20,000 requests", [canary(seed) for seed in range(2_000)]),
    "broken": lambda: _report(
        "errors .5 -> 10 %, 5 %, 10/s", [canary(s, n=6_000, per_s=10, candidate_errors=0.1) for s in range(400)]
    ),
    "outages": lambda: _report("shared outages", [shared_outages(seed) for seed in range(1_000)]),
    "pairs": lambda: _report("identical pairs", [pairs(seed) for seed in range(1_000)]),
    "impatient": lambda: _report("identical pairs, clients that leave", [pairs(s, patience_s=0.2) for s in range(1_000)]),
    "ramp": lambda: _report("identical on a ramp under growing errors", [ramp(seed, pooled=False) for seed in range(400)]),
    "pooled": lambda: _report("the same, counted as one segment", [ramp(seed, pooled=True) for seed in range(100)]),
    "bad_shadow": lambda: _report("pairs, errors 8 %, twice as slow", [pairs(s, errors=0.08, slower=2.0) for s in range(400)]),
    "margin": lambda: "\n".join(
        f"{name} on its margin at {weight_bp / 100:g} %: "
        f"{sum(ever_cleared(s, name, n=40_000, weight_bp=weight_bp, on_the_margin=kind) for s in range(400))} of 400 promoted"
        for weight_bp in (500, 5_000)
        for name, kind in (("error_timeout", "errors"), ("p50", "latency"), ("p95", "latency"), ("p99", "latency"))
    ),
    "promotion": lambda: f"equal candidate at 50 %: median {np.median([promoted_after(s) or 10**9 for s in range(60)]):,.0f}",
}


def main(wanted: Sequence[str]) -> None:
    """Prints one line for each world."""
    for name in wanted or FULL:
        print(FULL[name](), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
