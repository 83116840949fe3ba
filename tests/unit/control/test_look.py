"""Looks read on from where the last one ended, also past a reading that broke off."""

import asyncio
from collections.abc import Sequence

import pytest

from canary.control.look import Looks
from canary.errors import CountersMoved, StoreAway
from canary.rollout.state import RolloutState
from canary.stats.counts import CounterRow
from canary.stats.scoring import Fact
from canary.store.memory import MemoryCounters, MemoryRecorder
from canary.store.rows import CounterDelta, RecordBatch
from canary.terms import Arm, Phase
from tests.support.control_world import World
from tests.support.plain_scores import Request
from tests.support.rollouts import a_state
from tests.support.scorings import a_scoring, rows_of_requests
from tests.support.streams import EPOCH_US

SCORING = a_scoring()
FINE = Fact(age_us=100_000, latency_us=99_000, failed=False, left=False)


class Moving(MemoryCounters):
    """Counters that move away from a reader once, and then break while it reads them anew."""

    def __init__(self, world: World) -> None:
        super().__init__(world.store)
        self.moved = False
        self.breaks: type[BaseException] | None = None

    async def read(self, rollout: str, *, since: int = 0) -> tuple[Sequence[CounterRow], int]:
        """As the book does, but for its trouble."""
        if self.moved and since:
            self.moved = False
            raise CountersMoved("moved")
        if self.breaks is not None and not since:
            trouble, self.breaks = self.breaks, None
            raise trouble("broke off")
        return await super().read(rollout, since=since)


async def count(world: World, state: RolloutState, minute: int, *, damaged: bool = False) -> None:
    """One request of stable's in a minute after the first, committed with its tick."""
    start_us = EPOCH_US + minute * 60_000_000
    row = rows_of_requests(SCORING, [Request(start_us=start_us, arm=Arm.STABLE, fact=FINE)])[0]
    batch = RecordBatch(
        journal="j0",
        sidecar="s",
        seen=minute,
        offset=minute + 1,
        tick_at_us=start_us + 60_000_000,
        counters=[CounterDelta(state.id, 7, row.minute, b"damaged" if damaged else row.cells)],
    )
    await MemoryRecorder(world.store).commit(batch)


@pytest.mark.parametrize("trouble", [StoreAway, asyncio.CancelledError])
async def test_a_reading_anew_that_breaks_off_begins_anew_the_next_time(trouble: type[BaseException]) -> None:
    world = World()
    counters = Moving(world)
    looks, state = Looks(counters), a_state(Phase.CANARYING, scoring=SCORING)
    for minute in range(3):
        await count(world, state, minute)
    assert (await looks.look(state)).evidence.assigned_stable == 3  # type: ignore[union-attr]
    await count(world, state, 3)
    counters.moved, counters.breaks = True, trouble
    with pytest.raises(trouble):
        await looks.look(state)
    assert (await looks.look(state)).evidence.assigned_stable == 4  # type: ignore[union-attr]


async def test_a_look_that_fails_is_followed_by_one_that_reads_all_anew() -> None:
    """Somebody removes a damaged row: it must not live on in memory, and what was read beside it must not be lost."""
    world = World()
    looks, state = Looks(world.counters), a_state(Phase.CANARYING, scoring=SCORING)
    await count(world, state, 0)
    await count(world, state, 1, damaged=True)
    for _ in range(2):
        with pytest.raises(ValueError, match="cells of format"):
            await looks.look(state)
    world.store.counts._rows = {key: row for key, row in world.store.counts._rows.items() if row[0] != b"damaged"}
    await count(world, state, 2)
    assert (await looks.look(state)).evidence.assigned_stable == 2  # type: ignore[union-attr]
