"""What the statistics promise, tried on simulated traffic through the real counters, with a look each second.

Seeds are fixed and never chosen. Bounds are the promises themselves, with three standard errors where one is met with equality.
"""

import math

import numpy as np
import pytest

from canary.stats.counts import SegmentTotals, Totals
from canary.stats.scoring import Scoring
from canary.stats.weigh import weigh
from tests.simulation.stats_worlds import (
    a_frozen,
    canary,
    ever_cleared,
    outage,
    pairs,
    promoted_after,
    ramp,
    shared_outages,
)
from tests.support.scorings import a_segment
from tests.support.streams import EPOCH_US, Bools, Stream

pytestmark = pytest.mark.timeout(600)


def share_stopped(stops: list[object]) -> float:
    return sum(stop is not None for stop in stops) / len(stops)


def test_an_identical_canary_is_rolled_back_in_5_percent_of_runs_at_most() -> None:
    assert share_stopped([canary(seed) for seed in range(300)]) <= 0.05


def test_errors_of_10_percent_are_stopped_within_900_scored_requests() -> None:
    stops = [canary(seed, n=6_000, per_s=10.0, candidate_errors=0.1) for seed in range(60)]
    assert all(stop is not None for stop in stops)
    assert np.median([stop.scored for stop in stops if stop]) <= 900


def test_shared_outages_that_the_candidate_fails_faster_are_no_evidence_against_it() -> None:
    assert share_stopped([shared_outages(seed) for seed in range(60)]) <= 0.05


def at_completion(stream: Stream, _: int, tick_us: int) -> tuple[Bools, Bools, Bools]:
    """Wrong: an answer counts when it has ended. Seen, bad."""
    answers = stream.answers
    return stream.start_us + answers.age_us <= tick_us, answers.failed, answers.failed


def at_an_age(stream: Stream, age_us: int, tick_us: int) -> tuple[Bools, Bools, Bools]:
    """Wrong: both arms count as bad what has ended badly by the age."""
    seen = (stream.start_us // 1_000_000 + 1) * 1_000_000 + age_us <= tick_us
    bad = stream.answers.failed & (stream.answers.age_us <= age_us)
    return seen, bad, bad


def bracketed(stream: Stream, age_us: int, tick_us: int) -> tuple[Bools, Bools, Bools]:
    """Right, and counted by the same few lines as the wrong ones."""
    seen, bad, _ = at_an_age(stream, age_us, tick_us)
    return seen, bad, stream.answers.failed | (stream.answers.age_us > age_us)


def is_stopped(seed: int, scorer) -> bool:  # type: ignore[no-untyped-def]
    """Whether the early errors' metric is ever breached when another scorer fills its four counts."""
    rng = np.random.default_rng(seed)
    scoring: Scoring = a_frozen(rng)
    stream = outage(rng, 8_000)
    metric = next(found for found in scoring.metrics if found.name == "error_fast")
    contrast = scoring.contrasts[metric.canary[0]]
    candidate = stream.candidate
    for tick_us in range(EPOCH_US, int(stream.start_us[-1]) + 12_000_000, 1_000_000):
        seen, bad_candidate, bad_stable = scorer(stream, contrast.age_us, tick_us)
        arms = [(candidate, bad_candidate), (~candidate, bad_stable)]
        four = [int((seen & arm & (bad if one else ~bad)).sum()) for arm, bad in arms for one in (True, False)]
        counts = [0] * (4 * len(scoring.contrasts))
        counts[4 * metric.canary[0] : 4 * metric.canary[0] + 4] = four
        evidence = weigh(Totals(segments={7: SegmentTotals(counts=tuple(counts))}), scoring, [a_segment()], stage=0)
        if any(row.breached for row in evidence.metrics):
            return True
    return False


def test_scoring_at_completion_or_without_brackets_fails_in_the_same_outages() -> None:
    seeds = range(12)
    assert sum(is_stopped(seed, bracketed) for seed in seeds) <= 1
    assert sum(is_stopped(seed, at_completion) for seed in seeds) >= 10
    assert sum(is_stopped(seed, at_an_age) for seed in seeds) >= 10


def test_an_identical_shadow_is_stopped_in_5_percent_of_runs_at_most() -> None:
    assert share_stopped([pairs(seed) for seed in range(60)]) <= 0.05


def test_clients_that_leave_slow_answers_do_not_make_an_identical_shadow_look_slow() -> None:
    assert share_stopped([pairs(seed, patience_s=0.2) for seed in range(40)]) <= 0.05
    assert share_stopped([pairs(seed, patience_s=0.2, leaving_is_known=False) for seed in range(10)]) >= 0.9


def test_a_bad_shadow_is_stopped_within_200_pairs() -> None:
    stops = [pairs(seed, n=1_500, errors=0.08, slower=2.0) for seed in range(40)]
    assert np.median([stop.scored if stop else math.inf for stop in stops]) <= 200


@pytest.mark.parametrize(
    ("metric", "kind"), [("error_timeout", "errors"), ("p50", "latency"), ("p95", "latency"), ("p99", "latency")]
)
def test_a_candidate_on_the_margin_is_promoted_in_5_percent_of_runs_at_most(metric: str, kind: str) -> None:
    runs = 60
    opened = sum(ever_cleared(seed, metric, n=20_000, weight_bp=2_500, on_the_margin=kind) for seed in range(runs))
    assert opened / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_an_equal_candidate_is_promoted_within_25_000_requests() -> None:
    needed = [promoted_after(seed) for seed in range(11)]
    assert np.median([found or math.inf for found in needed]) <= 25_000


def test_an_identical_candidate_survives_a_ramp_under_growing_errors_unless_its_counts_are_pooled() -> None:
    assert share_stopped([ramp(seed, pooled=False) for seed in range(20)]) <= 0.05
    assert share_stopped([ramp(seed, pooled=True) for seed in range(6)]) >= 0.9
