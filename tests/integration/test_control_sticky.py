"""Whole rollouts of users that stay on their arm: frames, courier's fold, counters, first events, evidence, decisions."""

import msgspec
import pytest

from canary.control.enact import Wish, create_rollout
from canary.rollout.plan import ShadowStage, Stage, Watch
from canary.rollout.state import RolloutState
from canary.split.spec import UnitSpec
from canary.terms import Action, Phase, Scored, UnitSource
from tests.support.control_world import QUICK, Behaviour, a_config
from tests.support.sticky_world import StickyWorld

PLAN = msgspec.structs.replace(
    QUICK,
    stages=(Stage(weight_bp=2_000, dwell_s=60.0), Stage(weight_bp=5_000, dwell_s=60.0)),
    watch=Watch(for_s=60.0, holdback_bp=2_000),
    warm_up_s=5.0,
    max_duration_s=3_600.0,
)
NO_SHADOW = msgspec.structs.replace(PLAN, shadow=ShadowStage(share_bp=0))

pytestmark = pytest.mark.timeout(240)


async def begun(world: StickyWorld, plan: object = PLAN) -> RolloutState:
    """A rollout that was just created on a route whose units are users."""
    unit = UnitSpec(source=UnitSource.HEADER, name="x-user-id")
    await world.plans.publish(a_config(plan, unit=unit), by="ada")  # type: ignore[arg-type]
    await world.fleet.follow()
    return await create_rollout(world.books, Wish(route="chat", candidate="v2"), actor="ada")


def ended(state: RolloutState) -> bool:
    return state.phase.is_final


async def test_a_good_candidate_of_users_is_profiled_shadowed_ramped_watched_and_promoted() -> None:
    world = StickyWorld(users=2_000)
    rollout = await begun(world)
    state = await world.run(world.controller(), ended, within_s=1_500)
    assert state.phase is Phase.DONE, state.because
    assert [action for action in await world.actions(rollout.id) if action is not Action.OPEN] == [
        Action.CREATE,
        Action.START,
        Action.ADVANCE,
        Action.ADVANCE,
        Action.PROMOTE,
        Action.FINISH,
    ]
    assert Scored.FAILURES in {segment.scored for segment in state.segments}
    for row in await world.rows(rollout.id):
        if row.evidence is not None and row.evidence.metrics:
            assert row.evidence.abstains == ""
            assert not row.evidence.sample_ratio_broken


async def test_a_candidate_that_fails_users_in_the_shadow_is_stopped_there() -> None:
    world = StickyWorld()
    world.fleet.candidate = Behaviour(error_rate=0.2)
    rollout = await begun(world)
    state = await world.run(world.controller(), ended, within_s=900)
    assert (state.phase, state.stage) == (Phase.ROLLED_BACK, -1), state.because
    assert state.because.startswith("rolled back in the shadow: errors and timeouts: candidate worse in ")
    assert (await world.actions(rollout.id))[-1] is Action.ROLL_BACK


async def test_a_candidate_that_fails_users_is_rolled_back_by_their_first_failures() -> None:
    world = StickyWorld()
    world.fleet.candidate = Behaviour(error_rate=0.3)
    await begun(world, NO_SHADOW)
    state = await world.run(world.controller(), ended, within_s=900)
    assert state.phase is Phase.ROLLED_BACK, state.because
    assert state.because.startswith("rolled back: errors")


async def test_one_user_for_whom_everything_fails_rolls_nothing_back() -> None:
    """He sends a tenth of all requests; by requests the candidate is a hundred times worse."""
    world = StickyWorld(seed=3)
    rollout = await begun(world, NO_SHADOW)
    controller = world.controller()
    state = await world.run(controller, lambda state: state.stage == 0, within_s=300)
    world.fleet.break_one(state.salt, weight_bp=2_000, share=0.1)
    for _ in range(420):
        await world.second(controller)
    state = await world.rollouts.get(rollout.id)
    assert state.phase is Phase.CANARYING, state.because
