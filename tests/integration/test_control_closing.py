"""Closing as a part of a controller's tick: after decisions, seldom, and never anybody's trouble but its own."""

import asyncio

import pytest

from canary.control import closing
from canary.control.closing import EVERY_S, SLACK_S, Closer
from canary.control.creating import Wish, create_rollout
from canary.control.leader import Leader
from canary.control.look import Looks, Seen
from canary.errors import Deposed, StoreAway
from canary.ports import Fence, Moved
from canary.rollout.state import RolloutState
from canary.store.memory import MemoryCounters, MemoryLeases
from canary.telemetry.guard import FAILURES
from canary.terms import Phase
from tests.support.control_world import World, a_config
from tests.support.rollouts import a_state
from tests.support.scorings import a_scoring

SEEN = Seen(newest=40, old_minute=17)


class Watched(MemoryCounters):
    """Counters that tell what was moved when, and may have trouble."""

    def __init__(self, world: World) -> None:
        super().__init__(world.store)
        self._clock = world.clock
        self.moves: list[tuple[float, str, tuple[int, ...]]] = []
        self.trouble: Exception | None = None
        self.hangs = False

    async def close(self, rollout: str, *, fence: Fence, settle_us: int, most: int = 1_000) -> Moved:
        """As the book does, unless there is trouble."""
        self.moves.append((self._clock.seconds, rollout, (settle_us,)))
        if self.hangs:
            await asyncio.Event().wait()
        if self.trouble is not None:
            raise self.trouble
        return await super().close(rollout, fence=fence, settle_us=settle_us, most=most)

    async def fold(self, rollout: str, *, fence: Fence, minute: int, seen: int) -> int:
        """As the book does."""
        self.moves.append((self._clock.seconds, rollout, (minute, seen)))
        return await super().fold(rollout, fence=fence, minute=minute, seen=seen)


def a_closer(world: World, counters: Watched) -> Closer:
    """Of a controller that leads or will."""
    leader = Leader(MemoryLeases(world.store), "one", elapsed=world.clock.elapsed)
    return Closer(counters, leader, elapsed=world.clock.elapsed)


def counting(rollout: str = "r1") -> RolloutState:
    """A rollout that counts."""
    return a_state(Phase.CANARYING, id=rollout, scoring=a_scoring(), answer_timeout_s=10.0)


async def test_each_rollout_is_closed_at_most_once_in_ten_seconds() -> None:
    world = World()
    counters = Watched(world)
    closer = a_closer(world, counters)
    closer.saw(counting(), SEEN)
    begin = world.clock.seconds
    for _ in range(25):
        assert await closer.close()
        world.clock.seconds += 1
    settle_us = round((10.0 + SLACK_S) * 1e6)
    expected = [(begin + n * EVERY_S, "r1", what) for n in range(3) for what in ((settle_us,), (17, 40))]
    assert counters.moves == expected


async def test_what_counts_nothing_or_is_forgotten_is_left_alone() -> None:
    world = World()
    counters = Watched(world)
    closer = a_closer(world, counters)
    closer.saw(a_state(Phase.PENDING), Seen())
    closer.saw(counting("gone"), SEEN)
    closer.saw(counting("young"), Seen(newest=3))
    closer.forget_all_but({"young", "r1"})
    assert await closer.close()
    assert [(rollout, len(what)) for _, rollout, what in counters.moves] == [("young", 1)]


async def test_a_tick_closes_no_longer_than_its_budget_and_the_longest_waiting_first(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    counters = Watched(world)
    closer = a_closer(world, counters)
    for name in ("a", "b", "c"):
        closer.saw(counting(name), Seen())
    monkeypatch.setattr(closing, "BUDGET_S", -1.0)  # used up from the start
    assert await closer.close()
    assert counters.moves == []
    monkeypatch.undo()
    assert await closer.close()
    assert [rollout for _, rollout, _ in counters.moves] == ["a", "b", "c"]


async def test_a_deposed_leader_stops() -> None:
    world = World()
    counters = Watched(world)
    closer = a_closer(world, counters)
    closer.saw(counting("a"), Seen())
    closer.saw(counting("b"), Seen())
    counters.trouble = Deposed("another leads")
    assert not await closer.close()
    assert len(counters.moves) == 1


@pytest.mark.parametrize("trouble", [StoreAway("gone for a moment"), ValueError("cells are damaged"), None])
async def test_trouble_is_counted_and_goes_no_further(monkeypatch: pytest.MonkeyPatch, trouble: Exception | None) -> None:
    world = World()
    counters = Watched(world)
    counters.trouble, counters.hangs = trouble, trouble is None
    monkeypatch.setattr(closing, "DEADLINE_S", 0.01)
    closer = a_closer(world, counters)
    closer.saw(counting("a"), SEEN)
    closer.saw(counting("b"), SEEN)
    failures = FAILURES["close"]
    assert await closer.close()
    assert [rollout for _, rollout, _ in counters.moves] == ["a", "b"]
    assert FAILURES["close"] == failures + 2


async def test_a_rollout_runs_to_its_end_while_its_minutes_move() -> None:
    """And whoever looks anew sees what the leader sees, from fewer rows."""
    world = World(per_s=60)
    await world.plans.publish(a_config(), by="ada")
    await world.fleet.follow()
    counters = Watched(world)
    rollout = await create_rollout(world.books, Wish(route="chat", candidate="v2"), actor="ada")
    controller = world.controller(counters=counters)
    kept = Looks(counters, elapsed=world.clock.elapsed)
    for second in range(600):
        await world.second(controller)
        state = await world.rollouts.get(rollout.id)
        if state.phase.is_final:
            break
        if state.scoring is not None and second % 20 == 0:
            assert (await kept.look(state)).counted == (await Looks(counters).look(state)).counted
    assert (await world.rollouts.get(rollout.id)).phase is Phase.DONE
    rows, _ = await counters.read(rollout.id)
    assert any(row.journals == ("j1",) for row in rows), f"nothing moved in {second} s"
