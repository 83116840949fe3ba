"""Rare adverse events of sticky units: the arm of each user's first event is a coin, the arm of the next is known.

Under equal hazards the first event of a user comes from the candidate with the probability w of the segment in which it
happened, however users differ. So the closed form of rare events is exact over distinct users. For the rollback side alone:
where an arm is worse its users are used up sooner, which weakens the claim "worse" and would feed the claim "not worse".
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from canary.stats.bets import PAIR_RATIOS, rare_log_e
from canary.terms import BUCKETS, Arm, Frozen

MOST_USERS: Final = 50_000
"""Rows kept, those with the smallest starts: decisions are made far below."""

RATIOS: Final = (1.2, 1.4, 1.8, 2.5, 4.0, 8.0, 20.0, 100.0)
"""Alternatives: times the null's ratio of hazards."""

HANDOVER_SHARE: Final = 0.10
"""Past this share of users with an event the pools are being used up, and clusters say more."""

LOWER_TAIL: Final = 0.05

NO_STABLE_EVENT: Final = "no_stable_event"
"""The profile has seen no event, so its lower limit is 0 and a tolerance in absolute points has no ratio."""


class FirstEvent(NamedTuple):
    """A user's first event of a rollout and metric; ordered by start."""

    start_at_us: int
    segment: int
    arm: Arm


class FirstEventRow(NamedTuple):
    """A unit's first event as a journal tells it. It counts once that journal's tick has settled its start for the age."""

    rollout: str
    metric: str  # "error", "pair:error"; "error@99": of block 99; "unit:7": the first request in segment 7
    unit_hash: bytes  # 8 bytes
    start_at_us: int
    segment: int
    arm: Arm  # of a pair: whose side was the worse one
    journal: str = ""
    revision: int = 0


class FirstEvents:
    """Each user's first event by the 8 bytes of its hash; the same whatever the order, the grouping and repetitions."""

    __slots__ = ("_events", "_most", "_tally")

    def __init__(self, *, most: int = MOST_USERS) -> None:
        self._events: dict[bytes, FirstEvent] = {}
        self._most = most
        self._tally: Counter[tuple[int, Arm]] = Counter()  # of all that are at hand

    def add(self, unit_hash: bytes, event: FirstEvent) -> None:
        """Takes one event in. Only settled ones, of scored segments: failed or open at the timeout's age."""
        if not unit_hash:
            raise ValueError("a unit's hash expected: requests without a unit have no first event")
        at_hand = self._events.get(unit_hash)
        if at_hand is None or event < at_hand:
            self._events[unit_hash] = event
            self._tally[event.segment, event.arm] += 1
            if at_hand is not None:
                self._tally[at_hand.segment, at_hand.arm] -= 1
        if len(self._events) >= 2 * self._most:
            self._trim()

    def add_all(self, other: "FirstEvents") -> None:
        """Takes in what another one keeps."""
        for unit_hash, event in other.rows():
            self.add(unit_hash, event)

    def rows(self) -> list[tuple[bytes, FirstEvent]]:
        """What is kept: the users with the smallest (start, hash), in that order."""
        found = sorted(self._events.items(), key=lambda item: (item[1].start_at_us, item[0]))
        return found[: self._most]

    @property
    def is_full(self) -> bool:
        """Whether later users were, or may have been, left out."""
        return len(self._events) >= self._most

    def counts(self) -> dict[int, tuple[int, int]]:
        """Distinct users of each segment by arm: candidate, stable."""
        tally = self._tally if len(self._events) <= self._most else _tally(event for _, event in self.rows())
        segments = sorted({segment for (segment, _), count in tally.items() if count})
        return {segment: (tally[segment, Arm.CANDIDATE], tally[segment, Arm.STABLE]) for segment in segments}

    def _trim(self) -> None:
        """A user that is left out now stays out: as many others came before it, and only earlier events can come."""
        self._events = dict(self.rows())
        self._tally = _tally(self._events.values())


def _tally(events: Iterable[FirstEvent]) -> Counter[tuple[int, Arm]]:
    return Counter((event.segment, event.arm) for event in events)


def lower_rate(events: int, n: int) -> float:
    """The lower 5 % limit (Clopper and Pearson) of a rate of which the profile saw `events` in `n`; 0 where it saw none."""
    if not 0 <= events <= n:
        raise ValueError(f"0 <= events <= n expected, found {events} of {n}")
    from scipy.special import betaincinv  # couriers know first events, and have no memory to spare for all of scipy

    return float(betaincinv(events, n - events + 1, LOWER_TAIL)) if events else 0.0


class FirstEventEvidence(Frozen, frozen=True, kw_only=True):
    """What first events say at one look, for a rollback."""

    log_e: float = 0.0  # 0 where it abstains
    abstains: str = ""
    users_candidate: int = 0  # distinct, with an event
    users_stable: int = 0
    handover: bool = False  # more than a tenth of all users had an event: clusters say more

    def marked(self, handover: bool) -> "FirstEventEvidence":
        """The same, with more users than are counted."""
        return msgspec.structs.replace(self, handover=True) if handover else self


def pair_evidence(
    counts: Mapping[int, tuple[int, int]], *, rho: float, delta: float, lowest_stable_rate: float
) -> FirstEventEvidence:
    """Evidence of each user's first discordant pair: in which direction it went is an even coin where the sides are alike.

    Every request of the shadow has both sides, so there is no weight and one sum for all segments.
    """
    candidate, stable = sum(found[0] for found in counts.values()), sum(found[1] for found in counts.values())
    if delta > 0 and lowest_stable_rate <= 0:
        return FirstEventEvidence(abstains=NO_STABLE_EVENT, users_candidate=candidate, users_stable=stable)
    ratio = rho + (delta / lowest_stable_rate if delta > 0 else 0.0)
    return FirstEventEvidence(
        log_e=rare_log_e(((0.5, candidate, stable),), rho=ratio, ratios=PAIR_RATIOS),
        users_candidate=candidate,
        users_stable=stable,
    )


def evidence_of_users(
    counts: Mapping[int, tuple[int, int]],
    weights_bp: Mapping[int, int],
    *,
    rho: float,
    delta: float,
    lowest_stable_rate: float,
    users: int = 0,
) -> FirstEventEvidence:
    """The evidence against mu_C <= rho * mu_S + delta of distinct users: by segment, candidate and stable.

    `weights_bp` are those of all scored segments; events of others are not read. `lowest_stable_rate` is `lower_rate` of
    the profile: delta becomes a ratio by it, rho' = rho + delta / p0. An equal candidate is safe whatever p0 is.
    `users` is how many users there were so far, with an event or not; 0 where nobody knows.
    """
    known = [(segment, found) for segment, found in sorted(counts.items()) if 0 < weights_bp.get(segment, 0) < BUCKETS]
    candidate = sum(found[0] for _, found in known)
    stable = sum(found[1] for _, found in known)
    abstains = NO_STABLE_EVENT if delta > 0 and lowest_stable_rate <= 0 else ""
    log_e = 0.0
    if not abstains:
        ratio = rho + (delta / lowest_stable_rate if delta > 0 else 0.0)
        coins = tuple((weights_bp[segment] / BUCKETS, *found) for segment, found in known)
        log_e = rare_log_e(coins, rho=ratio, ratios=RATIOS)
    return FirstEventEvidence(
        log_e=log_e,
        abstains=abstains,
        users_candidate=candidate,
        users_stable=stable,
        handover=users > 0 and candidate + stable > HANDOVER_SHARE * users,
    )
