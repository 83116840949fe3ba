"""What is known of a rollout now: its counters weighed, or its profile as it grows. Reads only, so anyone may look."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from canary.control.growth import Growth
from canary.errors import CountersMoved, StoreAway
from canary.ports import CounterBook
from canary.rollout.state import RolloutState
from canary.rollout.weighing import NO_SCORING, evidence_of, segments_of
from canary.stats.counts import Horizon, Ledger, Totals
from canary.stats.evidence import Evidence
from canary.stats.frozen import Scoring
from canary.stats.profile import Profile
from canary.stats.sticky_ledger import StickyLedger
from canary.stats.weigh import silent
from canary.terms import Frozen, Phase

PROFILE_HOURS: Final = 24


class Seen(Frozen, frozen=True, kw_only=True):
    """What one look found."""

    evidence: Evidence | None = None  # None before there is traffic to count
    totals: Mapping[str, int] = {}  # the settled counts that the evidence was made of
    counted: Totals | None = None  # the same, as they were read
    newest: int = 0  # up to which revision the counters were read
    old_minute: int = 0  # the fleet's rows up to here may become totals: no bet reads them by the minute; 0: none
    profile: Profile | None = None  # of a pending rollout
    profile_n: int = 0
    profile_per_s: float | None = None  # over its whole hours, or over the last minute where there is none yet


class Looks:
    """Keeps each rollout's counters in memory, so that a look reads only what grew since the one before."""

    def __init__(self, counters: CounterBook, *, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._counters = counters
        self._elapsed = elapsed
        self._open: dict[str, _Reading] = {}
        self._growth: dict[str, Growth] = {}

    async def look(self, state: RolloutState) -> Seen:
        """The rollout's evidence and what it was made of, or its profile while it is pending."""
        if state.phase is Phase.PENDING:
            return await self._profile(state)
        # What has ended is looked at once in a while, and by people: it is read anew and not kept.
        fresh = _StickyReading() if state.sticky else _Reading()
        reading = fresh if state.phase.is_final else self._open.setdefault(state.id, fresh)
        sound = False
        try:
            seen = await reading.read(state, self._counters)
            sound = True
        except (StoreAway, asyncio.CancelledError):
            sound = True  # it broke off between two steps: what was taken in stands
            raise
        finally:
            if not sound:  # half taken in, or a row that was mended since: the next look reads all anew
                self._open.pop(state.id, None)
        return seen

    async def evidence(self, state: RolloutState) -> Evidence | None:
        """The evidence alone; None while the rollout is pending."""
        return (await self.look(state)).evidence

    def forget_all_but(self, rollouts: set[str]) -> None:
        """Drops the counters of every other rollout."""
        self._open = {rollout: reading for rollout, reading in self._open.items() if rollout in rollouts}
        self._growth = {rollout: growth for rollout, growth in self._growth.items() if rollout in rollouts}

    async def _profile(self, state: RolloutState) -> Seen:
        profile = await self._counters.profile(state.route, state.stable_hash, hours=PROFILE_HOURS)
        growth = self._growth.setdefault(state.id, Growth())
        growing = growth.per_s(profile.n, self._elapsed())
        return Seen(profile=profile, profile_n=profile.n, profile_per_s=profile.per_s or growing)


class _Reading:
    """One rollout's counters, read on from where the last look ended."""

    def __init__(self) -> None:
        self._ledger = self._anew()
        self._newest = 0

    def _anew(self) -> Ledger | StickyLedger:
        return Ledger()

    async def read(self, state: RolloutState, counters: CounterBook) -> Seen:
        age_s = await counters.freshness(state.id)
        if state.scoring is None:
            return Seen(evidence=silent(NO_SCORING, newest_tick_age_s=age_s))
        # Horizons first: one that is newer than the rows beside it would settle starts whose ends were not read yet.
        horizons = list(await counters.horizons(state.id))
        await self._read_on(state.id, counters)
        totals = self._settled(horizons, state.scoring, state)
        evidence = evidence_of(totals, state, newest_tick_age_s=age_s)
        return Seen(
            evidence=evidence,
            totals=totals.flat(state.scoring),
            counted=totals,
            newest=self._newest,
            old_minute=self._ledger.old_minute,
        )

    def _settled(self, horizons: Sequence[Horizon], scoring: Scoring, state: RolloutState) -> Totals:
        return self._ledger.settled(horizons, scoring)

    async def _read_on(self, rollout: str, counters: CounterBook) -> None:
        """Takes in what grew; all anew where rows were moved together while nobody looked."""
        try:
            rows, self._newest = await counters.read(rollout, since=self._newest)
            self._ledger.add(rows)
        except CountersMoved:
            self._ledger.stale = True
        if self._ledger.stale:
            self._ledger, self._newest = self._anew(), 0  # the mark too: should this reading break off, the next begins anew
            rows, self._newest = await counters.read(rollout)
            self._ledger.add(rows)


class _StickyReading(_Reading):
    """The same of a rollout whose units stay on their arm: users are counted, in clusters and by their first events."""

    def __init__(self) -> None:
        self._newest_event = 0
        super().__init__()

    def _anew(self) -> StickyLedger:
        self._newest_event = 0
        return StickyLedger()

    def _settled(self, horizons: Sequence[Horizon], scoring: Scoring, state: RolloutState) -> Totals:
        assert isinstance(self._ledger, StickyLedger)
        return self._ledger.settled(horizons, scoring, segments_of(state))

    async def _read_on(self, rollout: str, counters: CounterBook) -> None:
        await super()._read_on(rollout, counters)
        events, self._newest_event = await counters.first_events(rollout, since=self._newest_event)
        assert isinstance(self._ledger, StickyLedger)
        self._ledger.add_first(events)
