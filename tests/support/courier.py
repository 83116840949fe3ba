"""A courier's surroundings without Postgres: books that keep the Recorder's contract, a plan, a tail that steps."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from canary.config.document import Config
from canary.courier.books import Books
from canary.courier.rejected import Rejected
from canary.courier.tail import Context, Tail
from canary.courier.tally import Tally
from canary.courier.watch import PlanWatch
from canary.errors import NotFound, StaleRevision
from canary.ports import Fence, PlanInForce, Published
from canary.rollout.state import DecisionRow, RolloutState
from canary.split.spec import MatchSpec, RecordSpec, RouteSpec, VersionSpec
from canary.stats.first_event import FirstEventRow
from canary.stats.freezing import freeze
from canary.stats.profile import Profile, profile_cells
from canary.stats.scoring import Fact, Scoring
from canary.stats.spec import ScoringSpec
from canary.store.rows import BodyRow, CounterDelta, JournalState, OutcomeRow, PairRow, ProfileDelta, RecordBatch
from canary.store.spool import JournalDir
from canary.terms import Phase, RouteKind
from tests.support.rollouts import T0, a_state

DATABASE = "11111111-2222-3333-4444-555555555555"


def a_scoring(**spec: Any) -> Scoring:
    """Frozen from 2,000 stable answers of 10 to 30 ms; answers time out after 2 s."""
    cells: dict[int, int] = {}
    for i in range(2_000):
        latency_us = 10_000 + i * 10
        for key in profile_cells(Fact(age_us=latency_us, latency_us=latency_us, failed=False, left=False)):
            cells[key] = cells.get(key, 0) + 1
    return freeze(Profile.of(cells), ScoringSpec(answer_timeout_s=2.0, connect_timeout_s=1.0, **spec))


def a_route(**fields: Any) -> RouteSpec:
    """Route `chat` with v1 in charge and v2 beside it."""
    versions = tuple(VersionSpec(name=name, hash=f"hash-{name}", upstream="http://127.0.0.1:9") for name in ("v1", "v2"))
    usual: dict[str, Any] = {"name": "chat", "match": MatchSpec(), "versions": versions, "stable": "v1"}
    return RouteSpec(**(usual | fields))


def a_rollout(**fields: Any) -> RolloutState:
    """A rollout that is shadowing in segment 7, scored."""
    return a_state(Phase.SHADOWING, **({"scoring": a_scoring(), "answer_timeout_s": 2.0} | fields))


def a_sticky_rollout(**fields: Any) -> RolloutState:
    """A rollout of users, in the canary at 5 % in segment 7, scored."""
    usual: dict[str, Any] = {"scoring": a_scoring(sticky=True), "answer_timeout_s": 2.0, "sticky": True}
    return a_state(Phase.CANARYING, **(usual | fields))


def a_plan_in_force(*rollouts: RolloutState, revision: int = 5, database_id: str = DATABASE, **route: Any) -> PlanInForce:
    """One published route and the rollouts given."""
    config = Config(routes=(a_route(**route),), plans=())
    published = Published(revision=1, hash=config.hash, config=config, published_at=T0, published_by="ada")
    return PlanInForce(
        plan_revision=revision, database_id=database_id, published=published, stable={"chat": "v1"}, rollouts=rollouts
    )


def recording(bodies: str = "full", kind: RouteKind = RouteKind.HTTP) -> dict[str, Any]:
    """Route fields that keep bodies."""
    return {"record": RecordSpec(bodies=bodies), "kind": kind}


class FakeRecords:
    """The Recorder's contract in memory: a batch is whole or not there, and moves the offset only from where it says."""

    def __init__(self) -> None:
        self.offsets: dict[str, int] = {}
        self.ticks: dict[str, int] = {}
        self.dead: set[str] = set()
        self.outcomes: list[OutcomeRow] = []
        self.pairs: list[PairRow] = []
        self.bodies: list[BodyRow] = []
        self.counters: dict[tuple[str, str, int, int, int], bytes] = {}
        self.profiles: dict[tuple[str, str, str, int], bytes] = {}
        self.first_events: dict[tuple[str, str, bytes], FirstEventRow] = {}
        self.rejected = 0
        self.commits: list[RecordBatch] = []
        self.before: Callable[[RecordBatch], None] = lambda _batch: None  # may raise: nothing is committed
        self.after: Callable[[RecordBatch], None] = lambda _batch: None  # may raise: committed, and the answer lost

    async def commit(self, batch: RecordBatch) -> datetime:
        """Whole or not at all."""
        self.before(batch)
        if self.offsets.get(batch.journal, 0) != batch.seen:
            raise StaleRevision(f"offset {batch.seen} is not the committed one")
        self.commits.append(batch)
        self.offsets[batch.journal] = batch.offset
        self.ticks[batch.journal] = max(self.ticks.get(batch.journal, 0), batch.tick_at_us)
        if batch.dead:
            self.dead.add(batch.journal)
        self.outcomes += batch.outcomes
        self.pairs += batch.pairs
        self.bodies += batch.bodies
        self.rejected += batch.rejected
        self.counters |= {(c.rollout, batch.journal, c.segment, c.minute, c.part): c.cells for c in batch.counters}
        self.profiles |= {(p.route, p.version_hash, batch.journal, p.hour): p.cells for p in batch.profiles}
        for event in batch.first_events:
            kept = self.first_events.setdefault(event[:3], event)
            if event.start_at_us < kept.start_at_us:
                self.first_events[event[:3]] = event
        self.after(batch)
        return datetime.now(tz=UTC)

    async def load(self, journal: str) -> JournalState:
        """What is committed."""
        return JournalState(
            offset=self.offsets.get(journal, 0),
            tick_at_us=self.ticks.get(journal, 0),
            dead=journal in self.dead,
            counters=[CounterDelta(r, s, m, cells, p) for (r, j, s, m, p), cells in self.counters.items() if j == journal],
            profiles=[ProfileDelta(r, v, h, cells) for (r, v, j, h), cells in self.profiles.items() if j == journal],
        )


class FakePlans:
    """A plan that a test sets."""

    def __init__(self, plan: PlanInForce) -> None:
        self.plan = plan
        self.fails: Exception | None = None
        self.acknowledged: list[tuple[str, int, int]] = []
        self.looks = 0

    async def in_force(self) -> PlanInForce:
        """The plan, or the failure."""
        self.looks += 1
        if self.fails is not None:
            raise self.fails
        return self.plan

    async def acknowledge(self, sidecar: str, plan_revision: int, workers: int) -> None:
        """Kept for the test."""
        self.acknowledged.append((sidecar, plan_revision, workers))

    async def acks(self, *, within_s: float = 10.0) -> Sequence[Any]:
        """Unused here."""
        raise NotImplementedError

    async def publish(self, config: Config, *, by: str) -> Published:
        """Unused here."""
        raise NotImplementedError


class FakeRollouts:
    """Rollouts by id, and the decisions saved."""

    def __init__(self, *states: RolloutState) -> None:
        self.states = {state.id: state for state in states}
        self.rows: list[DecisionRow] = []

    async def get(self, rollout: str) -> RolloutState:
        """By id."""
        if rollout not in self.states:
            raise NotFound(rollout)
        return self.states[rollout]

    async def find(self, *, route: str | None = None, limit: int = 100) -> Sequence[RolloutState]:
        """All of them."""
        return [*self.states.values()][:limit]

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
        """Only from the stored revision."""
        if self.states[before.id].revision != before.revision:
            raise StaleRevision(before.id)
        self.states[after.id] = after
        self.rows += [row] if row else []
        return after


class FakeHearing:
    """Silence."""

    async def hear(self) -> AsyncIterator[str]:
        """One hint."""
        yield ""


class FakeHouse:
    """Counts its calls."""

    def __init__(self) -> None:
        self.kept: list[int] = []

    async def tidy(self, *, keep_days: int) -> None:
        """Kept for the test."""
        self.kept.append(keep_days)


class Surroundings:
    """Fakes, and tails over them that a test steps by hand."""

    def __init__(self, state_dir: Path, plan: PlanInForce | None = None) -> None:
        self.state_dir = state_dir
        self.spool = state_dir / "journal"
        self.records = FakeRecords()
        self.plans = FakePlans(plan or a_plan_in_force(a_rollout()))
        self.rollouts = FakeRollouts(*self.plans.plan.rollouts)
        self.tally = Tally()
        self.house = FakeHouse()

    @property
    def books(self) -> Books:
        """All fakes."""
        return Books(self.records, self.plans, self.rollouts, FakeHearing(), self.house)  # type: ignore[arg-type]

    def tail(self, journal: JournalDir) -> Tail:
        """A fresh courier's tail: what an earlier one held in memory is gone."""
        context = Context(
            sidecar="s1",
            records=self.records,
            watch=PlanWatch(self.state_dir, self.books),
            rejected=Rejected(self.state_dir / "rejected", self.tally),
            tally=self.tally,
        )
        return Tail(journal, context)


async def carried(tail: Tail) -> None:
    """Steps until nothing is left to do now."""
    while not tail.finished and await tail.step():
        pass
