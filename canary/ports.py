"""The seams with two implementations: Postgres in production, the in-memory twin in tests and simulations."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from canary.config.document import Config
from canary.rollout.calibration import Round
from canary.rollout.state import DecisionRow, RolloutState
from canary.stats.counts import CounterRow, Horizon
from canary.stats.first_event import FirstEventRow
from canary.stats.profile import Profile
from canary.terms import Frozen, Measures


class Clock(Protocol):
    """Aware UTC instants."""

    def now(self) -> datetime:
        """The present instant."""
        ...


class Lease(Frozen, frozen=True, kw_only=True):
    """The right to decide, and the epoch that fences old leaders."""

    name: str
    holder: str
    epoch: int
    expires_at: datetime  # database time


class Published(Frozen, frozen=True, kw_only=True):
    """A configuration as put in force: never obeyed by itself, see `stable`."""

    revision: int
    hash: str
    config: Config
    published_at: datetime
    published_by: str


class PlanInForce(Frozen, frozen=True, kw_only=True):
    """All that a snapshot is made of, read in one transaction."""

    plan_revision: int  # grows with every publication and every saved decision
    database_id: str
    published: Published | None
    stable: dict[str, str]  # route -> version in charge
    rollouts: tuple[RolloutState, ...]  # those not final
    calibrations: tuple[RolloutState, ...] = ()  # open rounds: stable compared with itself, without traffic of their own
    led: bool = False  # a controller's lease was alive, by the database's clock

    def measures(self, route: str) -> Measures | None:
        """What a route declares beside failures and latency; None where no such route is published."""
        spec = self.published.config.route(route) if self.published is not None else None
        return spec.measures if spec is not None else None


class SidecarAck(Frozen, frozen=True, kw_only=True):
    """What a sidecar said last."""

    sidecar: str
    plan_revision: int  # in force in all of its workers
    seen_at: datetime  # database time
    workers: int


class Fence(Frozen, frozen=True, kw_only=True):
    """The lease under which a controller writes; an operator's order has none."""

    name: str
    epoch: int


class Moved(Frozen, frozen=True, kw_only=True):
    """What a closing did, and what is there now."""

    rows: int  # of journals, moved into the fleet's
    oldest: int | None = None  # minutes of the fleet's rows
    newest: int | None = None


class Move(Frozen, frozen=True, kw_only=True):
    """A decision that moved something, in short: whose it was and why."""

    actor: str
    because: str


class RolloutBook(Protocol):
    """Rollouts and their decisions: one door to the state, one audit trail."""

    async def active(self) -> Sequence[RolloutState]:
        """All rollouts whose phase is not final, oldest first."""
        ...

    async def get(self, rollout: str) -> RolloutState:
        """One rollout by id; raises NotFound."""
        ...

    async def find(self, *, route: str | None = None, limit: int = 100) -> Sequence[RolloutState]:
        """Newest first."""
        ...

    async def create(self, state: RolloutState, row: DecisionRow, *, published: int | None = None) -> RolloutState:
        """Stores revision 1; raises Conflict if the route has an active rollout, or if `published` is no longer the file's."""
        ...

    async def next_segment(self) -> int:
        """A segment id never given before (> 0); gaps are harmless."""
        ...

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
        """State, decision row, and (promotion) the route's stable in one transaction.

        Writes only where the stored revision is `before.revision` and, with a fence, where the lease still has that epoch
        and has not expired; raises StaleRevision or Deposed and writes nothing otherwise. Returns `after` with
        revision = before.revision + 1 and, if `moves_traffic`, with the new global `plan_revision`. NOTIFY on commit.
        A `row` of None saves what is no decision: an acknowledgement or a waiting text.
        """
        ...

    async def decisions(self, rollout: str, *, limit: int = 200) -> Sequence[DecisionRow]:
        """Newest first."""
        ...

    async def moved_since(self, rollout: str, revision: int) -> Move | None:
        """The newest decision after that revision that was more than a note (KEEP); None where there is none."""
        ...

    async def decision(self, decision: str) -> DecisionRow:
        """One decision by id; raises NotFound."""
        ...


class CalibrationBook(Protocol):
    """Rounds of calibration that have ended."""

    async def record(self, ended: Round) -> None:
        """Stores a round once, however often it is told."""
        ...

    async def rounds(self, *, route: str | None = None, limit: int = 1_000) -> Sequence[Round]:
        """Newest first."""
        ...


class LeaseBook(Protocol):
    """Who leads. Time is the database's."""

    async def acquire(self, name: str, holder: str, ttl_s: float) -> Lease | None:
        """Takes a free or expired lease (epoch + 1) or renews one's own (same epoch); None where another holds it."""
        ...

    async def release(self, lease: Lease) -> None:
        """Gives it back at once; the epoch stays."""
        ...


class CounterBook(Protocol):
    """Cumulative counters of every journal: a G-counter, whatever the order and however often it is read.

    Closed minutes move: from the journals' rows into one row of the fleet, and after two hours from there into a total. A count
    is at each moment in exactly one place, and every row says which rows it stands in place of, see `CounterRow`.
    """

    async def read(self, rollout: str, *, since: int = 0) -> tuple[Sequence[CounterRow], int]:
        """Rows of the rollout's segments whose revision is > since, as of one moment, and the newest revision.

        Raises CountersMoved where a reader so far behind cannot know what has moved: it reads anew from 0, which is never much.
        """
        ...

    async def close(self, rollout: str, *, fence: Fence, settle_us: int, most: int = 1_000) -> Moved:
        """Moves journals' rows whose minute is closed into the fleet's: at most so many at once, oldest first.

        A minute is closed once the journal's committed tick has passed its end by `settle_us`, the age after which nothing
        counts any more, or the journal is dead and recorded to its end. Raises Deposed and moves nothing where the lease is
        not held. What a courier holds at this moment is left for the next time.
        """
        ...

    async def fold(self, rollout: str, *, fence: Fence, minute: int, seen: int) -> int:
        """Moves the fleet's rows up to `minute` into totals, those with a revision <= `seen`; returns how many. Raises Deposed.

        The caller has read up to `seen`, so that nothing moves away unseen; where another one was further, nothing moves.
        """
        ...

    async def first_events(self, rollout: str, *, since: int = 0) -> tuple[Sequence[FirstEventRow], int]:
        """First events of sticky units whose revision is > since, and the newest revision. Ask for horizons before."""
        ...

    async def horizons(self, rollout: str) -> Sequence[Horizon]:
        """For every journal that has counters of this rollout: its last committed tick, whether its writer is dead, and whether
        it is silent: nobody said that it ended, and no tick of it was committed for ten minutes of database time.

        Ask before `read`: then the rows hold at least all that these ticks promise.
        """
        ...

    async def freshness(self, rollout: str) -> float | None:
        """Seconds of database time since a tick of any of these journals was committed; None: never."""
        ...

    async def profile(self, route: str, version_hash: str, *, hours: int = 24) -> Profile:
        """The route's stable outcomes of the last hours, merged; an empty profile where there are none."""
        ...


class PlanBook(Protocol):
    """What is published and in force, and who follows it."""

    async def in_force(self) -> PlanInForce:
        """One consistent reading."""
        ...

    async def publish(self, config: Config, *, by: str) -> Published:
        """Stores the next revision, or returns the latest where its hash is the same.

        A new route takes the file's stable; a route whose `stable` in the file differs from that of the latest published file
        takes it as an operator's order; otherwise the stable in charge stays. Raises VersionInUse (with all problems) where
        a version or plan of an active rollout, or a stable in charge, would be removed or changed.
        """
        ...

    async def acks(self, *, within_s: float = 10.0) -> Sequence[SidecarAck]:
        """Sidecars seen lately."""
        ...

    async def acknowledge(self, sidecar: str, plan_revision: int, workers: int) -> None:
        """Upserts one sidecar's word; seen_at is database time."""
        ...
