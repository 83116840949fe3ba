"""A fleet whose users stay on their arm: frames as workers write them, folded by the courier's own code."""

import heapq
import itertools

import numpy as np

from canary.courier.cells import Cells
from canary.courier.fold import Fold
from canary.courier.known import Known, learn
from canary.courier.tally import Tally
from canary.ports import PlanInForce
from canary.split.assign import arm_of, bucket_of
from canary.split.spec import Split
from canary.store.frames import Frame, Live, Open, Pair, Side, Tick
from canary.store.memory import MemoryPlans, MemoryRecorder, MemoryStore
from canary.store.rows import JournalState, RecordBatch
from canary.terms import Arm, AssignedBy, Ending
from tests.support.control_world import SECOND_US, Behaviour, FakeClock, World


class UserFleet:
    """One sidecar whose requests come from a few hundred users, some of them busy, two in a hundred of them unlucky."""

    def __init__(self, store: MemoryStore, *, users: int = 600, per_s: int = 60, seed: int = 1) -> None:
        self._plans = MemoryPlans(store)
        self._recorder = MemoryRecorder(store)
        self._rng = np.random.default_rng(seed)
        self._per_s = per_s
        activity = np.exp(self._rng.normal(0.0, 1.0, users)).cumsum()
        self._reach = activity / activity[-1]
        self._unlucky = self._rng.random(users) < 0.02
        self._speed = np.exp(self._rng.normal(0.0, 0.1, users))
        self._fold = Fold(known=Known(), cells=Cells.of(JournalState()), tally=Tally())
        self._due: list[tuple[int, int, Frame]] = []
        self._ids = itertools.count(1)
        self._split: Split | None = None
        self._offset = 0
        self.candidate = Behaviour(error_rate=0.0)
        self.broken_user: int | None = None  # whose every request fails, if it is the candidate's

    async def serve_second(self, clock: FakeClock) -> None:
        """One second of traffic, then the commit of its tick, then the plan that is in force by then."""
        start_us = round(clock.now().timestamp() * SECOND_US)
        for at_us in np.sort(self._rng.integers(start_us, start_us + SECOND_US, self._rng.poisson(self._per_s))).tolist():
            self._request(at_us)
        until_us = start_us + SECOND_US
        frames = []
        while self._due and self._due[0][0] < until_us:
            frames.append(heapq.heappop(self._due)[2])
        clock.seconds += 1
        self._fold.fold([*frames, Tick(at_us=until_us, snapshot_revision=1)])
        await self._commit()
        await self.follow()

    async def follow(self) -> None:
        """Takes the plan in force and says so."""
        plan: PlanInForce = await self._plans.in_force()
        self._split = None
        for state in plan.rollouts:
            self._fold.known = learn(self._fold.known, plan.published, states=[state], revision=plan.plan_revision)
            segment = state.segment
            if segment is not None and not state.phase.is_final:
                self._split = Split(
                    rollout=state.id,
                    segment=segment.id,
                    salt=state.salt,
                    candidate=state.candidate,
                    weight_bp=segment.weight_bp,
                    shadow_bp=segment.shadow_bp,
                )
        if not plan.rollouts:
            self._fold.known = learn(self._fold.known, plan.published, states=[], revision=plan.plan_revision)
        await self._plans.acknowledge("sidecar", plan.plan_revision, 1)

    def break_one(self, salt: bytes, *, weight_bp: int, share: float) -> None:
        """From now on one of the candidate's users sends that share of all requests, and all of them fail."""
        users = range(len(self._reach))
        user = next(user for user in users if arm_of(bucket_of(salt, user.to_bytes(8, "big")), weight_bp) is Arm.CANDIDATE)
        sends = np.diff(self._reach, prepend=0.0)
        sends[user] = share / (1 - share) * (1.0 - sends[user])
        self._reach = (sends / sends.sum()).cumsum()
        self.broken_user = user

    def _request(self, at_us: int) -> None:
        user = int(np.searchsorted(self._reach, self._rng.random()))
        unit = user.to_bytes(8, "big")
        exchange = next(self._ids).to_bytes(16, "big")
        split, arm = self._split, Arm.STABLE
        if split is not None:
            arm = arm_of(bucket_of(split.salt, unit), split.weight_bp)
        copied = split is not None and arm is Arm.STABLE and self._rng.random() < split.shadow_bp / 10_000
        side = self._side(user, arm)
        live = Live(
            exchange_id=exchange,
            route="chat",
            segment=split.segment if split else 0,
            stratum=0,
            arm=arm,
            assigned_by=AssignedBy.HASH if split else AssignedBy.DEFAULT,
            start_at_us=at_us,
            unit_hash=unit,
            bucket=0,
            weight_bp=split.weight_bp if split else 0,
            method="GET",
            path="/",
            side=side,
            mirror="v2" if copied else "",
        )
        if split is not None:
            opened = Open(exchange, split.segment, 0, arm, at_us, copied, unit_hash=unit)
            self._later(at_us, opened)
        self._later(at_us + side.end_us, live)
        if copied:
            shadow = self._side(user, Arm.CANDIDATE)
            self._later(at_us + max(side.end_us, shadow.end_us) + 1, Pair(live=live, shadow=shadow))

    def _side(self, user: int, arm: Arm) -> Side:
        behaviour = self.candidate if arm is Arm.CANDIDATE else Behaviour(error_rate=0.0)
        rate = 0.2 if self._unlucky[user] else 0.001
        failed = self._rng.random() < rate + behaviour.error_rate or (arm is Arm.CANDIDATE and user == self.broken_user)
        took = 0.1e6 * self._speed[user] * behaviour.slower * float(np.exp(self._rng.normal(0.0, 0.3)))
        return Side(
            version="v2" if arm is Arm.CANDIDATE else "v1",
            ending=Ending.WHOLE,
            status=500 if failed else 200,
            connect_us=100,
            written_us=200,
            first_byte_us=round(took) - 100,
            end_us=round(took),
        )

    def _later(self, at_us: int, frame: Frame) -> None:
        heapq.heappush(self._due, (at_us, next(self._ids), frame))

    async def _commit(self) -> None:
        fold = self._fold
        fold.take()  # rows of outcomes are nothing to decisions
        counters, profiles = fold.cells.take(fold.tick_at_us)
        batch = RecordBatch(
            journal="j1",
            sidecar="sidecar",
            seen=self._offset,
            offset=self._offset + 1,
            tick_at_us=fold.tick_at_us,
            counters=counters,
            profiles=profiles,
            first_events=fold.units.take(),
        )
        await self._recorder.commit(batch)
        self._offset += 1


class StickyWorld(World):
    """The books and a fleet of users."""

    def __init__(self, *, seed: int = 1, users: int = 600, per_s: int = 60) -> None:
        super().__init__(seed=seed)
        self.fleet: UserFleet = UserFleet(self.store, users=users, per_s=per_s, seed=seed)  # type: ignore[assignment]
