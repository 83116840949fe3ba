"""Runs of users who stay on their arm: who asks when, how each answer ends, what it costs and how good it is."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np

from canary.stats.clusters import cluster_of
from canary.stats.facts import Fact
from canary.stats.freezing import freeze
from canary.stats.frozen import Scoring
from canary.stats.profile import Profile, profile_cells
from canary.stats.unit_events import BLOCK_US
from canary.stats.values import value_profile_cells
from canary.terms import Better, Measures, MetricKind, MetricSpec
from tests.bench.stats.draws import CONNECT_US, EQUAL, TIMEOUT_S, Bools, Change, Floats, Ints, latencies, losses
from tests.bench.stats.ours import spec

START_US: Final = 2_833_334 * BLOCK_US
"""Where runs start: a block of late onset's bets begins."""
MINUTES: Final = 120
"""How long they last, so that a dozen of late onset's bets begin."""

Weights = tuple[float, ...]
"""The candidate's weight, stage by stage, each for the same part of the time."""

WELL, FAILED, LEFT, REFUSED = range(4)
"""How an answer ends; the last is an error of the client's."""
LEAVES: Final = 0.004
CLIENT_ERRORS: Final = 0.01

MEASURES: Final = Measures(
    metrics=(
        MetricSpec(name="cost", kind=MetricKind.MEAN, source="header:x-cost", rollback_rho=1.02, promote_rho=1.10, share=0.1),
        MetricSpec(
            name="quality",
            kind=MetricKind.MEAN,
            source="header:x-quality",
            better=Better.HIGHER,
            cap=1.0,
            rollback_delta=0.005,
            promote_delta=0.02,
            share=0.1,
        ),
    )
)
"""With the default margins and shares of a cost and of a quality."""

GUIDE: Final = 1 << 15
"""Steps in which a request's user is looked for first."""

PROFILE: Final = 5_000
PROFILES: Final = 8
"""Runs take turns with this many profiles, each drawn anew: thresholds carry the noise that they have in service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visits:
    """Requests in the order of their starts; `cluster` is that of each user."""

    user: Ints
    cluster: Ints
    candidate: Bools
    start_us: Ints
    ending: Ints
    latency_us: Ints
    cost: Floats
    quality: Floats
    rounding: Floats  # 0 to 1, for cost and for quality: which way each is rounded

    @property
    def n(self) -> int:
        """Requests."""
        return len(self.user)

    def fact(self, index: int, *, exchange_id: bytes = b"") -> Fact:
        """One answer as the product takes it."""
        ending, latency = int(self.ending[index]), int(self.latency_us[index])
        return Fact(
            age_us=latency + CONNECT_US,
            latency_us=latency,
            failed=ending == FAILED,
            left=ending == LEFT,
            client_error=ending == REFUSED,
            unit_hash=hash_of(int(self.user[index])),
            exchange_id=exchange_id,
            values=(float(self.cost[index]), float(self.quality[index])),
        )

    def each_with_a_coin(self) -> "Visits":
        """Wrong: as if each request were somebody else's."""
        return replace(self, user=np.arange(self.n), cluster=clusters(self.n))


def hash_of(user: int) -> bytes:
    """Eight bytes that stand for a user."""
    return user.to_bytes(8, "big")


@lru_cache(maxsize=8)
def clusters(users: int) -> Ints:
    """The cluster of each user."""
    return np.array([cluster_of(hash_of(user)) for user in range(users)], dtype=np.int64)


def visits(seed: int, *, users: int, weights: Weights, n: int, change: Change = EQUAL) -> Visits:
    """Users differ: a few send most of the requests, 2 % fail often, and each has its own speed, price, luck and taste."""
    rng = np.random.default_rng([seed, users, *(round(1e4 * weight) for weight in weights), 5])
    activity = np.exp(rng.normal(0.0, 1.2, users)).cumsum()
    user = _who(activity, rng.random(n) * activity[-1])
    bucket, often = rng.random(users), rng.random(users) < 0.02
    leaves, errs = rng.gamma(1.0, LEAVES, users), rng.gamma(1.0, CLIENT_ERRORS, users)
    speed = np.exp(rng.normal(0.0, 0.3, users))
    price = 1_000 * np.exp(rng.normal(0.0, 0.8, users))
    taste = rng.beta(16, 2, users)
    gaps = rng.standard_exponential(n).cumsum()
    start_us = START_US + (gaps * (MINUTES * 60e6 / gaps[-1])).astype(np.int64)
    candidate = bucket[user] < np.array(weights)[stages_of(start_us, weights)]
    fails = np.where(often, 0.2, 0.001) * np.array([[1.0], [change.errors / EQUAL.errors]])  # [arm, user]
    until = np.cumsum([np.minimum(fails, 1.0), np.stack([leaves] * 2), np.stack([errs] * 2)], axis=0).reshape(3, -1)
    luck, place = rng.random(n), user + users * candidate
    ending = np.zeros(n, dtype=np.int64)
    unlucky = np.flatnonzero(luck < until[-1][place])
    ending[unlucky] = FAILED + (luck[unlucky] >= until[:-1, place[unlucky]]).sum(axis=0)
    seconds = latencies(rng, n) * _of_arms(speed, change.slower)[place]
    return Visits(
        user=user,
        cluster=clusters(users),
        candidate=candidate,
        start_us=start_us,
        ending=ending,
        latency_us=(np.minimum(seconds, TIMEOUT_S - 1) * 1e6).astype(np.int64),
        cost=_of_arms(price, change.dearer)[place] * rng.standard_exponential(n),
        quality=(1 - losses(rng, n)) * _of_arms(taste, 1 - change.loss)[place],
        rounding=rng.random((2, n)),
    )


def _of_arms(of_user: Floats, times: float) -> Floats:
    """Stable's users, then the same as the candidate's."""
    return np.concatenate([of_user, of_user * times])


def stages_of(start_us: Ints, weights: Weights) -> Ints:
    """The stage of each start; the last goes on."""
    return np.asarray(np.minimum((start_us - START_US) * len(weights) // (MINUTES * 60_000_000), len(weights) - 1))


def _who(reach: Floats, at: Floats) -> Ints:
    """`np.searchsorted(reach, at)` in a fifth of the time: from a guide's first guess one goes on until it is right."""
    scale = GUIDE / reach[-1]
    guess = np.searchsorted(reach, np.arange(-1, GUIDE + 1) / scale)  # of a step before: rounding must not skip anybody
    found = np.minimum(guess[(at * scale).astype(np.int64)], len(reach) - 1)
    behind = np.flatnonzero(reach[found] < at)
    while len(behind):
        found[behind] += 1
        behind = behind[reach[found[behind]] < at[behind]]
    return found


@lru_cache(maxsize=PROFILES)
def scoring(turn: int) -> Scoring:
    """Frozen from what such users did before, all of them on stable."""
    seen, rng = visits(10**6 + turn, users=2_000, weights=(0.0,), n=PROFILE), np.random.default_rng([9, turn])
    cells: dict[int, int] = {}
    for index in range(seen.n):
        fact = seen.fact(index, exchange_id=rng.bytes(16))
        for key in (*profile_cells(fact), *value_profile_cells(MEASURES, fact)):
            cells[key] = cells.get(key, 0) + 1
    return freeze(Profile.of(cells), spec(measures=MEASURES, sticky=True))


def scoring_of(seed: int) -> Scoring:
    """The scoring whose turn it is."""
    return scoring(seed % PROFILES)
