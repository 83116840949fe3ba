"""The story of a tick: while it leads, a controller looks at every active rollout, decides and enacts."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from canary.control.books import Books
from canary.control.calibrating import Calibrator
from canary.control.closing import Closer
from canary.control.enact import enact
from canary.control.leader import Leader
from canary.control.look import Looks, Seen
from canary.control.notes import Notebook
from canary.control.record import CONTROLLER, Basis, Mandate, row_of
from canary.control.trouble import Troubles
from canary.errors import Deposed, StaleRevision, StoreAway
from canary.ports import Fence, SidecarAck
from canary.rollout.apply import acknowledged, apply
from canary.rollout.calibration import SPAN, Span
from canary.rollout.considered import considered
from canary.rollout.scoring_of import class_shares, scoring_spec
from canary.rollout.state import Before, Decision, RolloutState
from canary.rollout.trend import window_of
from canary.rollout.weighing import read_of
from canary.stats.freezing import freeze
from canary.stats.scoring import Scoring
from canary.telemetry.guard import guarded
from canary.telemetry.metrics import DECISIONS, LEADING, TICK_SECONDS
from canary.terms import Action, Phase

ACKS_WITHIN_S: Final = 10.0
"""A sidecar that said nothing for so long is gone, and no stage waits for it."""

ROLLOUT_DEADLINE_S: Final = 4.0
"""Below the lease's 5 s: one rollout whose reading hangs must not cost the lease of all others."""


class Loop:
    """Decides for every active rollout, once a tick; what it remembers between ticks only saves reading."""

    def __init__(
        self, books: Books, leader: Leader, *, span: Span = SPAN, elapsed: Callable[[], float] = time.monotonic
    ) -> None:
        """`span`: of the rounds of calibration."""
        self._books = books
        self._leader = leader
        self._elapsed = elapsed
        self._looks = Looks(books.counters, elapsed=elapsed)
        self._notebook = Notebook()
        self._troubles = Troubles(books.rollouts, leader)
        self._closer = Closer(books.counters, leader, elapsed=elapsed)
        self._calibrator = Calibrator(books, leader, saw=self._closer.saw, span=span, elapsed=elapsed)

    async def tick(self) -> bool:
        """One look at everything; False where another controller leads. Raises StoreAway."""
        leads = await self._leader.lead() is not None
        if leads:
            with TICK_SECONDS.time():
                leads = await self._look_at_all()
        LEADING.set(leads)
        return leads

    async def _look_at_all(self) -> bool:
        acks = await self._books.plans.acks(within_s=ACKS_WITHIN_S)
        states = await self._books.rollouts.active()
        self._forget_all_but({state.id for state in states})
        for state in states:
            fence = await self._leader.lead()
            if fence is None:
                return False
            stopped = await self._alone(state, acks, fence)
            if isinstance(stopped, Deposed):
                self._leader.deposed()
                return False
            if stopped is not None:
                raise stopped
        await self._calibrator.step()
        return await self._closer.close()

    async def _alone(self, state: RolloutState, acks: Sequence[SidecarAck], fence: Fence) -> Deposed | StoreAway | None:
        """One rollout, so that its trouble is not the trouble of the others; returns what ends the tick."""
        with guarded("decide") as look:
            try:
                async with asyncio.timeout(ROLLOUT_DEADLINE_S):
                    await self._follow(state, acks, fence)
            except StaleRevision:
                return None  # somebody moved it while we looked: the next tick looks again
            except (Deposed, StoreAway) as end:
                return end
        return await self._troubles.tell(state, look.failed, fence)

    async def _follow(self, state: RolloutState, acks: Sequence[SidecarAck], fence: Fence) -> None:
        state = await self._acknowledge(state, acks, fence)
        seen = await self._looks.look(state)
        self._closer.saw(state, seen)
        before = self._before(state, seen)
        found = considered(state, seen.counted, seen.evidence, before=before)
        decision = found.decision
        mandate = Mandate(actor=CONTROLLER, at=before.now, fence=fence)
        basis = Basis(evidence=found.evidence, read=read_of(seen.counted), before=before)
        if decision.action is Action.KEEP:
            await self._note(state, decision, mandate=mandate, basis=basis)
            return
        if decision.action is Action.START:
            shares = class_shares(seen.profile, state.measures) if seen.profile is not None else ()
            scoring = _frozen(state, seen, rate_per_s=before.profile_per_s)
            basis = msgspec.structs.replace(basis, scoring=scoring, class_shares=shares)
        await enact(self._books, state, decision=decision, mandate=mandate, basis=basis)
        self._wrote(state, decision)

    def _before(self, state: RolloutState, seen: Seen) -> Before:
        """All that this look's decision depends on beside the counts; the look itself is kept for later forecasts."""
        at_s, histories = self._elapsed(), self._books.histories
        window_s = window_of(state)
        past = histories.past(state.id, state.stage, at_s=at_s, window_s=window_s)
        if seen.evidence is not None:
            histories.note(state.id, state.stage, seen.evidence, at_s=at_s, window_s=window_s)
        return msgspec.structs.replace(
            Before.of(state, self._leader.now()),
            profile_n=seen.profile_n,
            profile_per_s=seen.profile_per_s,
            newest_tick_age_s=seen.evidence.newest_tick_age_s if seen.evidence is not None else None,
            past=past,
        )

    async def _acknowledge(self, state: RolloutState, acks: Sequence[SidecarAck], fence: Fence) -> RolloutState:
        after = acknowledged(state, [ack.plan_revision for ack in acks], self._leader.now())
        if after is state:
            return state
        return await self._books.rollouts.save(state, after, None, fence=fence)

    async def _note(self, state: RolloutState, decision: Decision, *, mandate: Mandate, basis: Basis) -> None:
        """Writes what a KEEP says, where that is news and not each second."""
        await self._recall(state)
        at_s = self._elapsed()
        if not self._notebook.is_due(state, decision, at_s):
            return
        after = apply(state, decision, mandate.at)
        row = None
        if self._notebook.is_news(state.id, decision, at_s):
            row = row_of(after, decision, mandate=mandate, basis=basis)
        await self._books.rollouts.save(state, after, row, fence=mandate.fence)
        if row is None:
            self._notebook.noted(state.id, at_s)
        else:
            self._wrote(state, decision)

    async def _recall(self, state: RolloutState) -> None:
        """A new leader reads what the one before it wrote last, so that it does not repeat it."""
        if self._notebook.knows(state.id):
            return
        for row in await self._books.rollouts.decisions(state.id, limit=1):
            self._notebook.wrote(state.id, row.decision, float("-inf"))

    def _wrote(self, state: RolloutState, decision: Decision) -> None:
        self._notebook.wrote(state.id, decision, self._elapsed())
        if decision.action is not Action.KEEP:
            DECISIONS.labels(decision=decision.action, reason=decision.reason).inc()

    def _forget_all_but(self, rollouts: set[str]) -> None:
        self._looks.forget_all_but(rollouts)
        self._closer.forget_all_but(rollouts)
        self._notebook.forget_all_but(rollouts)
        self._books.histories.forget_all_but(rollouts)


def _frozen(state: RolloutState, seen: Seen, *, rate_per_s: float | None) -> Scoring | None:
    """The scoring that a start freezes; None where there is too little of a profile, and then nothing is counted."""
    assert state.phase is Phase.PENDING, "only a pending rollout starts"
    if seen.profile is None or seen.profile_n < state.plan.min_profile:
        return None
    return freeze(seen.profile, scoring_spec(state, rate_per_s=rate_per_s))
