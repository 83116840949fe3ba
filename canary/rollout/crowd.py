"""Imagined users that keep their arm: who asks, on which arm, and the cells and first events that a step of them makes."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from canary.rollout.worlds import Answer, drawn_pairs
from canary.stats.cells import METRIC_SHIFT
from canary.stats.clusters import CLUSTERS, Ints, cluster_of
from canary.stats.facts import Fact
from canary.stats.first_event import FirstEventRow
from canary.stats.scoring import Scoring, ends, pair_ends, pair_starts, starts
from canary.stats.unit_answers import said_metric
from canary.stats.unit_events import ERROR, discordant, fails, late_metric, unit_metric
from canary.terms import BUCKETS, Arm, Frozen

SPREAD: Final = 1.2
"""Sigma of the lognormal number of requests of a user: the busiest of 5,000 sends one in 60 or so."""

Events = tuple[tuple[str, Arm], ...]
"""What a kind of event is to its user: a metric's name, and the arm that was worse."""


class Place(Frozen, frozen=True, kw_only=True):
    """Where and when a step of traffic counts."""

    segment: int
    start_at_us: int


class Happened(NamedTuple):
    """What a step counts."""

    keys: Ints
    counts: Ints
    firsts: list[FirstEventRow]


class UserKinds:
    """Kinds of requests, or of copied ones, with their chances; those that count alike are one kind."""

    def __init__(self, chances: Sequence[float], kinds: Sequence[tuple[tuple[int, ...], Events]]) -> None:
        """`kinds` holds the cells of each, as those of any user in cluster 0, and its events."""
        summed: dict[tuple[tuple[int, ...], Events], float] = {}
        for chance, kind in zip(chances, kinds, strict=True):
            summed[kind] = summed.get(kind, 0.0) + chance
        self._until = np.cumsum([*summed.values()])
        self._keys = [np.array(keys, dtype=np.int64) for keys, _ in summed]
        self._events = [events for _, events in summed]

    @property
    def any(self) -> bool:
        """Whether there is anything to draw."""
        return bool(self._keys)

    def happen(self, users: Ints, crowd: "Crowd", place: Place, rng: np.random.Generator) -> Happened:
        """One event of each of these users, in this order; a user may come often."""
        kinds = np.searchsorted(self._until, rng.random(len(users)) * self._until[-1], side="right")
        kinds = np.minimum(kinds, len(self._keys) - 1)
        where = crowd.clusters[users] * len(self._keys) + kinds
        found, counts = np.unique(where, return_counts=True)
        keys = [self._keys[at % len(self._keys)] | at // len(self._keys) << METRIC_SHIFT for at in found.tolist()]
        repeated = np.repeat(counts, [len(one) for one in keys])
        firsts = [
            row for kind, events in enumerate(self._events) for row in self._firsts(events, users[kinds == kind], crowd, place)
        ]
        return Happened(np.concatenate([np.zeros(0, np.int64), *keys]), repeated, firsts)

    def _firsts(self, events: Events, users: Ints, crowd: "Crowd", place: Place) -> Iterator[FirstEventRow]:
        """Only what is news: to tell it twice would change nothing."""
        for user in np.unique(users).tolist() if events else ():
            for metric, arm in events:
                yield from crowd.tell(metric, user, arm, place)
                if metric == ERROR:
                    yield from crowd.tell(late_metric(place.start_at_us), user, arm, place)


class OfUsers(NamedTuple):
    """What the candidate's requests count, stable's, and copies of stable's."""

    candidate: UserKinds
    stable: UserKinds
    pairs: UserKinds


class Crowd:
    """Users of very different activity, each with a bucket of its own; and what was told of them before."""

    def __init__(self, users: int, rng: np.random.Generator) -> None:
        self._hashes = [user.to_bytes(8, "big") for user in range(users)]
        self._reach = np.exp(rng.normal(0.0, SPREAD, users)).cumsum()
        self._buckets = rng.integers(0, BUCKETS, users)
        self.clusters: Ints = np.array([cluster_of(unit) for unit in self._hashes], dtype=np.int64)
        self._told: set[tuple[str, int]] = set()

    def ask(self, n: int, rng: np.random.Generator) -> Ints:
        """Who sends so many requests."""
        users = np.searchsorted(self._reach, rng.random(n) * self._reach[-1], side="right")
        return np.asarray(np.minimum(users, len(self._hashes) - 1), dtype=np.int64)

    def on_candidate(self, users: Ints, weight_bp: int) -> npt.NDArray[np.bool_]:
        """Of each request, whether its user has the candidate under that weight."""
        return np.asarray(self._buckets[users] < weight_bp)

    def seen(self, users: Ints, weight_bp: int, place: Place, bins: Ints) -> Iterator[FirstEventRow]:
        """The first requests of a segment, each user's answered by something in a bin of its own; no bins: nobody reads it."""
        for user in np.unique(users).tolist():
            arm = Arm.CANDIDATE if self._buckets[user] < weight_bp else Arm.STABLE
            for row in self.tell(unit_metric(place.segment), user, arm, place):
                yield row
                if len(bins):
                    said = said_metric(place.segment, int(bins[user]))
                    yield from self.tell(said, user, arm, place)

    def tell(self, metric: str, user: int, arm: Arm, place: Place) -> Iterator[FirstEventRow]:
        """A first event, once."""
        if (metric, user) not in self._told:
            self._told.add((metric, user))
            yield FirstEventRow("", metric, self._hashes[user], place.start_at_us, place.segment, arm, "j", 1)


def _unit_of_cluster_0() -> bytes:
    return next(unit for unit in (n.to_bytes(8, "big") for n in range(100 * CLUSTERS)) if cluster_of(unit) == 0)


_UNIT: Final = _unit_of_cluster_0()


def user_kinds(scoring: Scoring, arm: Arm, found: Sequence[Answer]) -> UserKinds:
    """What one arm's requests count; `scoring` is one of users."""
    kinds: list[tuple[tuple[int, ...], Events]] = []
    for answer in found:
        opened = starts(scoring, arm, 0, stratum=answer.stratum, unit_hash=_UNIT)
        ended = ends(scoring, arm, 0, _of_unit(answer.fact), stratum=answer.stratum)
        failed = fails(arm, answer.fact, scoring.pair_age_us)
        kinds.append((opened + ended, ((ERROR, arm),) if failed else ()))
    return UserKinds([answer.chance for answer in found], kinds)


def user_pair_kinds(scoring: Scoring, live: Sequence[Answer], shadow: Sequence[Answer], rng: np.random.Generator) -> UserKinds:
    """What copied requests count; `scoring` is one of users."""
    chances, kinds = [], []
    for chance, one, other in drawn_pairs(live, shadow, rng):
        meant = pair_starts(scoring, 0, stratum=one.stratum, unit_hash=_UNIT)
        both = _of_unit(one.fact), _of_unit(other.fact)
        chances.append(chance)
        kinds.append((meant + pair_ends(scoring, 0, *both, stratum=one.stratum), tuple(discordant(scoring, *both))))
    return UserKinds(chances, kinds)


def _of_unit(fact: Fact) -> Fact:
    return msgspec.structs.replace(fact, unit_hash=_UNIT)
