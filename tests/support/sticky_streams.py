"""Streams of requests of users that stay on their arm, and the rows that couriers commit of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from canary.stats.counts import CounterRow, to_bytes
from canary.stats.first_event import FirstEventRow
from canary.stats.frozen import Scoring
from canary.stats.profile import Profile
from canary.stats.scoring import Fact, ends, pair_ends, pair_starts, starts
from canary.stats.unit_events import ERROR, discordant, fails, late_metric, unit_metric
from canary.terms import Arm
from tests.support.streams import EPOCH_US, MINUTE_US, Answers, arrivals, profile_of

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserStream:
    """Requests in the order of their starts, each with its user."""

    user: Ints
    candidate: Bools
    start_us: Ints
    answers: Answers

    def __len__(self) -> int:
        return len(self.user)

    def arm(self, index: int) -> Arm:
        """Of one request."""
        return Arm.CANDIDATE if self.candidate[index] else Arm.STABLE

    def fact(self, index: int) -> Fact:
        """How one request ended."""
        answers = self.answers
        return Fact(
            age_us=int(answers.age_us[index]),
            latency_us=int(answers.latency_us[index]),
            failed=bool(answers.failed[index]),
            left=bool(answers.left[index]),
            unit_hash=hash_of(int(self.user[index])),
            exchange_id=index.to_bytes(16, "big"),
        )


def hash_of(user: int) -> bytes:
    """Eight bytes that stand for a user."""
    return user.to_bytes(8, "big")


def some_users(
    seed: int,
    *,
    users: int,
    weight: float,
    n: int,
    per_s: float = 20.0,
    errors: float = 1.0,
    slower: float = 1.0,
    broken: int | None = None,
    good_us: int = 0,
) -> UserStream:
    """Users of very different activity and speed, of whom 2 % fail in 20 % of their requests and the others in .1 %.

    `errors` and `slower` multiply those of the candidate's users; `broken`: the most active of the candidate's users, who
    sends a tenth of all requests beside, fails in each. `good_us`: so long the candidate fails as seldom as stable.
    """
    rng = np.random.default_rng([seed, users, round(1e4 * weight)])
    activity = np.exp(rng.normal(0.0, 1.2, users))
    on_candidate = rng.random(users) < weight
    usual = np.where(rng.random(users) < 0.02, 0.2, 0.001)
    rate = usual * np.where(on_candidate, errors, 1.0)
    speed = np.exp(rng.normal(0.0, 0.5, users)) * np.where(on_candidate, slower, 1.0)
    if broken is not None:
        worst = int(np.argmax(np.where(on_candidate, activity, 0.0)))
        activity[worst] = activity.sum() * 0.1
        rate[worst] = 1.0
    reach = activity.cumsum()
    user = np.searchsorted(reach, rng.random(n) * reach[-1]).astype(np.int64)
    latency = (0.1e6 * speed[user] * np.exp(rng.normal(0.0, 0.5, n))).astype(np.int64)
    chance = rng.random(n)
    start_us = arrivals(rng, n, per_s=per_s)
    failed = chance < np.where(start_us - EPOCH_US < good_us, usual[user], rate[user])
    answers = Answers.of(age_us=latency + 1_000, latency_us=latency, failed=failed)
    return UserStream(user=user, candidate=on_candidate[user], start_us=start_us, answers=answers)


def a_users_profile(seed: int, *, n: int = 5_000) -> Profile:
    """The profile of such users, all of them on stable."""
    return profile_of(some_users(seed, users=2_000, weight=0.0, n=n).answers)


def user_rows(
    scoring: Scoring, stream: UserStream, *, segment: int = 7, journals: int = 1, revision: int = 1
) -> Iterator[CounterRow]:
    """Counter rows as the scalar functions make them, spread over journals request by request."""
    rows: dict[tuple[str, int], dict[int, int]] = {}
    for index in range(len(stream)):
        start_us = int(stream.start_us[index])
        fact, arm = stream.fact(index), stream.arm(index)
        cells = rows.setdefault((f"j{index % journals}", start_us // MINUTE_US), {})
        for key in (*starts(scoring, arm, start_us, unit_hash=fact.unit_hash), *ends(scoring, arm, start_us, fact)):
            cells[key] = cells.get(key, 0) + 1
    for (journal, minute), cells in rows.items():
        yield CounterRow(rollout="r", segment=segment, journal=journal, minute=minute, cells=to_bytes(cells), revision=revision)


def first_rows(scoring: Scoring, stream: UserStream, *, segment: int = 7, journals: int = 1) -> list[FirstEventRow]:
    """Each user's first request and first failures, of all and of each ten minutes, in each journal."""
    found: dict[tuple[str, str, int], FirstEventRow] = {}
    for index in range(len(stream)):
        user, journal = int(stream.user[index]), f"j{index % journals}"
        fact, arm = stream.fact(index), stream.arm(index)
        metrics = [unit_metric(segment)]
        if fails(arm, fact, scoring.pair_age_us):
            metrics += [ERROR, late_metric(int(stream.start_us[index]))]
        for metric in metrics:
            row = FirstEventRow("r", metric, hash_of(user), int(stream.start_us[index]), segment, arm, journal, 1)
            found.setdefault((journal, metric, user), row)
    return list(found.values())


def ticks_of(stream: UserStream, scoring: Scoring, *, each_us: int = MINUTE_US) -> Sequence[int]:
    """Ticks until everything is settled."""
    last_us = int(stream.start_us[-1]) + scoring.pair_age_us + 2 * MINUTE_US
    return range(EPOCH_US + each_us, last_us + each_us, each_us)


def pair_rows_of_users(
    scoring: Scoring, stream: UserStream, shadow: Answers, *, segment: int = 7
) -> tuple[list[CounterRow], list[FirstEventRow]]:
    """Counter rows and first discordant pairs of a shadow in which every request was copied."""
    cells: dict[int, dict[int, int]] = {}
    firsts: dict[tuple[str, int], FirstEventRow] = {}
    for index in range(len(stream)):
        start_us, live, user = int(stream.start_us[index]), stream.fact(index), int(stream.user[index])
        other = shadow.fact(index)
        keys = (
            *pair_starts(scoring, start_us, unit_hash=live.unit_hash),
            *pair_ends(scoring, start_us, live, other),
        )
        row = cells.setdefault(start_us // MINUTE_US, {})
        for key in keys:
            row[key] = row.get(key, 0) + 1
        for metric, worse in discordant(scoring, live, other):
            event = FirstEventRow("r", metric, hash_of(user), start_us, segment, worse, "j0", 1)
            firsts.setdefault((metric, user), event)
    rows = [
        CounterRow(rollout="r", segment=segment, journal="j0", minute=minute, cells=to_bytes(found), revision=1)
        for minute, found in cells.items()
    ]
    return rows, list(firsts.values())
