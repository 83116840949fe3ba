"""A look that fails is told on the rollout itself, which every process and page shows; a look that succeeds takes it back."""

import asyncio
from typing import Final

from canary.control.leader import Leader
from canary.errors import Deposed, StaleRevision, StoreAway
from canary.ports import Fence, RolloutBook
from canary.rollout.state import RolloutState
from canary.rollout.troubled import troubled, untroubled
from canary.telemetry.guard import guarded, in_short

DEADLINE_S: Final = 1.0
"""Of the telling: the other rollouts wait for it."""


class Troubles:
    """Tells of failed looks; what cannot be told now is told after the next look that fails."""

    def __init__(self, rollouts: RolloutBook, leader: Leader) -> None:
        self._rollouts = rollouts
        self._leader = leader

    async def tell(self, state: RolloutState, error: Exception | None, fence: Fence) -> Deposed | StoreAway | None:
        """Writes where what is told changes: an error of another kind, or none any more. Returns what ends the tick."""
        told = state.trouble.error if state.trouble is not None else ""
        said = "" if error is None else in_short(error)
        if _kind(said) == _kind(told):
            return None
        with guarded("tell of trouble"):
            try:
                async with asyncio.timeout(DEADLINE_S):
                    now = await self._rollouts.get(state.id)  # the look may have written before it failed
                    after = troubled(now, said, self._leader.now()) if said else untroubled(now)
                    await self._rollouts.save(now, after, None, fence=fence)
            except StaleRevision:
                return None
            except (Deposed, StoreAway) as end:
                return end
        return None


def _kind(error: str) -> str:
    """Texts may hold numbers that are new at every look; the first of a kind is told."""
    return error.partition(":")[0]
