"""What people look at is forgotten with its rollout, also where this process does not lead."""

from canary.control.sight import Sight
from canary.rollout.state import RolloutState
from canary.terms import Action, Phase
from tests.support.control_world import World
from tests.support.rollouts import a_state
from tests.support.scorings import a_scoring
from tests.support.store_rows import a_decision


async def a_rollout(world: World, id_: str) -> RolloutState:
    """One that counts, on a route of its own."""
    state = a_state(Phase.CANARYING, id=id_, route=id_, scoring=a_scoring())
    return await world.rollouts.create(state, a_decision(f"{id_}-created", rollout=id_, action=Action.CREATE))


async def test_ended_rollouts_are_forgotten_though_nobody_looks_at_one() -> None:
    world = World()
    sight = Sight(world.books, elapsed=world.clock.elapsed)
    ended, goes_on = await a_rollout(world, "ended"), await a_rollout(world, "goes-on")
    for state in (ended, goes_on):
        await sight.see(state)
    assert set(sight._looks._open) == {"ended", "goes-on"}
    assert set(world.books.histories._kept) == {"ended", "goes-on"}
    over = a_state(Phase.DONE, id="ended", route="ended", revision=2)
    await world.rollouts.save(ended, over, None)
    world.clock.seconds += 61
    await sight.see(goes_on)
    assert set(sight._looks._open) == {"goes-on"}
    assert set(world.books.histories._kept) == {"goes-on"}
