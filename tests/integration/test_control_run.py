"""The controller's life: it leads, survives its database, and gives the lease back."""

import asyncio
import dataclasses
from collections.abc import Sequence

import pytest

from canary.control.enact import Wish, create_rollout
from canary.control.look import Looks
from canary.control.run import run_controller
from canary.errors import StoreAway
from canary.ports import Lease, SidecarAck
from canary.rollout.weighing import read_of
from canary.store.memory import MemoryLeases, MemoryPlans
from canary.telemetry.guard import FAILURES
from canary.terms import Phase
from tests.support.control_world import World, a_config
from tests.support.deadline import wait_until


class Flaky(MemoryPlans):
    """Plans whose first readings meet trouble."""

    def __init__(self, world: World, *troubles: Exception) -> None:
        super().__init__(world.store)
        self.troubles = list(troubles)
        self.asked = 0

    async def acks(self, *, within_s: float = 10.0) -> Sequence[SidecarAck]:
        """Fails as long as there is trouble left."""
        self.asked += 1
        if self.troubles:
            raise self.troubles.pop(0)
        return await super().acks(within_s=within_s)


class Unwilling(MemoryLeases):
    """Leases that cannot be given back."""

    async def release(self, lease: Lease) -> None:
        """Fails."""
        raise StoreAway("gone")


async def started(
    world: World, stop: asyncio.Event, *, plans: MemoryPlans, leases: MemoryLeases | None = None
) -> asyncio.Task[None]:
    """A controller under way."""
    life = run_controller(
        books=dataclasses.replace(world.books, plans=plans),
        leases=leases or MemoryLeases(world.store),
        holder="one",
        stop=stop,
    )
    return asyncio.ensure_future(life)


async def test_it_leads_until_it_is_told_to_stop_and_gives_the_lease_back() -> None:
    world, stop = World(), asyncio.Event()
    plans = Flaky(world)
    task = await started(world, stop, plans=plans)
    await wait_until(lambda: plans.asked, what="the first tick")
    assert world.store.leases["control"].expires_at > world.clock.now()
    stop.set()
    await asyncio.wait_for(task, 5)
    assert world.store.leases["control"].expires_at <= world.clock.now()


async def test_one_that_cannot_decide_leaves_the_lease_to_others() -> None:
    world, stop = World(), asyncio.Event()
    plans = Flaky(world, *[ValueError("strange") for _ in range(1_000)])
    task = await started(world, stop, plans=plans)
    await wait_until(lambda: plans.asked, what="the first tick")
    await wait_until(lambda: world.store.leases["control"].expires_at <= world.clock.now(), what="the lease given back")
    assert not task.done()
    stop.set()
    await asyncio.wait_for(task, 5)


async def test_it_survives_a_database_that_is_away_and_any_other_trouble() -> None:
    world, stop, failures = World(), asyncio.Event(), FAILURES["tick"]
    plans = Flaky(world, StoreAway("connection refused"), ValueError("strange"))
    task = await started(world, stop, plans=plans)
    await wait_until(lambda: plans.asked >= 3, what="the third tick")
    stop.set()
    await asyncio.wait_for(task, 5)
    assert not plans.troubles
    assert FAILURES["tick"] == failures + 1  # what is away comes back; what is strange is counted


async def test_a_lease_that_cannot_be_given_back_does_not_hold_it_up() -> None:
    world, stop = World(), asyncio.Event()
    plans = Flaky(world)
    task = await started(world, stop, plans=plans, leases=Unwilling(world.store))
    await wait_until(lambda: plans.asked, what="the first tick")
    stop.set()
    await asyncio.wait_for(task, 5)


async def test_cancelling_it_gives_the_lease_back_too() -> None:
    world, stop = World(), asyncio.Event()
    plans = Flaky(world)
    task = await started(world, stop, plans=plans)
    await wait_until(lambda: plans.asked, what="the first tick")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.store.leases["control"].expires_at <= world.clock.now()


async def test_anyone_may_look_and_sees_what_the_leader_sees() -> None:
    world = World()
    await world.plans.publish(a_config(), by="ada")
    await world.fleet.follow()
    rollout = await create_rollout(world.books, Wish(route="chat", candidate="v2"), actor="ada")
    looks = Looks(world.counters, elapsed=world.clock.elapsed)
    assert await looks.evidence(rollout) is None
    controller = world.controller()
    state = await world.run(controller, lambda state: state.phase is Phase.CANARYING)
    advanced = (await world.rows(rollout.id))[-1]
    assert read_of((await looks.look(state)).counted) == advanced.read
    state = await world.run(controller, lambda state: state.phase.is_final)
    kept, anew = await looks.look(state), await Looks(world.counters).look(state)
    assert kept.counted == anew.counted
    assert kept.evidence == anew.evidence
    assert not looks._open.get("nobody")
