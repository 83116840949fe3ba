"""What people order: how a rollout begins, and how it is moved by hand."""

import msgspec
import pytest

from canary.control.books import Books
from canary.control.enact import Wish, create_rollout, order, promote_to_full
from canary.control.record import Mandate, row_of
from canary.errors import CanaryError, Conflict, IllegalTransition, NotFound, Refused, StaleRevision
from canary.rollout.plan import ShadowStage, Watch
from canary.rollout.state import Decision, DecisionRow, Reason, RolloutState
from canary.store.memory import MemoryRollouts
from canary.terms import Action, Phase
from tests.support.control_world import QUICK, Behaviour, World, a_config
from tests.support.rollouts import T0

WISH = Wish(route="chat", candidate="v2", plan="quick")


async def published(**config: object) -> World:
    """A world with a configuration in force."""
    world = World()
    await world.plans.publish(a_config(**config), by="ada")  # type: ignore[arg-type]
    await world.fleet.follow()
    return world


async def in_stage(stage: int, **config: object) -> tuple[World, RolloutState]:
    """A rollout moved by hand to a stage (-1: shadow)."""
    world = await published(**config)
    await create_rollout(world.books, WISH, actor="ada")
    return world, await world.run(world.controller(), lambda state: state.stage == stage)


async def give(world: World, rollout: RolloutState, action: Action, **more: int) -> RolloutState:
    """An order of bob's."""
    return await order(world.books, rollout.id, action, actor="bob", reason="looks right", **more)


async def test_a_new_rollout_takes_everything_from_what_is_in_force() -> None:
    world = await published()
    state = await create_rollout(world.books, msgspec.structs.replace(WISH, reason="cheaper"), actor="ada")
    assert (state.phase, state.revision, state.created_by) == (Phase.PENDING, 1, "ada")
    assert (state.stable, state.candidate) == ("v1", "v2")
    assert (state.stable_hash, state.candidate_hash) == ("hash-v1", "hash-v2")
    assert (state.plan, state.plan_hash) == (QUICK, QUICK.hash)
    assert (state.answer_timeout_s, state.connect_timeout_s, state.sticky) == (2.0, 0.5, False)
    (row,) = await world.rows(state.id)
    assert (row.decision.action, row.actor, row.epoch, row.revision) == (Action.CREATE, "ada", 0, 1)
    assert row.decision.because == "created by ada: v2 against v1 under plan 'quick': cheaper"


async def test_every_rollout_has_its_own_salt() -> None:
    world = await published()
    first = await create_rollout(world.books, WISH, actor="ada")
    await give(world, first, Action.CANCEL)
    second = await create_rollout(world.books, WISH, actor="ada")
    assert len(first.salt) == 16
    assert first.salt != second.salt


async def test_the_only_plan_needs_no_name() -> None:
    world = await published()
    state = await create_rollout(world.books, Wish(route="chat", candidate="v2"), actor="ada")
    assert state.plan.name == "quick"


@pytest.mark.parametrize(
    ("wish", "error", "words"),
    [
        (Wish(route="chat2", candidate="v2"), NotFound, "no route 'chat2'; published are: chat"),
        (Wish(route="chat", candidate="v9"), NotFound, "has no version 'v9'; it has: v1, v2, v3"),
        (Wish(route="chat", candidate="v1"), Conflict, "v1 is in charge of chat already"),
        (Wish(route="chat", candidate="v2", plan="slow"), NotFound, "no plan 'slow'; published are: quick"),
    ],
)
async def test_what_is_not_there_is_named(wish: Wish, error: type[CanaryError], words: str) -> None:
    world = await published()
    with pytest.raises(error, match=words):
        await create_rollout(world.books, wish, actor="ada")


async def test_nothing_published_is_said_with_a_hint() -> None:
    with pytest.raises(NotFound, match="nothing is published yet") as caught:
        await create_rollout(World().books, WISH, actor="ada")
    assert "canary serve" in caught.value.hint


async def test_of_several_plans_one_must_be_named() -> None:
    world = World()
    config = a_config()
    other = msgspec.structs.replace(QUICK, name="slow")
    await world.plans.publish(msgspec.structs.replace(config, plans=(QUICK, other)), by="ada")
    with pytest.raises(NotFound, match="name a plan; published are: quick, slow"):
        await create_rollout(world.books, Wish(route="chat", candidate="v2"), actor="ada")


async def test_a_plan_that_nobody_could_follow_is_refused_with_all_reasons() -> None:
    world = await published(plan=msgspec.structs.replace(QUICK, stages=(), alpha_promote=2.0))
    with pytest.raises(Refused, match=r"at least one stage.*; alpha_promote: 2"):
        await create_rollout(world.books, WISH, actor="ada")


async def test_a_route_has_one_rollout_at_a_time() -> None:
    world = await published()
    await create_rollout(world.books, WISH, actor="ada")
    with pytest.raises(Conflict, match="chat has a rollout already: v2, pending"):
        await create_rollout(world.books, Wish(route="chat", candidate="v3"), actor="ada")


async def test_after_a_promotion_the_new_stable_is_in_charge() -> None:
    world, rollout = await in_stage(-1, plan=msgspec.structs.replace(QUICK, watch=Watch(for_s=0)))
    await promote_to_full(world.books, rollout.id, actor="bob", reason="now")
    with pytest.raises(Conflict, match="v2 is in charge of chat already"):
        await create_rollout(world.books, WISH, actor="ada")
    state = await create_rollout(world.books, Wish(route="chat", candidate="v1"), actor="ada")
    assert (state.stable, state.stable_hash) == ("v2", "hash-v2")


async def test_what_was_rolled_back_is_tried_again_only_on_request_and_marked() -> None:
    world, first = await in_stage(-1)
    await give(world, first, Action.ROLL_BACK)
    with pytest.raises(Refused, match=rf"was rolled back before in this very definition \({first.id}\): rolled back by bob"):
        await create_rollout(world.books, WISH, actor="ada")
    again = await create_rollout(world.books, msgspec.structs.replace(WISH, retry=True), actor="ada")
    assert (again.retry_of, again.scoring) == (first.id, None)
    assert f"a retry of {first.id}" in again.because


async def test_another_candidate_and_a_cancelled_one_are_no_retries() -> None:
    world, first = await in_stage(-1)
    await give(world, first, Action.CANCEL)
    second = await create_rollout(world.books, WISH, actor="ada")
    await give(world, second, Action.ROLL_BACK)
    third = await create_rollout(world.books, Wish(route="chat", candidate="v3", retry=True), actor="ada")
    assert (second.retry_of, third.retry_of) == ("", "")


async def test_promoting_by_hand_goes_step_by_step() -> None:
    world, rollout = await in_stage(-1)
    seen = []
    for _ in range(4):
        state = await give(world, rollout, Action.PROMOTE)
        seen.append((state.phase, state.segment.weight_bp if state.segment else 0))
    assert seen == [
        (Phase.CANARYING, 2_000),
        (Phase.CANARYING, 5_000),
        (Phase.WATCHING, 9_500),
        (Phase.DONE, 9_500),
    ]
    assert (await world.plans.in_force()).stable == {"chat": "v2"}
    rows = await world.rows(rollout.id)
    assert (rows[-1].actor, rows[-1].decision.reason) == ("bob", Reason.ORDERED)
    assert rows[-1].decision.because == "finished by bob: looks right"


async def test_promoting_to_full_skips_the_stages_but_not_the_watch() -> None:
    world, rollout = await in_stage(-1)
    state = await promote_to_full(world.books, rollout.id, actor="bob", reason="now")
    assert (state.phase, state.segment.weight_bp if state.segment else 0) == (Phase.WATCHING, 9_500)
    assert (await world.plans.in_force()).stable == {"chat": "v1"}
    state = await promote_to_full(world.books, rollout.id, actor="bob", reason="enough")
    assert (state.phase, (await world.plans.in_force()).stable) == (Phase.DONE, {"chat": "v2"})


async def test_rolling_back_in_the_watch_leaves_the_old_stable_in_charge() -> None:
    world, rollout = await in_stage(-1)
    await promote_to_full(world.books, rollout.id, actor="bob", reason="now")
    state = await give(world, rollout, Action.ROLL_BACK)
    assert (state.phase, (await world.plans.in_force()).stable) == (Phase.ROLLED_BACK, {"chat": "v1"})


async def test_a_pending_rollout_cannot_be_promoted_and_the_error_says_what_can_be_done() -> None:
    world = await published()
    rollout = await create_rollout(world.books, WISH, actor="ada")
    with pytest.raises(IllegalTransition, match="has not begun, there is no step to go on to") as caught:
        await give(world, rollout, Action.PROMOTE)
    assert caught.value.hint == "until then it can be held, rolled back or cancelled"
    await give(world, rollout, Action.CANCEL)
    with pytest.raises(IllegalTransition, match="is over: cancelled by"):
        await give(world, rollout, Action.PROMOTE)


async def test_a_held_rollout_stays_where_it_is_until_resumed_and_is_still_guarded() -> None:
    world, rollout = await in_stage(0)
    held = await give(world, rollout, Action.HOLD)
    assert held.because == "held by bob: looks right"
    controller = world.controller()
    for _ in range(40):
        await world.second(controller)
    assert ((await world.rollouts.get(rollout.id)).stage, world.fleet.served[5_000]) == (0, 0)
    world.fleet.candidate = Behaviour(error_rate=0.3)
    assert (await world.run(controller, lambda state: state.phase.is_final)).phase is Phase.ROLLED_BACK


async def test_a_resumed_rollout_goes_on() -> None:
    world, rollout = await in_stage(0)
    await give(world, rollout, Action.HOLD)
    await give(world, rollout, Action.RESUME)
    assert (await world.run(world.controller(), lambda state: state.phase.is_final)).phase is Phase.DONE


async def test_holding_twice_and_resuming_what_runs_are_conflicts() -> None:
    world, rollout = await in_stage(0)
    with pytest.raises(Conflict, match="is not on hold"):
        await give(world, rollout, Action.RESUME)
    await give(world, rollout, Action.HOLD)
    with pytest.raises(Conflict, match="on hold already: held by bob: looks right"):
        await give(world, rollout, Action.HOLD)


async def test_an_order_needs_a_reason_and_must_be_one() -> None:
    world, rollout = await in_stage(0)
    with pytest.raises(Refused, match="needs a reason"):
        await order(world.books, rollout.id, Action.HOLD, actor="bob", reason="  ")
    with pytest.raises(Refused, match="'start' cannot be ordered; possible: hold, resume"):
        await give(world, rollout, Action.START)


async def test_an_unknown_rollout_is_not_found() -> None:
    world = await published()
    with pytest.raises(NotFound):
        await order(world.books, "nobody", Action.HOLD, actor="bob", reason="x")


async def test_an_order_is_stale_when_the_rollout_moved_since() -> None:
    world, rollout = await in_stage(0)
    await give(world, rollout, Action.PROMOTE)
    with pytest.raises(StaleRevision, match="since then bob: advanced by bob: looks right"):
        await give(world, rollout, Action.PROMOTE, expected_revision=rollout.revision)
    with pytest.raises(StaleRevision, match="expected 999"):
        await give(world, rollout, Action.PROMOTE, expected_revision=999)


async def test_an_order_is_not_stale_because_of_notes() -> None:
    world, rollout = await in_stage(-1)
    controller = world.controller()
    for _ in range(7):
        await world.second(controller)
    now = await world.rollouts.get(rollout.id)
    assert now.revision > rollout.revision
    assert now.stage == rollout.stage
    state = await give(world, rollout, Action.HOLD, expected_revision=rollout.revision)
    assert state.paused


async def test_an_order_is_not_stale_however_many_notes_there_were() -> None:
    world, rollout = await in_stage(-1)
    state = await world.rollouts.get(rollout.id)
    for number in range(300):
        note = Decision(action=Action.KEEP, because=f"e={number}", reason=Reason.GATES)
        state = await world.rollouts.save(state, state, row_of(state, note, mandate=Mandate(actor="controller", at=T0)))
    assert (await give(world, rollout, Action.HOLD, expected_revision=rollout.revision)).paused


class BusyRollouts(MemoryRollouts):
    """Rollouts into which the controller writes a note just before each of the first saves."""

    def __init__(self, world: World, notes: int) -> None:
        super().__init__(world.store)
        self.notes = notes

    async def save(self, before: RolloutState, after: RolloutState, row: DecisionRow | None, **how: object) -> RolloutState:
        """A note first, as long as there are any."""
        if self.notes:
            self.notes -= 1
            stored = await self.get(before.id)
            await super().save(stored, msgspec.structs.replace(stored, waiting="a note"), None)
        return await super().save(before, after, row, **how)  # type: ignore[arg-type]


async def test_an_order_that_meets_notes_is_tried_again() -> None:
    world, rollout = await in_stage(-1)
    busy = BusyRollouts(world, notes=3)
    books = Books(rollouts=busy, counters=world.counters, plans=world.plans, clock=world.clock)
    state = await order(books, rollout.id, Action.HOLD, actor="bob", reason="x")
    assert state.paused
    busy.notes = 100
    with pytest.raises(StaleRevision):
        await order(books, rollout.id, Action.RESUME, actor="bob", reason="x")


async def test_orders_leave_the_same_trail_as_decisions() -> None:
    world, rollout = await in_stage(
        -1, plan=msgspec.structs.replace(QUICK, shadow=ShadowStage(share_bp=3_000, min_pairs=10**6))
    )
    await give(world, rollout, Action.PROMOTE)
    row = (await world.rows(rollout.id))[-1]
    assert (row.phase, row.epoch, row.plan_hash) == (Phase.CANARYING, 0, rollout.plan_hash)
    assert isinstance(row.decision, Decision)
