"""Keeps one round of calibration open for every route, ends it with its alarm or its time, and writes down what came of it."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec

from canary.control.books import Books
from canary.control.identity import new_id, new_salt
from canary.control.leader import Leader
from canary.control.look import PROFILE_HOURS, Looks, Seen
from canary.control.record import CONTROLLER, Basis, Mandate, row_of
from canary.errors import Conflict, Deposed, StaleRevision
from canary.ports import Fence, PlanInForce
from canary.rollout.calibration import PLAN, SPAN, Round, Span, real_route, round_begun, round_ended, round_segment
from canary.rollout.state import Before, Decision, Reason, RolloutState
from canary.rollout.weighing import read_of
from canary.split.spec import RouteSpec, VersionSpec
from canary.telemetry.guard import guarded
from canary.terms import Action, Phase

EVERY_S: Final = 5.0
"""Between two looks: nobody waits for an alarm that is false."""

DEADLINE_S: Final = 2.0


class Calibrator:
    """The leader's steps; a fault in one of them costs a round, never a decision."""

    def __init__(
        self,
        books: Books,
        leader: Leader,
        *,
        saw: Callable[[RolloutState, Seen], None],
        span: Span = SPAN,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`saw` is told of each look, so that closed counts are moved together as any rollout's are."""
        self._books = books
        self._saw = saw
        self._leader = leader
        self._span = span
        self._elapsed = elapsed
        self._looks = Looks(books.counters, elapsed=elapsed)
        self._next_s = 0.0

    async def step(self) -> None:
        """One look at every round, where that is due. Raises what saving under a lost lease raises, guarded by the caller."""
        if self._books.calibration is None or self._elapsed() < self._next_s:
            return
        self._next_s = self._elapsed() + EVERY_S
        with guarded("calibrate"):
            async with asyncio.timeout(DEADLINE_S):
                fence = await self._leader.lead()
                if fence is not None:
                    await self._look_at_all(await self._books.plans.in_force(), fence)

    async def _look_at_all(self, plan: PlanInForce, fence: Fence) -> None:
        open_rounds = {real_route(state): state for state in plan.calibrations}
        self._looks.forget_all_but({state.id for state in plan.calibrations})
        routes = plan.published.config.routes if plan.published is not None else ()
        wanted = {route.name: (route, route.version(plan.stable.get(route.name, route.stable))) for route in routes}
        for name, state in open_rounds.items():
            await self._follow(state, wanted.get(name), fence)
        for name, (route, stable) in wanted.items():
            if name not in open_rounds:
                await self._begin(route, stable)

    async def _begin(self, route: RouteSpec, stable: VersionSpec) -> None:
        profile = await self._books.counters.profile(route.name, stable.hash, hours=PROFILE_HOURS)
        if profile.n < PLAN.min_profile:
            return
        now = self._leader.now()
        opened = round_segment(await self._books.rollouts.next_segment(), now)
        state = round_begun(route, stable, profile, id_=new_id(now), salt=new_salt(), opened=opened)
        begun = Decision(action=Action.CREATE, because="a round of calibration began", reason=Reason.PROFILE)
        try:
            await self._books.rollouts.create(state, row_of(state, begun, mandate=Mandate(actor=CONTROLLER, at=now)))
        except Conflict:
            return  # another leader began one

    async def _follow(self, state: RolloutState, wanted: tuple[RouteSpec, VersionSpec] | None, fence: Fence) -> None:
        seen, now = await self._looks.look(state), self._leader.now()
        self._saw(state, seen)
        ended = round_ended(state, seen.evidence, now, span=self._span)
        changed = wanted is None or wanted[1].hash != state.stable_hash
        if ended is None and not changed:
            return
        text = "what it compares has changed, so it tells nothing" if ended is None else _told(ended)
        if ended is not None:
            assert self._books.calibration is not None
            await self._books.calibration.record(ended)  # first, and only once: an end that is not saved is told again
        decision = Decision(action=Action.CANCEL, because=f"the round is over: {text}", reason=Reason.FINISHED)
        after = msgspec.structs.replace(
            state, phase=Phase.CANCELLED, revision=state.revision + 1, because=decision.because, ended_at=now
        )
        basis = Basis(evidence=seen.evidence, read=read_of(seen.counted), before=Before.of(state, now))
        row = row_of(after, decision, mandate=Mandate(actor=CONTROLLER, at=now, fence=fence), basis=basis)
        try:
            await self._books.rollouts.save(state, after, row, fence=fence)
        except (StaleRevision, Deposed):
            return  # another leader ends it


def _told(ended: Round) -> str:
    word = f"a false alarm of {ended.metric}" if ended.alarmed else "no alarm"
    return f"{word} in {ended.requests:,} requests of {ended.route}"
