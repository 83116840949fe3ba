"""Decisions made again from what their rows stored: identical through Postgres, and a row that was touched is found out."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from canary.control.enact import Wish, create_rollout, order
from canary.errors import VersionInUse
from canary.rollout.lean import leaning
from canary.rollout.plan import HarmBudget, Plan, Stage
from canary.rollout.replay import replay
from canary.rollout.state import DecisionRow, Reason, RolloutState
from canary.split.spec import UnitSpec
from canary.store.books import PostgresRollouts
from canary.store.database import Database
from canary.terms import Action, Phase, UnitSource
from tests.support.control_world import QUICK, Behaviour, World, a_config
from tests.support.sticky_world import StickyWorld

PLAN = msgspec.structs.replace(QUICK, warm_up_s=3.0, harm_budget=HarmBudget(failed=500.0), limits={"error": 0.02})


async def a_story(*, breaks: bool, seed: int = 1, plan: Plan = PLAN) -> tuple[RolloutState, list[DecisionRow]]:
    """A rollout from its creation to its end, held and resumed once, with all its rows."""
    world = World(seed=seed)
    await world.plans.publish(a_config(plan), by="ada")
    await world.fleet.follow()
    rollout = await create_rollout(world.books, Wish(route="chat", candidate="v2"), actor="ada")
    controller = world.controller()
    await world.run(controller, lambda state: state.stage == 0)
    await order(world.books, rollout.id, Action.HOLD, actor="ada", reason="lunch")
    for _ in range(5):
        await world.second(controller)
    await order(world.books, rollout.id, Action.RESUME, actor="ada", reason="back")
    if breaks:
        world.fleet.candidate = Behaviour(error_rate=0.15)
    state = await world.run(controller, lambda state: state.phase.is_final)
    return state, await world.rows(rollout.id)


@pytest.mark.parametrize("breaks", [False, True])
async def test_every_decision_of_a_rollout_is_made_again_alike(breaks: bool) -> None:
    state, rows = await a_story(breaks=breaks)
    assert state.phase is (Phase.ROLLED_BACK if breaks else Phase.DONE), state.because
    found = [replay(row, state) for row in rows]
    assert [one.differences for one in found if one.differences] == []
    assert [one.action for one in found] == [row.decision.action for row in rows]
    made = [row for row, one in zip(rows, found, strict=True) if one.replayed]
    assert {row.actor for row in made} == {"controller"}
    assert len(made) == len([row for row in rows if row.actor == "controller"]) >= 5
    assert any(row.before is not None and row.before.past is not None for row in made)


async def test_a_rollout_that_leans_on_pairs_does_so_to_its_end_and_is_made_again_alike() -> None:
    state, rows = await a_story(breaks=True, plan=msgspec.structs.replace(PLAN, lean_on="pairs"))
    assert state.phase is Phase.ROLLED_BACK
    start = next(row for row in rows if row.decision.action is Action.START)
    assert start.before is not None
    assert start.decision.because.endswith(f"; {leaning(state)}")
    assert state.scoring is not None
    assert (state.scoring.spec.leans_on_pairs, state.scoring.spec.rate_per_s) == (True, start.before.profile_per_s)
    assert [one.differences for one in (replay(row, state) for row in rows) if one.differences] == []
    canary = msgspec.structs.replace(state, plan=PLAN)
    told = replay(msgspec.structs.replace(start, plan_hash=PLAN.hash), canary).differences
    assert [one.split(":")[0] for one in told] == ["decision.because"], "the start's own words tell which lane it was"


async def test_a_route_with_little_traffic_leans_on_pairs_by_its_own_rate() -> None:
    """2 requests a second of which the first stage gives the candidate .5 %: 36 an hour."""
    world = World(per_s=2)
    plan = msgspec.structs.replace(PLAN, min_profile=60, stages=(Stage(weight_bp=50), *PLAN.stages))
    await world.plans.publish(a_config(plan), by="ada")
    await world.fleet.follow()
    await create_rollout(world.books, Wish(route="chat", candidate="v2"), actor="ada")
    state = await world.run(world.controller(), lambda state: state.phase is Phase.SHADOWING)
    assert leaning(state).startswith("leans on pairs at 1")
    assert ": a 0.5 % canary gets " in leaning(state)


async def test_an_order_is_said_to_be_one() -> None:
    state, rows = await a_story(breaks=False)
    held = next(row for row in rows if row.decision.action is Action.HOLD)
    found = replay(held, state)
    assert (found.replayed, found.same) == (False, True)
    assert found.note == "ordered by ada: nothing was weighed, so there is nothing to make again"


async def stored(database: Database, state: RolloutState, rows: list[DecisionRow]) -> PostgresRollouts:
    """The story in Postgres."""
    book = PostgresRollouts(database)
    at = await book.create(msgspec.structs.replace(state, phase=Phase.PENDING, segments=(), ended_at=None), rows[0])
    for row in rows[1:]:
        at = await book.save(at, msgspec.structs.replace(state, plan_revision=at.plan_revision), row)
    return book


async def test_through_postgres_every_decision_is_made_again_alike(database: Database) -> None:
    state, rows = await a_story(breaks=True)
    book = await stored(database, state, rows)
    again, kept = await book.get(state.id), await book.decisions(state.id)
    assert len(kept) == len(rows)
    assert [one.differences for one in (replay(row, again) for row in kept) if one.differences] == []


def shifted(body: dict[str, Any]) -> None:
    body["evidence"]["metrics"][0]["log_e_rollback"] += 1e-6


def counted(body: dict[str, Any]) -> None:
    body["evidence"]["metrics"][0]["bad_candidate"] = 10_000


def kept(body: dict[str, Any]) -> None:
    body["decision"]["action"] = "keep"


def said(body: dict[str, Any]) -> None:
    body["decision"]["because"] = "rolled back: the moon"


def damaged(body: dict[str, Any]) -> None:
    body["read"] = body["read"][:40]


def timed(body: dict[str, Any]) -> None:
    body["before"]["phase"] = "watching"


def planned(body: dict[str, Any]) -> None:
    body["plan_hash"] = "another"


@pytest.mark.parametrize(
    ("touch", "place"),
    [
        (shifted, "evidence.metrics[error_fast].log_e_rollback"),
        (counted, "evidence.metrics[error_fast].bad_candidate"),
        (kept, "decision.action"),
        (said, "decision.because"),
        (damaged, "read"),
        (timed, "decision.because"),
        (planned, "plan"),
    ],
)
async def test_a_row_that_was_touched_is_found_out(
    database: Database, touch: Callable[[dict[str, Any]], None], place: str
) -> None:
    state, rows = await a_story(breaks=True)
    book = await stored(database, state, rows)
    end = next(row for row in await book.decisions(state.id) if row.decision.action is Action.ROLL_BACK)
    assert replay(end, await book.get(state.id)).same
    body = msgspec.json.decode(msgspec.json.encode(end))
    touch(body)
    await database.rows(
        "UPDATE decisions SET body = %(body)s WHERE id = %(id)s", {"body": msgspec.json.encode(body).decode(), "id": end.id}
    )
    found = replay(await book.decision(end.id), await book.get(state.id))
    assert found.replayed
    assert any(text.startswith(place + ":") for text in found.differences), found.differences


async def test_a_spent_harm_budget_ends_the_rollout_and_is_made_again() -> None:
    world = World(seed=3)
    plan = msgspec.structs.replace(QUICK, alpha_rollback=1e-30, harm_budget=HarmBudget(failed=40.0))
    await world.plans.publish(a_config(plan), by="ada")
    await world.fleet.follow()
    await create_rollout(world.books, Wish(route="chat", candidate="v2"), actor="ada")
    controller = world.controller()
    await world.run(controller, lambda state: state.stage == 0)
    world.fleet.candidate = Behaviour(error_rate=0.10)
    state = await world.run(controller, lambda state: state.phase.is_final)
    last = (await world.rows(state.id))[-1]
    assert last.decision.reason is Reason.HARM
    assert state.because.startswith("rolled back: the harm budget is spent, about ")
    assert replay(last, state).same


async def test_a_plan_published_anew_is_refused_under_a_rollout_and_the_frozen_one_stays() -> None:
    world = World()
    await world.plans.publish(a_config(QUICK), by="ada")
    await world.fleet.follow()
    rollout = await create_rollout(world.books, Wish(route="chat", candidate="v2"), actor="ada")
    wider = msgspec.structs.replace(QUICK, alpha_rollback=0.2)
    with pytest.raises(VersionInUse, match="plan quick is removed or changed"):
        await world.plans.publish(a_config(wider), by="ada")
    both = msgspec.structs.replace(a_config(QUICK), plans=(QUICK, msgspec.structs.replace(wider, name="wider")))
    await world.plans.publish(both, by="ada")
    await world.second(world.controller())
    state = await world.rollouts.get(rollout.id)
    assert (state.plan, state.plan_hash) == (QUICK, QUICK.hash)


async def test_decisions_on_users_are_made_again_alike_too() -> None:
    world = StickyWorld()
    world.fleet.candidate = Behaviour(error_rate=0.2)
    unit = UnitSpec(source=UnitSource.HEADER, name="x-user-id")
    await world.plans.publish(a_config(QUICK, unit=unit), by="ada")
    await world.fleet.follow()
    rollout = await create_rollout(world.books, Wish(route="chat", candidate="v2"), actor="ada")
    state = await world.run(world.controller(), lambda state: state.phase.is_final, within_s=600)
    assert state.phase is Phase.ROLLED_BACK
    rows = await world.rows(rollout.id)
    assert any(row.read for row in rows)
    assert [found.differences for found in (replay(row, state) for row in rows) if found.differences] == []
