"""Closed counts move together, so that a new look reads no more than two hours: after the decisions, and never for long."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from canary.control.leader import Leader
from canary.control.look import Seen
from canary.errors import Deposed
from canary.ports import CounterBook
from canary.rollout.state import RolloutState
from canary.telemetry.guard import guarded
from canary.terms import Frozen

EVERY_S: Final = 10.0
"""For one rollout: its minutes close one by one."""

BUDGET_S: Final = 0.25
"""Of one tick, for all rollouts together; the others wait for the next one."""

DEADLINE_S: Final = 2.0
"""Of one move: the next tick's decisions wait no longer for it."""

SLACK_S: Final = 5.0
"""Couriers count for 2 s beyond the timeout; here a little later is no harm."""


class _Due(Frozen, frozen=True, kw_only=True):
    """What is known of a rollout's counters since the last look."""

    settle_us: int
    newest: int
    old_minute: int


class Closer:
    """Remembers what each look saw, and moves what is closed of it."""

    def __init__(self, counters: CounterBook, leader: Leader, *, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._counters = counters
        self._leader = leader
        self._elapsed = elapsed
        self._due: dict[str, _Due] = {}
        self._closed_s: dict[str, float] = {}

    def saw(self, state: RolloutState, seen: Seen) -> None:
        """A look at a rollout whose exchanges count."""
        if state.scoring is not None:
            settle_us = int((state.answer_timeout_s + SLACK_S) * 1e6)
            self._due[state.id] = _Due(settle_us=settle_us, newest=seen.newest, old_minute=seen.old_minute)

    def forget_all_but(self, rollouts: set[str]) -> None:
        """Drops what was seen of every other rollout."""
        self._due = {rollout: due for rollout, due in self._due.items() if rollout in rollouts}
        self._closed_s = {rollout: at_s for rollout, at_s in self._closed_s.items() if rollout in rollouts}

    async def close(self) -> bool:
        """Those whose turn it is, the longest waiting first; False where another controller leads."""
        began_s = self._elapsed()
        waiting = sorted(self._due, key=lambda rollout: self._closed_s.get(rollout, float("-inf")))
        for rollout in waiting:
            now_s = self._elapsed()
            if now_s - began_s > BUDGET_S or now_s - self._closed_s.get(rollout, float("-inf")) < EVERY_S:
                break
            self._closed_s[rollout] = now_s
            if not await self._close(rollout, self._due[rollout]):
                return False
        return True

    async def _close(self, rollout: str, due: _Due) -> bool:
        """What cannot be moved now is moved later: nobody waits for it, so its trouble is counted and goes no further."""
        fence = await self._leader.lead()
        if fence is None:
            return False
        with guarded("close"):
            try:
                async with asyncio.timeout(DEADLINE_S):
                    await self._counters.close(rollout, fence=fence, settle_us=due.settle_us)
                    if due.old_minute:
                        await self._counters.fold(rollout, fence=fence, minute=due.old_minute, seen=due.newest)
            except Deposed:
                self._leader.deposed()
                return False
        return True
