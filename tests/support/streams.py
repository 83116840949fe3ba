"""Whole streams of requests as arrays, and the very cells that the scalar functions would count for them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from canary.stats.cells import ARM_SHIFT, END, METRIC_SHIFT, PAIR_END, PAIR_START, SECOND_SHIFT, START
from canary.stats.counts import CounterRow, to_bytes
from canary.stats.profile import Profile, profile_cells
from canary.stats.scoring import FAILED, LEFT, WELL, Fact, Scoring
from canary.terms import Arm

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MINUTE_US = 60_000_000
EPOCH_US = 1_700_000_040_000_000
"""Where streams start: a whole minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """How each request of a stream ended; one array entry a request."""

    age_us: Ints
    latency_us: Ints
    failed: Bools
    left: Bools

    @classmethod
    def of(cls, *, age_us: Ints, latency_us: Ints, failed: Bools, left: Bools | None = None) -> "Answers":
        """Answers of clients that stay, unless said otherwise."""
        nobody = np.zeros(len(age_us), dtype=bool)
        return cls(age_us=age_us, latency_us=latency_us, failed=failed, left=nobody if left is None else left)

    def part(self, where: slice) -> "Answers":
        """Some of them."""
        return Answers(
            age_us=self.age_us[where], latency_us=self.latency_us[where], failed=self.failed[where], left=self.left[where]
        )

    def fact(self, index: int) -> Fact:
        """One answer as the scalar functions take it."""
        return Fact(
            age_us=int(self.age_us[index]),
            latency_us=int(self.latency_us[index]),
            failed=bool(self.failed[index]),
            left=bool(self.left[index]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Requests in the order of their starts."""

    start_us: Ints
    candidate: Bools
    answers: Answers

    def __len__(self) -> int:
        return len(self.start_us)

    def part(self, where: slice) -> "Stream":
        """Some of them."""
        return Stream(start_us=self.start_us[where], candidate=self.candidate[where], answers=self.answers.part(where))

    def __getitem__(self, index: int) -> tuple[Arm, int, Fact]:
        arm = Arm.CANDIDATE if self.candidate[index] else Arm.STABLE
        return arm, int(self.start_us[index]), self.answers.fact(index)


def arrivals(rng: np.random.Generator, n: int, *, per_s: float, start_us: int = EPOCH_US) -> Ints:
    """Start times of a Poisson stream."""
    return start_us + np.cumsum(rng.exponential(1e6 / per_s, n)).astype(np.int64)


def lognormal_answers(
    rng: np.random.Generator,
    n: int,
    *,
    median_s: float = 0.1,
    sigma: float = 0.7,
    error_rate: float | npt.NDArray[np.float64] = 0.005,
    slower: float | npt.NDArray[np.float64] = 1.0,
    connect_us: int = 1_000,
) -> Answers:
    """Answers with lognormal latency; failures come as early as successes do."""
    latency = (np.exp(rng.normal(np.log(median_s), sigma, n)) * slower * 1e6).astype(np.int64)
    return Answers.of(age_us=latency + connect_us, latency_us=latency, failed=rng.random(n) < error_rate)


def profile_of(answers: Answers) -> Profile:
    """The profile of a stable stream."""
    cells: dict[int, int] = {}
    for index in range(len(answers.age_us)):
        for key in profile_cells(answers.fact(index)):
            cells[key] = cells.get(key, 0) + 1
    return Profile.of(cells)


def _second_bits(start_us: Ints) -> Ints:
    return (start_us // 1_000_000 % 60) << SECOND_SHIFT


def start_keys(stream: Stream) -> Ints:
    """`starts` of each request."""
    return (START << METRIC_SHIFT) | _second_bits(stream.start_us) | (stream.candidate.astype(np.int64) << ARM_SHIFT)


def end_keys(scoring: Scoring, stream: Stream) -> Ints:
    """`ends` of each request."""
    answers, arm_bits = stream.answers, stream.candidate.astype(np.int64) << ARM_SHIFT
    bins = np.where(
        stream.candidate,
        _end_bins(scoring, scoring.candidate_us, answers),
        _end_bins(scoring, scoring.stable_us, answers),
    )
    return (END << METRIC_SHIFT) | _second_bits(stream.start_us) | arm_bits | bins


def _latency(answers: Answers) -> Ints:
    return np.where(answers.latency_us >= 0, answers.latency_us, answers.age_us)


def _end_bins(scoring: Scoring, thresholds: tuple[int, ...], answers: Answers) -> Ints:
    status = np.where(answers.failed, FAILED, np.where(answers.left, LEFT, WELL))
    latency = np.where(answers.failed, answers.latency_us, _latency(answers))
    level = np.where(
        answers.left & ~answers.failed,
        np.searchsorted(thresholds, latency, side="right"),
        np.searchsorted(thresholds, latency, side="left"),
    )
    age_class = np.searchsorted(scoring.ages_us, answers.age_us, side="left")
    return (status * (len(scoring.ages_us) + 1) + age_class) * (len(thresholds) + 1) + level


def pair_start_keys(start_us: Ints) -> Ints:
    """`pair_starts` of each copy."""
    return (PAIR_START << METRIC_SHIFT) | _second_bits(start_us)


def pair_end_keys(scoring: Scoring, start_us: Ints, live: Answers, shadow: Answers) -> tuple[Ints, Bools]:
    """`pair_ends` of each pair, and which of them have any."""
    candidate = _pair_classes(scoring.pair_candidate_us, shadow)
    stable = _pair_classes(scoring.pair_stable_us, live)
    tolerated, latency = scoring.pair_later * _latency(live), _latency(shadow)
    order = np.select(
        [shadow.failed & (live.failed | live.left), shadow.failed, live.failed | live.left | shadow.left],
        [1, 2, 0],
        default=np.where(latency > tolerated, 2, np.where(latency < tolerated, 0, 1)),
    )
    classes = len(scoring.pair_stable_us) + 3
    keys = (PAIR_END << METRIC_SHIFT) | _second_bits(start_us) | ((order * classes + candidate) * classes + stable)
    return keys, (live.age_us <= scoring.pair_age_us) & (shadow.age_us <= scoring.pair_age_us)


def _pair_classes(thresholds: tuple[int, ...], answers: Answers) -> Ints:
    known = np.searchsorted(thresholds, _latency(answers), side="left")
    return np.where(answers.failed, len(thresholds) + 1, np.where(answers.left, len(thresholds) + 2, known))


def rows_of(keys: Ints, start_us: Ints, *, segment: int = 7, journal: str = "j0", revision: int = 1) -> Iterator[CounterRow]:
    """Counter rows that hold these cells, one for each minute of start."""
    minutes = start_us // MINUTE_US
    for minute in np.unique(minutes).tolist():
        found, counts = np.unique(keys[minutes == minute], return_counts=True)
        cells = to_bytes(dict(zip(found.tolist(), counts.tolist(), strict=True)))
        yield CounterRow(rollout="r", segment=segment, journal=journal, minute=minute, cells=cells, revision=revision)


def stream_rows(scoring: Scoring, stream: Stream, **where: object) -> Iterator[CounterRow]:
    """All rows of a stream, starts and ends: what is settled of them is the tick's business, so they may come early."""
    keys = np.concatenate([start_keys(stream), end_keys(scoring, stream)])
    return rows_of(keys, np.concatenate([stream.start_us, stream.start_us]), **where)  # type: ignore[arg-type]


def pair_rows(scoring: Scoring, start_us: Ints, live: Answers, shadow: Answers, **where: object) -> Iterator[CounterRow]:
    """All rows of copies that were all sent."""
    ends, there = pair_end_keys(scoring, start_us, live, shadow)
    keys = np.concatenate([pair_start_keys(start_us), ends[there]])
    return rows_of(keys, np.concatenate([start_us, start_us[there]]), **where)  # type: ignore[arg-type]
