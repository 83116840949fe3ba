"""Books with troubles of their own around the in-memory ones: they die, sleep, break or go away at a step."""

from typing import Any

from canary.errors import StoreAway, StoreError
from canary.ports import Lease
from canary.rollout.state import DecisionRow, RolloutState
from canary.store.memory import MemoryCounters, MemoryLeases, MemoryRollouts
from tests.support.control_world import World


class Killed(BaseException):
    """The process is gone: nothing of it runs on."""


class Countdown:
    """Kills at one of the calls of the books, before or after it took effect."""

    def __init__(self, calls: int, *, after: bool) -> None:
        self.left = calls
        self.after = after

    def step(self, *, done: bool) -> None:
        """One side of a call; raises Killed when its time has come."""
        if done is self.after:
            self.left -= 1
            if self.left == 0:
                raise Killed


class MortalRollouts(MemoryRollouts):
    """Rollouts of a controller that dies at a step."""

    def __init__(self, world: World, countdown: Countdown) -> None:
        super().__init__(world.store)
        self._countdown = countdown

    async def next_segment(self) -> int:
        """As the book does."""
        self._countdown.step(done=False)
        segment = await super().next_segment()
        self._countdown.step(done=True)
        return segment

    async def save(self, before: RolloutState, after: RolloutState, row: DecisionRow | None, **how: Any) -> RolloutState:
        """As the book does."""
        self._countdown.step(done=False)
        saved = await super().save(before, after, row, **how)
        self._countdown.step(done=True)
        return saved


class SlowRollouts(MemoryRollouts):
    """Rollouts of a controller that is paused before its save reaches the book."""

    def __init__(self, world: World, *, pause_s: float, other: Any) -> None:
        super().__init__(world.store)
        self._world = world
        self._pause_s = pause_s
        self._other = other
        self.refused: list[type[Exception]] = []

    def free(self) -> None:
        """No more pauses."""
        self._pause_s, self._other = 0.0, None

    async def save(self, before: RolloutState, after: RolloutState, row: DecisionRow | None, **how: Any) -> RolloutState:
        """Sleeps, then writes as the book does."""
        self._world.clock.seconds += self._pause_s
        if self._other is not None:
            await self._other()
        try:
            return await super().save(before, after, row, **how)
        except Exception as error:
            self.refused.append(type(error))
            raise


class RefusingRollouts(MemoryRollouts):
    """Rollouts that cannot be written for one route."""

    def __init__(self, world: World, route: str) -> None:
        super().__init__(world.store)
        self._route = route
        self.refused = 0

    async def save(self, before: RolloutState, after: RolloutState, row: DecisionRow | None, **how: Any) -> RolloutState:
        """As the book does, for other routes."""
        if after.route == self._route:
            self.refused += 1
            raise StoreError(f"RolloutState {after.id} cannot be stored")
        return await super().save(before, after, row, **how)


class AwayLeases(MemoryLeases):
    """Leases in a database that can go away."""

    away = False

    async def acquire(self, name: str, holder: str, ttl_s: float) -> Lease | None:
        """As the book does, while it is there."""
        if self.away:
            raise StoreAway("connection refused")
        return await super().acquire(name, holder, ttl_s)


class BrokenCounters(MemoryCounters):
    """Counters that cannot be read for one rollout."""

    def __init__(self, world: World, rollout: str, error: Exception) -> None:
        super().__init__(world.store)
        self._broken = rollout
        self.error: Exception | None = error

    async def profile(self, route: str, version_hash: str, *, hours: int = 24) -> Any:
        """Fails for route `bad`."""
        if route == self._broken and self.error is not None:
            raise self.error
        return await super().profile(route, version_hash, hours=hours)
