"""Whole rollouts on the in-memory books: traffic, counters, evidence, decisions, second by second on a fake clock."""

import msgspec
import pytest

from canary.control.enact import Wish, create_rollout
from canary.rollout.plan import ShadowStage, Watch
from canary.rollout.state import Reason, RolloutState
from canary.terms import Action, Phase
from tests.support.control_world import QUICK, Behaviour, World, a_config

WISH = Wish(route="chat", candidate="v2")


async def begun(world: World, **config: object) -> RolloutState:
    """A rollout that was just created, its configuration published."""
    await world.plans.publish(a_config(**config), by="ada")  # type: ignore[arg-type]
    await world.fleet.follow()
    return await create_rollout(world.books, WISH, actor="ada")


def ended(state: RolloutState) -> bool:
    """True for a rollout that is over."""
    return state.phase.is_final


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_good_candidate_is_profiled_shadowed_ramped_watched_and_promoted(seed: int) -> None:
    world = World(seed=seed)
    rollout = await begun(world)
    state = await world.run(world.controller(), ended)
    assert state.phase is Phase.DONE, state.because
    assert await world.actions(rollout.id) == [
        Action.CREATE,
        Action.START,
        Action.ADVANCE,
        Action.ADVANCE,
        Action.PROMOTE,
        Action.FINISH,
    ]
    assert (await world.plans.in_force()).stable == {"chat": "v2"}
    assert list(world.fleet.served) == [0, 2_000, 5_000, 9_500]
    assert [segment.weight_bp for segment in state.segments] == [0, 2_000, 5_000, 9_500]


async def test_stable_changes_only_when_the_watch_is_over() -> None:
    world = World()
    await begun(world)
    controller = world.controller()
    state = await world.run(controller, lambda state: state.phase is Phase.WATCHING)
    assert (await world.plans.in_force()).stable == {"chat": "v1"}
    await world.run(controller, ended)
    assert world.clock.seconds > (state.segments[-1].opened_at - state.created_at).total_seconds() + QUICK.watch.for_s


async def test_a_candidate_that_is_bad_from_the_start_is_stopped_in_its_shadow() -> None:
    world = World()
    world.fleet.candidate = Behaviour(error_rate=0.08, slower=2.0)
    await begun(world)
    state = await world.run(world.controller(), ended)
    assert state.phase is Phase.ROLLED_BACK
    assert state.because.startswith("rolled back in the shadow: ")
    assert "candidate worse in" in state.because
    assert list(world.fleet.served) == [0]
    assert (await world.plans.in_force()).stable == {"chat": "v1"}


async def test_a_candidate_that_breaks_under_way_is_rolled_back_within_seconds() -> None:
    world = World()
    await begun(world)
    controller = world.controller()
    await world.run(controller, lambda state: state.stage == 0 and state.stage_acked_at is not None)
    world.fleet.candidate = Behaviour(error_rate=0.15)
    broke_s = world.clock.seconds
    state = await world.run(controller, ended)
    assert state.phase is Phase.ROLLED_BACK
    assert world.clock.seconds - broke_s <= 12
    assert state.because.startswith("rolled back: ")
    assert "over the needed" in state.because
    assert await world.actions(state.id) == [Action.CREATE, Action.START, Action.ADVANCE, Action.ROLL_BACK]


async def test_a_candidate_that_breaks_in_the_watch_gives_everything_back() -> None:
    world = World()
    await begun(world)
    controller = world.controller()
    await world.run(controller, lambda state: state.phase is Phase.WATCHING)
    world.fleet.candidate = Behaviour(error_rate=0.3)
    state = await world.run(controller, ended)
    assert (state.phase, (await world.plans.in_force()).stable) == (Phase.ROLLED_BACK, {"chat": "v1"})
    assert state.because.startswith("rolled back in the watch: ")


async def test_a_plan_without_shadow_and_watch_goes_straight() -> None:
    world = World()
    plan = msgspec.structs.replace(QUICK, shadow=ShadowStage(share_bp=0), watch=Watch(for_s=0))
    rollout = await begun(world, plan=plan)
    state = await world.run(world.controller(), ended)
    assert state.phase is Phase.DONE, state.because
    assert await world.actions(rollout.id) == [Action.CREATE, Action.START, Action.ADVANCE, Action.PROMOTE]
    assert (await world.plans.in_force()).stable == {"chat": "v2"}


async def test_a_warm_up_opens_each_stage_twice() -> None:
    world = World()
    rollout = await begun(world, plan=msgspec.structs.replace(QUICK, warm_up_s=3.0, watch=Watch(for_s=0)))
    await world.run(world.controller(), ended)
    step = [Action.OPEN, Action.ADVANCE]
    assert await world.actions(rollout.id) == [Action.CREATE, Action.START, *step, *step, Action.OPEN, Action.PROMOTE]


async def test_the_profile_is_waited_for_in_words_with_a_forecast() -> None:
    world = World(per_s=20)
    await begun(world)
    state = await world.run(world.controller(), lambda state: "about" in state.waiting)
    assert state.phase is Phase.PENDING
    assert state.waiting.startswith("profile ")
    assert state.waiting.endswith("more at the present rate")


async def test_a_silent_fleet_is_waited_for_and_never_counts_as_healthy() -> None:
    world = World()
    await begun(world)
    controller = world.controller()
    await world.run(controller, lambda state: state.stage == 0)
    for _ in range(120):
        world.clock.seconds += 1
        await controller.tick()
    state = (await world.rollouts.find())[0]
    assert state.stage == 0
    assert state.waiting.startswith("no evidence for ")
    silence = [row for row in await world.rows(state.id) if row.decision.reason is Reason.STALE]
    assert len(silence) == 1


async def test_a_fleet_that_loses_the_candidates_requests_is_held_not_promoted() -> None:
    world = World()
    world.fleet.lost_share = 0.6
    rollout = await begun(world)
    state = await world.run(world.controller(), lambda state: state.paused)
    assert state.because.startswith("held: the sample ratio is broken, ")
    assert (await world.actions(rollout.id))[-1] is Action.HOLD
    controller = world.controller()
    for _ in range(30):
        await world.second(controller)
    assert (await world.rollouts.get(rollout.id)).stage == state.stage


async def test_every_decision_that_moved_carries_its_numbers() -> None:
    world = World()
    rollout = await begun(world)
    await world.run(world.controller(), ended)
    rows = await world.rows(rollout.id)
    for row in rows[2:]:
        if row.decision.action in {Action.ADVANCE, Action.PROMOTE, Action.FINISH}:
            assert row.evidence is not None
            assert row.read
            assert row.before is not None
            assert (row.actor, row.epoch) == ("controller", 1)
    assert [row.revision for row in rows] == sorted({row.revision for row in rows})


async def test_notes_are_sparse() -> None:
    world = World()
    rollout = await begun(world)
    state = await world.run(world.controller(), ended)
    notes = [row for row in await world.rows(rollout.id) if row.decision.action is Action.KEEP]
    assert len(notes) <= world.clock.seconds / 5
    assert state.revision <= world.clock.seconds / 2
