"""The in-memory twin of the decision path's books and of the recorder: the same contract, no disk, one process."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import uuid4

import msgspec

from canary.config.document import Config
from canary.errors import Conflict, Deposed, NotFound, StaleRevision
from canary.ports import Clock, Fence, Lease, Move, Moved, PlanInForce, Published, SidecarAck
from canary.rollout.calibration import Round, calibrates
from canary.rollout.state import DecisionRow, RolloutState
from canary.stats.counts import CounterRow, Horizon
from canary.stats.first_event import FirstEventRow
from canary.stats.profile import Profile
from canary.store.counters import SILENT_S, by_hour, check_nothing_missed
from canary.store.first_events import is_read_no_more, smallest
from canary.store.memory_counts import CountTables
from canary.store.publication import published_meanwhile, stable_after
from canary.store.rows import BodyRow, JournalState, OutcomeRow, PairRow, ProfileDelta, RecordBatch
from canary.terms import Action

_MINUTE_US = 60_000_000
_HOUR_US = 3_600_000_000
_KEPT_MINUTES = 120


class _Journal(msgspec.Struct):
    offset: int
    tick_at_us: int
    dead: bool
    ticked_at: datetime | None
    rejected: int


class MemoryStore:
    """What the twins share; `clock` stands for the database's time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.database_id = str(uuid4())
        self.plan_revision = 0
        self.rollouts: dict[str, RolloutState] = {}
        self.decisions: dict[str, list[DecisionRow]] = {}
        self.leases: dict[str, Lease] = {}
        self.published: list[Published] = []
        self.stable: dict[str, str] = {}
        self.acks: dict[str, SidecarAck] = {}
        self.segments = 0
        self.calibration: dict[str, Round] = {}
        self.journals: dict[str, _Journal] = {}
        self.counts = CountTables()
        self.profiles: dict[tuple[str, str, int, str], bytes] = {}
        self.first_events: dict[tuple[str, str, bytes], FirstEventRow] = {}
        self.outcomes: list[tuple[datetime, OutcomeRow]] = []
        self.pairs: list[tuple[datetime, PairRow]] = []
        self.bodies: list[tuple[datetime, BodyRow]] = []
        self.commits = 0
        self.listeners: list[Callable[[int], None]] = []  # called where Postgres would notify

    def active(self) -> list[RolloutState]:
        """Oldest first."""
        return sorted((s for s in self.rollouts.values() if not s.phase.is_final), key=lambda s: (s.created_at, s.id))

    def check_lead(self, fence: Fence) -> None:
        """Raises Deposed where the lease has another epoch or has expired."""
        lease = self.leases.get(fence.name)
        if lease is None or lease.epoch != fence.epoch or lease.expires_at <= self.clock.now():
            raise Deposed(f"lease {fence.name} is not held under epoch {fence.epoch} any more")

    def followed(self) -> list[RolloutState]:
        """Those that people began: rounds of calibration are none of them."""
        return [state for state in self.active() if not calibrates(state)]

    def bump(self) -> int:
        """The plan's next revision."""
        self.plan_revision += 1
        return self.plan_revision

    def announce(self, plan_revision: int) -> None:
        """Tells all listeners."""
        for listener in self.listeners:
            listener(plan_revision)


class MemoryRollouts:
    """The RolloutBook in memory."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def active(self) -> Sequence[RolloutState]:
        """All rollouts whose phase is not final, oldest first."""
        return self._store.followed()

    async def get(self, rollout: str) -> RolloutState:
        """One rollout by id; raises NotFound."""
        try:
            return self._store.rollouts[rollout]
        except KeyError:
            raise NotFound(f"no rollout {rollout}") from None

    async def find(self, *, route: str | None = None, limit: int = 100) -> Sequence[RolloutState]:
        """Newest first."""
        found = [
            state
            for state in self._store.rollouts.values()
            if state.route == route or (route is None and not calibrates(state))
        ]
        return sorted(found, key=lambda state: (state.created_at, state.id), reverse=True)[:limit]

    async def create(self, state: RolloutState, row: DecisionRow, *, published: int | None = None) -> RolloutState:
        """Stores revision 1; raises Conflict if the route has an active rollout, or if `published` is no longer the file's."""
        if published is not None and published != len(self._store.published):
            raise published_meanwhile(published, len(self._store.published))
        if state.id in self._store.rollouts or any(other.route == state.route for other in self._store.active()):
            raise Conflict(
                f"rollout {state.id} cannot be made: route {state.route} has an active one, or the id is taken",
                hint="End the active rollout first.",
            )
        saved = msgspec.structs.replace(state, revision=1)
        self._write(saved, row)
        self._store.announce(saved.plan_revision)
        return saved

    async def next_segment(self) -> int:
        """A segment id never given before (> 0)."""
        self._store.segments += 1
        return self._store.segments

    async def save(
        self,
        before: RolloutState,
        after: RolloutState,
        row: DecisionRow | None,
        *,
        fence: Fence | None = None,
        stable: str | None = None,
        moves_traffic: bool = False,
    ) -> RolloutState:
        """State, decision, stable and the plan's revision together, or nothing: see the port."""
        found = (await self.get(after.id)).revision
        if found != before.revision:
            raise StaleRevision(
                f"rollout {after.id} is at revision {found}, not {before.revision}: somebody changed it meanwhile"
            )
        if fence is not None:
            self._store.check_lead(fence)
        plan_revision = self._store.bump() if moves_traffic or stable is not None else after.plan_revision
        saved = msgspec.structs.replace(after, revision=before.revision + 1, plan_revision=plan_revision)
        self._write(saved, row)
        if stable is not None:
            self._store.stable[saved.route] = stable
        self._store.announce(plan_revision)
        return saved

    async def decisions(self, rollout: str, *, limit: int = 200) -> Sequence[DecisionRow]:
        """Newest first."""
        return self._store.decisions.get(rollout, [])[::-1][:limit]

    async def moved_since(self, rollout: str, revision: int) -> Move | None:
        """The newest decision after that revision that was more than a note; None where there is none."""
        for row in reversed(self._store.decisions.get(rollout, [])):
            if row.revision > revision and row.decision.action is not Action.KEEP:
                return Move(actor=row.actor, because=row.decision.because)
        return None

    async def decision(self, decision: str) -> DecisionRow:
        """One decision by id; raises NotFound."""
        for row in (row for story in self._store.decisions.values() for row in story):
            if row.id == decision:
                return row
        raise NotFound(f"no decision {decision}")

    def _write(self, saved: RolloutState, row: DecisionRow | None) -> None:
        self._store.rollouts[saved.id] = saved
        if row is not None:
            story = self._store.decisions.setdefault(saved.id, [])
            story.append(msgspec.structs.replace(row, revision=saved.revision))


class MemoryCalibration:
    """The CalibrationBook in memory."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def record(self, ended: Round) -> None:
        """Stores a round once, however often it is told."""
        self._store.calibration.setdefault(ended.id, ended)

    async def rounds(self, *, route: str | None = None, limit: int = 1_000) -> Sequence[Round]:
        """Newest first."""
        found = [one for one in self._store.calibration.values() if route is None or one.route == route]
        return sorted(found, key=lambda one: (one.closed_at, one.id), reverse=True)[:limit]


class MemoryLeases:
    """The LeaseBook in memory."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def acquire(self, name: str, holder: str, ttl_s: float) -> Lease | None:
        """Takes a free or expired lease (epoch + 1) or renews one's own (same epoch); None where another holds it."""
        now = self._store.clock.now()
        held = self._store.leases.get(name)
        live = held is not None and held.expires_at > now
        if held is not None and live and held.holder != holder:
            return None
        epoch = 1 if held is None else held.epoch + (0 if live else 1)
        lease = Lease(name=name, holder=holder, epoch=epoch, expires_at=now + timedelta(seconds=ttl_s))
        self._store.leases[name] = lease
        return lease

    async def release(self, lease: Lease) -> None:
        """Gives it back at once; the epoch stays."""
        held = self._store.leases.get(lease.name)
        if held is not None and (held.holder, held.epoch) == (lease.holder, lease.epoch):
            self._store.leases[lease.name] = msgspec.structs.replace(held, expires_at=self._store.clock.now())


class MemoryCounters:
    """The CounterBook in memory."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def read(self, rollout: str, *, since: int = 0) -> tuple[Sequence[CounterRow], int]:
        """Rows whose revision is > since, and the newest revision."""
        rows = self._store.counts.read(rollout, since=since)
        check_nothing_missed(rollout, rows, since=since)
        return sorted(rows, key=lambda row: row.revision), max(since, self._store.commits)

    async def close(self, rollout: str, *, fence: Fence, settle_us: int, most: int = 1_000) -> Moved:
        """Moves journals' rows whose minute is closed into the fleet's: see the port."""
        self._store.check_lead(fence)
        horizons, self._store.commits = await self.horizons(rollout), self._store.commits + 1
        return self._store.counts.close(rollout, horizons, settle_us=settle_us, most=most, revision=self._store.commits)

    async def fold(self, rollout: str, *, fence: Fence, minute: int, seen: int) -> int:
        """Moves the fleet's old rows into totals: see the port."""
        self._store.check_lead(fence)
        self._store.commits += 1
        events = self._store.first_events
        self._store.first_events = {
            key: row for key, row in events.items() if key[0] != rollout or not is_read_no_more(row.metric, minute)
        }
        return self._store.counts.fold(rollout, minute=minute, seen=seen, revision=self._store.commits)

    async def first_events(self, rollout: str, *, since: int = 0) -> tuple[Sequence[FirstEventRow], int]:
        """First events of sticky units whose revision is > since, and the newest revision."""
        rows = [row for row in self._store.first_events.values() if row.rollout == rollout and row.revision > since]
        return smallest(rows), max(since, self._store.commits)

    async def horizons(self, rollout: str) -> Sequence[Horizon]:
        """For every journal that has counters of this rollout: its last committed tick, whether it is dead or silent."""
        since = self._store.clock.now() - timedelta(seconds=SILENT_S)
        found = [(name, self._store.journals[name]) for name in self._journals(rollout)]
        return [
            Horizon(
                journal=name,
                tick_at_us=one.tick_at_us,
                dead=one.dead,
                silent=one.ticked_at is None or one.ticked_at < since,
            )
            for name, one in found
        ]

    async def freshness(self, rollout: str) -> float | None:
        """Seconds since the newest tick of any of these journals was committed; None: never."""
        ticked = [at for name in self._journals(rollout) if (at := self._store.journals[name].ticked_at) is not None]
        return (self._store.clock.now() - max(ticked)).total_seconds() if ticked else None

    async def profile(self, route: str, version_hash: str, *, hours: int = 24) -> Profile:
        """The route's stable outcomes of the last hours, merged; an empty profile where there are none."""
        now = self._store.clock.now().timestamp() / 3600
        mine = ((key[2], cells) for key, cells in self._store.profiles.items() if key[:2] == (route, version_hash))
        found = by_hour((hour, cells) for hour, cells in mine if hour > now - 1 - hours)
        return Profile.of_hours(found, present=int(now))

    def _journals(self, rollout: str) -> list[str]:
        return self._store.counts.journals(rollout)


class MemoryPlans:
    """The PlanBook in memory."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def in_force(self) -> PlanInForce:
        """One consistent reading."""
        return PlanInForce(
            plan_revision=self._store.plan_revision,
            database_id=self._store.database_id,
            published=self._store.published[-1] if self._store.published else None,
            stable=dict(self._store.stable),
            rollouts=tuple(self._store.followed()),
            calibrations=tuple(state for state in self._store.active() if calibrates(state)),
            led=any(lease.expires_at > self._store.clock.now() for lease in self._store.leases.values()),
        )

    async def publish(self, config: Config, *, by: str) -> Published:
        """Stores the next revision, or returns the latest where its hash is the same: see the port."""
        latest = self._store.published[-1] if self._store.published else None
        if latest is not None and latest.hash == config.hash:
            return latest
        self._store.stable = stable_after(
            config,
            latest.config if latest else None,
            in_charge=self._store.stable,
            active=self._store.followed(),
        )
        published = Published(
            revision=len(self._store.published) + 1,
            hash=config.hash,
            config=config,
            published_at=self._store.clock.now(),
            published_by=by,
        )
        self._store.published.append(published)
        self._store.announce(self._store.bump())
        return published

    async def acks(self, *, within_s: float = 10.0) -> Sequence[SidecarAck]:
        """Sidecars seen lately."""
        since = self._store.clock.now() - timedelta(seconds=within_s)
        return [ack for _, ack in sorted(self._store.acks.items()) if ack.seen_at > since]

    async def acknowledge(self, sidecar: str, plan_revision: int, workers: int) -> None:
        """Upserts one sidecar's word."""
        self._store.acks[sidecar] = SidecarAck(
            sidecar=sidecar, plan_revision=plan_revision, seen_at=self._store.clock.now(), workers=workers
        )


class MemoryRecorder:
    """The Recorder in memory."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def commit(self, batch: RecordBatch) -> datetime:
        """Writes the whole batch or nothing; raises StaleRevision where the journal's offset is not `batch.seen`."""
        now = self._store.clock.now()
        journal = self._store.journals.get(batch.journal)
        if batch.seen != (journal.offset if journal else 0):
            raise StaleRevision(
                f"journal {batch.journal}: offset {batch.seen} is not the committed one: another courier went on"
            )
        journal = journal or _Journal(offset=0, tick_at_us=0, dead=False, ticked_at=None, rejected=0)
        if batch.tick_at_us > journal.tick_at_us:
            journal.tick_at_us, journal.ticked_at = batch.tick_at_us, now
        journal.offset, journal.dead = batch.offset, batch.dead
        journal.rejected += batch.rejected
        self._store.journals[batch.journal] = journal
        self._store.outcomes += [(now, row) for row in batch.outcomes]
        self._store.pairs += [(now, row) for row in batch.pairs]
        self._store.bodies += [(now, row) for row in batch.bodies]
        self._fold(batch)
        return now

    async def load(self, journal: str) -> JournalState:
        """What is committed of one journal; offset 0 and nothing else where it is not known yet."""
        found = self._store.journals.get(journal)
        if found is None:
            return JournalState()
        minute, hour = found.tick_at_us // _MINUTE_US - _KEPT_MINUTES, found.tick_at_us // _HOUR_US - 1
        counters = self._store.counts.open_rows(journal, since_minute=minute)
        profiles = [
            ProfileDelta(route, version_hash, at, cells)
            for (route, version_hash, at, name), cells in sorted(self._store.profiles.items())
            if name == journal and at >= hour
        ]
        return JournalState(
            offset=found.offset, tick_at_us=found.tick_at_us, dead=found.dead, counters=counters, profiles=profiles
        )

    async def database_id(self) -> str:
        """Which store this is."""
        return self._store.database_id

    def _fold(self, batch: RecordBatch) -> None:
        self._store.commits += 1
        self._store.counts.write(batch.journal, batch.counters, revision=self._store.commits)
        for event in batch.first_events:
            kept = self._store.first_events.get((event.rollout, event.metric, event.unit_hash))
            if kept is None or event.start_at_us < kept.start_at_us:
                told = event._replace(journal=batch.journal, revision=self._store.commits)
                self._store.first_events[(event.rollout, event.metric, event.unit_hash)] = told
        for profile in batch.profiles:
            self._store.profiles[profile.route, profile.version_hash, profile.hour, batch.journal] = profile.cells
