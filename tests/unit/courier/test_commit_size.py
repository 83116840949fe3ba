"""How many bytes of counters a courier commits: bounded by what can be told apart, not by how much traffic there is."""

import heapq
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pytest

from canary.courier.cells import MINUTE_US, Cells
from canary.stats.profile import Profile
from canary.stats.scoring import Fact, Scoring, ScoringSpec, ends, freeze, pair_ends, pair_starts, starts
from canary.terms import Arm
from tests.support.streams import EPOCH_US, Answers, profile_of

COMMIT_US = 100_000
"""A busy journal commits about ten times a second."""

RATES = (100, 1_000, 5_000)


def answers(rng: np.random.Generator, n: int) -> Answers:
    """Of language models: half within .9 s, one of a hundred takes longer than 10 s, .5 % fail."""
    kind = rng.choice(3, size=n, p=[0.85, 0.12, 0.03])
    latency = np.array([0.75e6, 2.5e6, 7e6])[kind] * np.exp(rng.normal(0, 0.5, n))
    whole = latency.astype(np.int64)
    return Answers.of(age_us=whole + 300, latency_us=whole, failed=rng.random(n) < 0.005)


@lru_cache(maxsize=1)
def default_scoring() -> Scoring:
    """Every guard that a rollout has without asking, a shadow before it, deadlines as usual."""
    profile: Profile = profile_of(answers(np.random.default_rng(1), 5_000))
    return freeze(profile, ScoringSpec(answer_timeout_s=60.0, connect_timeout_s=3.0, stage_factors=(20.0, 10.0, 2.0, 1.0)))


def commits(per_s: int, *, seconds: float, weight: float, pairs: bool, begin_s: float = 0.0) -> Iterator[int]:
    """Bytes of the counters of each commit, once traffic has come up to its usual mix of ages."""
    rng, scoring, cells = np.random.default_rng(2), default_scoring(), Cells()
    n = round(per_s * seconds)
    at_us = EPOCH_US + round(begin_s * 1e6) + np.sort(rng.integers(0, round(seconds * 1e6), n))
    found, taken = answers(rng, n), rng.random(n) < weight
    shadows = answers(rng, n) if pairs else None
    waiting: list[tuple[int, int]] = []
    next_us = EPOCH_US + round(begin_s * 1e6) + COMMIT_US
    for index in range(n):
        start_us, arm = int(at_us[index]), Arm.CANDIDATE if taken[index] else Arm.STABLE
        while start_us >= next_us:
            while waiting and waiting[0][0] <= next_us:
                ended = heapq.heappop(waiting)[1]
                count_end(cells, int(at_us[ended]), Arm.CANDIDATE if taken[ended] else Arm.STABLE, found.fact(ended))
                if shadows is not None:
                    keys = pair_ends(scoring, int(at_us[ended]), found.fact(ended), shadows.fact(ended))
                    cells.count(("r", 7, int(at_us[ended]) // MINUTE_US), keys)
            yield sum(len(delta.cells) for delta in cells.take(next_us)[0])
            next_us += COMMIT_US
        keys = starts(scoring, arm, start_us) + (pair_starts(scoring, start_us) if pairs else ())
        cells.count(("r", 7, start_us // MINUTE_US), keys)
        heapq.heappush(waiting, (start_us + int(found.age_us[index]), index))


def count_end(cells: Cells, start_us: int, arm: Arm, fact: Fact) -> None:
    """An answer's end."""
    cells.count(("r", 7, start_us // MINUTE_US), ends(default_scoring(), arm, start_us, fact))


@pytest.mark.parametrize(("weight", "pairs"), [(0.5, False), (0.0, True)], ids=["canary", "shadow"])
def test_a_commit_of_a_thousand_starts_a_second_takes_less_than_eight_kilobytes(weight: float, pairs: bool) -> None:
    sizes = list(commits(1_000, seconds=24, weight=weight, pairs=pairs, begin_s=45))  # over the end of a minute
    assert max(sizes) < 8_192


def test_fifty_times_the_traffic_takes_less_than_three_times_the_bytes() -> None:
    few, many = (list(commits(per_s, seconds=12, weight=0.5, pairs=False))[-20:] for per_s in (40, 2_000))
    assert max(many) < 3 * max(few)


if __name__ == "__main__":  # the figures of docs/decisions/0036
    for weight, pairs in ((0.05, False), (0.5, False), (0.0, True), (0.5, True)):
        for per_s in RATES:
            sizes = list(commits(per_s, seconds=50, weight=weight, pairs=pairs, begin_s=35))
            print(f"weight {weight} pairs {pairs} {per_s}/s: median {np.median(sizes):.0f} largest {max(sizes)} bytes a commit")
