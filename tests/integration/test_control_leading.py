"""Who decides: one leader at a time, no write by a deposed one, nothing twice when a controller is killed."""

from datetime import timedelta
from itertools import pairwise

import msgspec
import pytest

from canary.control.books import Books
from canary.control.enact import Wish, create_rollout, order
from canary.control.leader import RENEW_AFTER_S, TTL_S, Leader
from canary.control.loop import Loop
from canary.errors import StoreAway, StoreError
from canary.ports import Fence
from canary.rollout.state import DecisionRow, RolloutState, Trouble
from canary.rollout.transitions import MOVES, PASSED_THROUGH
from canary.store.memory import MemoryLeases
from canary.telemetry.guard import FAILURES
from canary.terms import Action, Phase
from tests.support.control_books import (
    AwayLeases,
    BrokenCounters,
    Countdown,
    Killed,
    MortalRollouts,
    RefusingRollouts,
    SlowRollouts,
)
from tests.support.control_world import Behaviour, FakeClock, World, a_config

WISH = Wish(route="chat", candidate="v2")


async def begun(world: World) -> RolloutState:
    """A rollout that was just created."""
    await world.plans.publish(a_config(), by="ada")
    await world.fleet.follow()
    return await create_rollout(world.books, WISH, actor="ada")


async def test_only_one_of_two_leads_and_renews_under_one_epoch() -> None:
    world = World()
    one = Leader(MemoryLeases(world.store), "one", elapsed=world.clock.elapsed)
    two = Leader(MemoryLeases(world.store), "two", elapsed=world.clock.elapsed)
    for _ in range(20):
        assert await one.lead() == Fence(name="control", epoch=1)
        assert await two.lead() is None
        world.clock.seconds += 1


async def test_the_lease_is_renewed_at_a_third_of_its_time() -> None:
    clock = FakeClock()
    world = World()
    world.store.clock = world.clock = clock
    leader = Leader(MemoryLeases(world.store), "one", elapsed=clock.elapsed)
    await leader.lead()
    clock.seconds = RENEW_AFTER_S - 0.01
    await leader.lead()
    assert (world.store.leases["control"].expires_at - clock.now()).total_seconds() < TTL_S - RENEW_AFTER_S + 0.1
    clock.seconds = RENEW_AFTER_S
    await leader.lead()
    assert (world.store.leases["control"].expires_at - clock.now()).total_seconds() == TTL_S


async def test_another_takes_over_when_the_lease_runs_out_under_the_next_epoch() -> None:
    world = World()
    one = Leader(MemoryLeases(world.store), "one", elapsed=world.clock.elapsed)
    two = Leader(MemoryLeases(world.store), "two", elapsed=world.clock.elapsed)
    await one.lead()
    world.clock.seconds += TTL_S - 0.1
    assert await two.lead() is None
    world.clock.seconds += 0.1
    assert await two.lead() == Fence(name="control", epoch=2)
    assert await one.lead() is None


async def test_who_resigns_is_followed_at_once() -> None:
    world = World()
    one = Leader(MemoryLeases(world.store), "one", elapsed=world.clock.elapsed)
    two = Leader(MemoryLeases(world.store), "two", elapsed=world.clock.elapsed)
    await one.lead()
    await one.resign()
    world.clock.seconds += 0.1
    assert await two.lead() == Fence(name="control", epoch=2)


async def test_a_renewal_that_failed_is_tried_again_before_anything_is_decided() -> None:
    world = World()
    leases = AwayLeases(world.store)
    leader = Leader(leases, "one", elapsed=world.clock.elapsed)
    await leader.lead()
    leases.away = True
    for _ in range(3):
        world.clock.seconds += RENEW_AFTER_S
        with pytest.raises(StoreAway):
            await leader.lead()
    leases.away = False
    assert await leader.lead() == Fence(name="control", epoch=2)


async def test_a_leader_knows_the_databases_time() -> None:
    world = World()
    leader = Leader(MemoryLeases(world.store), "one", elapsed=world.clock.elapsed)
    await leader.lead()
    assert leader.now() == world.clock.now()
    world.clock.seconds += 1.5
    assert leader.now() == world.clock.now()


async def test_the_other_controller_stands_by() -> None:
    world = World()
    rollout = await begun(world)
    one, two = world.controller("one"), world.controller("two")
    for _ in range(20):
        await world.second(one, two)
        assert not await two.tick()
    assert {row.epoch for row in (await world.rows(rollout.id))[1:]} == {1}


async def test_two_controllers_together_decide_as_one_does() -> None:
    alone, together = World(), World()
    first, second = await begun(alone), await begun(together)
    await alone.run(alone.controller(), lambda state: state.phase.is_final)
    one, two = together.controller("one"), together.controller("two")
    for _ in range(int(alone.clock.seconds)):
        await together.second(one, two)
    assert await together.actions(second.id) == await alone.actions(first.id)


@pytest.mark.parametrize("pause_s", [TTL_S, 60.0])
async def test_a_leader_paused_past_its_lease_writes_nothing(pause_s: float) -> None:
    world = World()
    rollout = await begun(world)
    slow = SlowRollouts(world, pause_s=pause_s, other=None)
    paused = world.controller("one", rollouts=slow)
    await world.fleet.serve_second(world.clock)
    before = await world.rollouts.get(rollout.id)
    assert not await paused.tick()
    assert await world.rollouts.get(rollout.id) == before
    assert len(await world.rows(rollout.id)) == 1
    assert [error.__name__ for error in slow.refused] == ["Deposed"]
    slow.free()
    assert await paused.tick()
    assert {row.epoch for row in (await world.rows(rollout.id))[1:]} == {2}


async def test_an_acknowledgement_is_written_under_the_lease_too() -> None:
    world = World()
    rollout = await begun(world)
    controller = world.controller("one")
    before = await world.run(controller, lambda state: state.phase is Phase.SHADOWING)
    slow = SlowRollouts(world, pause_s=TTL_S, other=None)
    await world.fleet.serve_second(world.clock)
    assert not await world.controller("one", rollouts=slow).tick()
    assert [error.__name__ for error in slow.refused] == ["Deposed"]
    assert await world.rollouts.get(rollout.id) == before


async def test_a_deposed_leader_asks_for_the_lease_before_it_looks_again() -> None:
    world = World()
    await begun(world)
    ours, attempts = FakeClock(), SlowRollouts(world, pause_s=0.0, other=None)
    leader = Leader(MemoryLeases(world.store), "one", elapsed=ours.elapsed)
    books = Books(rollouts=attempts, counters=world.counters, plans=world.plans, clock=world.clock)
    loop = Loop(books, leader, elapsed=ours.elapsed)
    await leader.lead()
    world.clock.seconds += TTL_S  # the database's clock was set: our own says that the lease still holds
    assert await Leader(MemoryLeases(world.store), "two", elapsed=world.clock.elapsed).lead() is not None
    assert not await loop.tick()
    assert not await loop.tick()
    assert [error.__name__ for error in attempts.refused] == ["Deposed"]


async def test_a_deposed_leader_that_wakes_up_does_not_decide_again_what_the_next_one_decided() -> None:
    world = World()
    rollout = await begun(world)
    other = world.controller("two")

    async def meanwhile() -> None:
        await world.second(other)

    slow = SlowRollouts(world, pause_s=TTL_S, other=meanwhile)
    paused = world.controller("one", rollouts=slow)
    for _ in range(6):
        await world.fleet.serve_second(world.clock)
    await paused.tick()
    assert slow.refused
    assert await world.actions(rollout.id) == [Action.CREATE, Action.START]
    assert (await world.rows(rollout.id))[-1].epoch == 2


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("calls", range(1, 16))
async def test_killed_at_any_step_nothing_is_decided_twice(calls: int, after: bool) -> None:
    world = World()
    rollout = await begun(world)
    mortal = world.controller("mortal", rollouts=MortalRollouts(world, Countdown(calls, after=after)))
    with pytest.raises(Killed):
        await world.run(mortal, lambda state: state.phase.is_final)
    state = await world.run(world.controller("heir"), lambda state: state.phase.is_final)
    assert state.phase is Phase.DONE, state.because
    check_story(await world.rows(rollout.id))
    assert await world.actions(rollout.id) == [
        Action.CREATE,
        Action.START,
        Action.ADVANCE,
        Action.ADVANCE,
        Action.PROMOTE,
        Action.FINISH,
    ]
    assert len({segment.id for segment in state.segments}) == len(state.segments) == 4


def check_story(rows: list[DecisionRow]) -> None:
    """Each row follows from the one before it by a move of the table, under epochs that never fall."""
    for before, row in pairwise(rows):
        assert row.revision > before.revision
        assert row.epoch >= before.epoch or row.epoch == 0
        if row.decision.action is Action.KEEP:
            assert row.phase is before.phase
        else:
            target = MOVES[before.phase, row.decision.action]
            assert row.phase in {target, PASSED_THROUGH.get(target)}


async def test_an_order_in_the_middle_of_a_tick_wins_and_the_tick_writes_nothing() -> None:
    world = World()
    rollout = await begun(world)

    async def hold() -> None:
        slow.free()
        await order(world.books, rollout.id, Action.HOLD, actor="bob", reason="lunch")

    slow = SlowRollouts(world, pause_s=0.0, other=hold)
    controller = world.controller(rollouts=slow)
    await world.fleet.serve_second(world.clock)
    failures = FAILURES["decide"]
    assert await controller.tick()
    assert [error.__name__ for error in slow.refused] == ["StaleRevision"]
    assert FAILURES["decide"] == failures  # nobody's fault: the next tick looks again
    assert await world.actions(rollout.id) == [Action.CREATE, Action.HOLD]


async def two_routes(world: World) -> tuple[RolloutState, RolloutState]:
    """A rollout on route `bad` and a younger one on route `chat`."""
    config = a_config()
    (chat,) = config.routes
    bad = msgspec.structs.replace(chat, name="bad")
    await world.plans.publish(msgspec.structs.replace(config, routes=(bad, chat)), by="ada")
    first = await create_rollout(world.books, Wish(route="bad", candidate="v2"), actor="ada")
    world.clock.seconds += 1
    return first, await create_rollout(world.books, WISH, actor="ada")


async def test_one_bad_rollout_does_not_stop_the_others() -> None:
    world = World()
    bad, good = await two_routes(world)
    controller = world.controller(counters=BrokenCounters(world, "bad", ValueError("cells are damaged")))
    failures = FAILURES["decide"]
    for _ in range(6):
        world.fleet._rollout = None
        await world.fleet.serve_second(world.clock)
        assert await controller.tick()
    assert (await world.rollouts.get(good.id)).phase is Phase.SHADOWING
    assert (await world.rollouts.get(bad.id)).phase is Phase.PENDING
    assert FAILURES["decide"] == failures + 6


async def test_a_rollout_whose_looks_fail_says_so_since_when_and_why_until_one_succeeds() -> None:
    world = World()
    bad, good = await two_routes(world)
    counters = BrokenCounters(world, "bad", ValueError("cells of ada@example.com are damaged"))
    controller = world.controller(counters=counters)
    for _ in range(3):
        world.clock.seconds += 1
        await controller.tick()
    found = await world.rollouts.get(bad.id)
    assert found.trouble is not None
    assert found.trouble.since == world.clock.now() - timedelta(seconds=2), "the first of them"
    assert found.trouble.error.startswith("ValueError at canary.control.look:")
    assert found.revision == bad.revision + 1, "told once, not at every tick"
    assert (await world.rollouts.get(good.id)).trouble is None
    counters.error = StoreError("a stored Profile cannot be read")
    await controller.tick()
    told = (await world.rollouts.get(bad.id)).trouble
    assert told == Trouble(since=found.trouble.since, error="StoreError: a stored Profile cannot be read")
    counters.error = None
    await controller.tick()
    assert (await world.rollouts.get(bad.id)).trouble is None
    assert [row.decision.action for row in await world.rows(bad.id)][:1] == [Action.CREATE]


async def test_trouble_stands_through_an_order_and_goes_with_the_rollout() -> None:
    world = World()
    bad, _ = await two_routes(world)
    controller = world.controller(counters=BrokenCounters(world, "bad", ValueError("damaged")))
    world.clock.seconds += 1
    await controller.tick()
    held = await order(world.books, bad.id, Action.HOLD, actor="bob", reason="what is this?")
    assert held.trouble is not None
    ended = await order(world.books, bad.id, Action.ROLL_BACK, actor="bob", reason="away with it")
    assert (ended.phase, ended.trouble) == (Phase.ROLLED_BACK, None)


async def test_trouble_that_cannot_be_told_stops_no_other_rollout() -> None:
    world = World()
    _, good = await two_routes(world)
    refusing = RefusingRollouts(world, "bad")
    controller = world.controller(counters=BrokenCounters(world, "bad", ValueError("damaged")), rollouts=refusing)
    for _ in range(6):
        world.fleet._rollout = None
        await world.fleet.serve_second(world.clock)
        assert await controller.tick()
    assert refusing.refused == 6
    assert (await world.rollouts.get(good.id)).phase is Phase.SHADOWING


async def test_a_database_that_is_away_ends_the_tick_and_the_next_one_goes_on() -> None:
    world = World()
    await two_routes(world)
    counters = BrokenCounters(world, "bad", StoreAway("connection refused"))
    controller = world.controller(counters=counters)
    with pytest.raises(StoreAway):
        await controller.tick()
    counters.error = None
    assert await controller.tick()


async def test_a_new_leader_does_not_repeat_what_the_last_one_noted() -> None:
    world = World(per_s=3)
    rollout = await begun(world)
    one = world.controller("one")
    for _ in range(12):
        await world.second(one)
    noted = len(await world.rows(rollout.id))
    world.clock.seconds += TTL_S
    two = world.controller("two")
    for _ in range(12):
        await world.second(two)
    assert len(await world.rows(rollout.id)) == noted


async def test_a_stage_waits_for_the_slowest_sidecar() -> None:
    world = World()
    rollout = await begun(world)
    controller = world.controller()
    behind = await world.plans.in_force()
    for _ in range(30):
        await world.plans.acknowledge("behind", behind.plan_revision, 1)
        await world.second(controller)
    state = await world.rollouts.get(rollout.id)
    assert (state.phase, state.stage_acked_at) == (Phase.SHADOWING, None)
    assert state.waiting.startswith("sidecars to acknowledge this stage")
    await world.run(controller, lambda state: state.stage == 0, within_s=12)  # gone for 10 s: nobody waits for it


async def test_rollbacks_need_no_acknowledgement() -> None:
    world = World()
    world.fleet.candidate = Behaviour(error_rate=0.5)
    await begun(world)
    controller = world.controller()
    behind = (await world.plans.in_force()).plan_revision
    for _ in range(20):
        await world.plans.acknowledge("behind", behind, 1)
        await world.second(controller)
    assert (await world.rollouts.find())[0].phase is Phase.ROLLED_BACK
