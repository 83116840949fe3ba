"""A small fleet on the in-memory books: traffic, couriers and controllers on one fake clock, second by second."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from canary.config.document import Config
from canary.control.books import Books
from canary.control.leader import Leader
from canary.control.loop import Loop
from canary.rollout.plan import Margins, MarginSpec, Plan, ShadowStage, Stage, Watch
from canary.rollout.state import DecisionRow, RolloutState
from canary.rollout.traffic import traffic
from canary.split.spec import Deadlines, MatchSpec, RouteSpec, Split, VersionSpec
from canary.stats.counts import to_bytes
from canary.stats.profile import profile_cells
from canary.store.memory import MemoryCounters, MemoryLeases, MemoryPlans, MemoryRecorder, MemoryRollouts, MemoryStore
from canary.store.rows import CounterDelta, ProfileDelta, RecordBatch
from canary.terms import Action
from tests.support.rollouts import T0
from tests.support.streams import Answers, Stream, end_keys, lognormal_answers, pair_end_keys, pair_start_keys, start_keys

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US

QUICK = Plan(
    name="quick",
    shadow=ShadowStage(share_bp=3_000, min_pairs=300),
    stages=(Stage(weight_bp=2_000, dwell_s=5.0), Stage(weight_bp=5_000, dwell_s=5.0)),
    watch=Watch(for_s=20.0, holdback_bp=500),
    margins=Margins(
        error=MarginSpec(rollback_rho=1.10, rollback_delta=0.0005, promote_rho=2.0, promote_delta=0.03),
        p50=MarginSpec(rollback_d=0.03, promote_d=0.5),
        p95=MarginSpec(rollback_d=0.05, promote_d=1.0),
        p99=MarginSpec(rollback_d=0.10),
    ),
    alpha_rollback=0.005,
    min_profile=1_000,
    warm_up_s=0.0,
    max_duration_s=600.0,
)
"""Wide margins and short stages: a good candidate takes about a minute of simulated time at 300 requests a second."""


class FakeClock:
    """The database's time and every process' monotonic clock, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        """Database time."""
        return T0 + timedelta(seconds=self.seconds)

    def elapsed(self) -> float:
        """Monotonic seconds."""
        return self.seconds


def a_config(plan: Plan = QUICK, **route: Any) -> Config:
    """One route `chat` with versions v1 (stable), v2 and v3, and one plan."""
    versions = tuple(VersionSpec(name=name, hash=f"hash-{name}", upstream="http://127.0.0.1:1") for name in ("v1", "v2", "v3"))
    usual = {"match": MatchSpec(), "versions": versions, "stable": "v1", "deadlines": Deadlines(connect_s=0.5, answer_s=2.0)}
    return Config(routes=(RouteSpec(name="chat", **(usual | route)),), plans=(plan,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How a version answers."""

    error_rate: float = 0.005
    slower: float = 1.0

    def answers(self, rng: np.random.Generator, n: int) -> Answers:
        """Answers to n requests."""
        return lognormal_answers(rng, n, error_rate=self.error_rate, slower=self.slower)


class Fleet:
    """One sidecar: splits traffic as it was told last, counts as the courier does, commits a tick each second."""

    def __init__(self, store: MemoryStore, *, per_s: int = 300, skew_s: float = 3_600.0, seed: int = 1) -> None:
        self._store = store
        self._plans = MemoryPlans(store)
        self._recorder = MemoryRecorder(store)
        self._rng = np.random.default_rng(seed)
        self._per_s = per_s
        self._skew_us = round(skew_s * SECOND_US)  # sidecars' clocks may be wrong by an hour
        self._rollout: RolloutState | None = None
        self._split: Split | None = None
        self._cells: dict[tuple[str, int, int], Counter[int]] = {}
        self._profiles: dict[int, Counter[int]] = {}
        self._offset = 0
        self.candidate = Behaviour()
        self.lost_share = 0.0  # of the candidate's requests that are never counted: a fault in the fleet
        self.served: Counter[int] = Counter()  # requests by the weight under which they were assigned

    async def serve_second(self, clock: FakeClock) -> None:
        """One second of traffic, then the commit of its tick, then the plan that is in force by then."""
        start_us = round(clock.now().timestamp() * SECOND_US) + self._skew_us
        touched = self._count(start_us)
        clock.seconds += 1
        await self._commit(start_us + SECOND_US, touched)
        await self.follow()

    async def follow(self) -> None:
        """Takes the plan in force and says so."""
        plan = await self._plans.in_force()
        self._rollout = plan.rollouts[0] if plan.rollouts else None
        self._split = traffic(self._rollout) if self._rollout is not None else None
        await self._plans.acknowledge("sidecar", plan.plan_revision, 1)

    def _count(self, start_us: int) -> list[tuple[str, int, int]]:
        n = int(self._rng.poisson(self._per_s))
        starts = np.sort(self._rng.integers(start_us, start_us + SECOND_US, n))
        stable, candidate = Behaviour().answers(self._rng, n), self.candidate.answers(self._rng, n)
        split, rollout = self._split, self._rollout
        weight = split.weight_bp / 10_000 if split is not None else 0.0
        taken = self._rng.random(n) < weight
        self.served[split.weight_bp if split is not None else 0] += n
        self._fold_profile(start_us, stable, ~taken)
        if split is None or rollout is None or rollout.scoring is None:
            return []
        kept = ~taken | (self._rng.random(n) >= self.lost_share)
        stream = Stream(start_us=starts, candidate=taken, answers=_either(taken, candidate, stable))
        stream = Stream(start_us=starts[kept], candidate=taken[kept], answers=_some(stream.answers, kept))
        copied = ~taken & (self._rng.random(n) < split.shadow_bp / 10_000)
        ends, there = pair_end_keys(rollout.scoring, starts[copied], _some(stable, copied), _some(candidate, copied))
        keys = np.concatenate(
            [start_keys(stream), end_keys(rollout.scoring, stream), pair_start_keys(starts[copied]), ends[there]]
        )
        key = (split.rollout, split.segment, start_us // MINUTE_US)
        self._cells.setdefault(key, Counter()).update(keys.tolist())
        return [key]

    def _fold_profile(self, start_us: int, stable: Answers, served: np.ndarray) -> None:
        cells = self._profiles.setdefault(start_us // HOUR_US, Counter())
        for index in np.flatnonzero(served).tolist():
            cells.update(profile_cells(stable.fact(index)))

    async def _commit(self, tick_at_us: int, touched: list[tuple[str, int, int]]) -> None:
        batch = RecordBatch(
            journal="j1",
            sidecar="sidecar",
            seen=self._offset,
            offset=self._offset + 1,
            tick_at_us=tick_at_us,
            counters=[CounterDelta(*key, to_bytes(dict(self._cells[key]))) for key in touched],
            profiles=[ProfileDelta("chat", "hash-v1", hour, to_bytes(dict(c))) for hour, c in self._profiles.items()],
        )
        await self._recorder.commit(batch)
        self._offset += 1


def _either(mask: np.ndarray, yes: Answers, no: Answers) -> Answers:
    return Answers.of(
        age_us=np.where(mask, yes.age_us, no.age_us),
        latency_us=np.where(mask, yes.latency_us, no.latency_us),
        failed=np.where(mask, yes.failed, no.failed),
    )


def _some(answers: Answers, mask: np.ndarray) -> Answers:
    return Answers.of(age_us=answers.age_us[mask], latency_us=answers.latency_us[mask], failed=answers.failed[mask])


class World:
    """The books, a fleet, and as many controllers as a test wants."""

    def __init__(self, *, per_s: int = 300, seed: int = 1) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore(self.clock)
        self.plans = MemoryPlans(self.store)
        self.rollouts = MemoryRollouts(self.store)
        self.counters = MemoryCounters(self.store)
        self.books = Books(rollouts=self.rollouts, counters=self.counters, plans=self.plans, clock=self.clock)
        self.fleet = Fleet(self.store, per_s=per_s, seed=seed)

    def controller(self, holder: str = "one", **books: Any) -> Loop:
        """A controller on these books, or on others that wrap them."""
        used = {"rollouts": self.rollouts, "counters": self.counters, "plans": self.plans, "clock": self.clock} | books
        leases = used.pop("leases", None) or MemoryLeases(self.store)
        return Loop(Books(**used), Leader(leases, holder, elapsed=self.clock.elapsed), elapsed=self.clock.elapsed)

    async def second(self, *controllers: Loop) -> None:
        """One second of traffic, then a tick of each controller."""
        await self.fleet.serve_second(self.clock)
        for controller in controllers:
            await controller.tick()

    async def run(self, controller: Loop, until: Callable[[RolloutState], bool], *, within_s: int = 300) -> RolloutState:
        """Seconds go by until the newest rollout is as wanted; AssertionError if it never is."""
        for _ in range(within_s):
            await self.second(controller)
            state = (await self.rollouts.find(limit=1))[0]
            if until(state):
                return state
        raise AssertionError(f"not within {within_s} s; it is {state.phase}, stage {state.stage}: {state.because}")

    async def actions(self, rollout: str) -> list[Action]:
        """What was decided, oldest first, notes left out."""
        return [row.decision.action for row in await self.rows(rollout) if row.decision.action is not Action.KEEP]

    async def rows(self, rollout: str) -> list[DecisionRow]:
        """All decision rows, oldest first."""
        return list(await self.rollouts.decisions(rollout, limit=10_000))[::-1]
