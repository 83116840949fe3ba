"""The contract of the plan book: published, not obeyed; kept by Postgres and by the twin in memory."""

import asyncio

import msgspec
import pytest

from canary.config.document import Config
from canary.errors import Conflict, VersionInUse
from canary.ports import Published
from canary.rollout.plan import Stage
from canary.rollout.state import RolloutState
from canary.split.spec import UnitSpec
from canary.terms import Action, Phase, UnitSource
from tests.support.books import Books
from tests.support.rollouts import a_plan, a_state
from tests.support.store_rows import a_config, a_decision, a_route, a_version

replace = msgspec.structs.replace
THREE = (a_version("v1"), a_version("v2"), a_version("v3"))


async def rolling(books: Books, phase: Phase = Phase.PENDING, **fields: object) -> RolloutState:
    """An active rollout of v2 against v1 on route chat."""
    return await books.rollouts.create(a_state(phase, **fields), a_decision("d0", action=Action.CREATE))


async def promoted(books: Books) -> RolloutState:
    """v2 is in charge by decision; the rollout is done."""
    state = await rolling(books)
    done = replace(state, phase=Phase.DONE)
    return await books.rollouts.save(state, done, a_decision("d1", action=Action.PROMOTE), stable="v2", moves_traffic=True)


async def test_nothing_is_in_force_at_first(books: Books) -> None:
    in_force = await books.plans.in_force()
    assert (in_force.plan_revision, in_force.published, in_force.stable, in_force.rollouts) == (0, None, {}, ())
    assert in_force.database_id == await books.recorder.database_id()


async def test_the_first_file_puts_its_stable_in_charge(books: Books) -> None:
    config = a_config()
    published = await books.plans.publish(config, by="ada")
    in_force = await books.plans.in_force()
    assert (published.revision, published.hash, published.published_by) == (1, config.hash, "ada")
    assert in_force.published == published
    assert (in_force.stable, in_force.plan_revision) == ({"chat": "v1"}, 1)


async def test_the_same_file_again_changes_nothing(books: Books) -> None:
    first = await books.plans.publish(a_config(), by="ada")
    assert await books.plans.publish(a_config(), by="bob") == first
    assert (await books.plans.in_force()).plan_revision == 1


async def test_of_many_publications_of_one_file_one_counts(books: Books) -> None:
    done = await asyncio.gather(*(books.plans.publish(a_config(), by=f"c{n}") for n in range(5)))
    assert {one.revision for one in done} == {1}
    assert (await books.plans.in_force()).plan_revision == 1


async def test_an_unchanged_file_does_not_undo_a_promotion(books: Books) -> None:
    await books.plans.publish(a_config(), by="ada")
    await promoted(books)
    await books.plans.publish(a_config(), by="ada")
    assert (await books.plans.in_force()).stable == {"chat": "v2"}


async def test_a_change_elsewhere_in_the_file_does_not_undo_a_promotion(books: Books) -> None:
    await books.plans.publish(a_config(), by="ada")
    await promoted(books)
    changed = await books.plans.publish(a_config(a_route(versions=THREE)), by="ada")
    in_force = await books.plans.in_force()
    assert (changed.revision, in_force.stable) == (2, {"chat": "v2"})


async def test_an_edited_stable_is_an_operators_order(books: Books) -> None:
    await books.plans.publish(a_config(), by="ada")
    await books.plans.publish(a_config(a_route(stable="v2")), by="ada")
    assert (await books.plans.in_force()).stable == {"chat": "v2"}
    await books.plans.publish(a_config(), by="ada")
    assert (await books.plans.in_force()).stable == {"chat": "v1"}


async def test_a_removed_route_is_forgotten_and_new_when_it_comes_back(books: Books) -> None:
    await books.plans.publish(a_config(a_route(), a_route("other")), by="ada")
    await promoted(books)
    await books.plans.publish(a_config(a_route("other")), by="ada")
    assert (await books.plans.in_force()).stable == {"other": "v1"}
    await books.plans.publish(a_config(a_route(), a_route("other")), by="ada")
    assert (await books.plans.in_force()).stable == {"chat": "v1", "other": "v1"}


CHANGED_V2 = (a_version("v1"), a_version("v2", hash="another"))
ONLY_V1 = (a_version("v1"),)
BROKEN = {
    "candidate removed": (a_config(a_route(versions=ONLY_V1)), "version v2 .* removed"),
    "candidate changed": (a_config(a_route(versions=CHANGED_V2)), "version v2 .* changed"),
    "route removed": (a_config(a_route("other")), "route chat is removed"),
    "plan changed": (a_config(plans=(a_plan(stages=(Stage(weight_bp=10),)),)), "plan careful"),
    "plan removed": (a_config(plans=()), "plan careful"),
    "stable moved": (a_config(a_route(stable="v2")), "stable of route chat"),
    "unit changed": (a_config(a_route(unit=UnitSpec(source=UnitSource.COOKIE, name="sid"))), "unit of route chat"),
}


@pytest.mark.parametrize("what", sorted(BROKEN))
async def test_what_an_active_rollout_uses_stays(books: Books, what: str) -> None:
    config, message = BROKEN[what]
    first = await books.plans.publish(a_config(), by="ada")
    await rolling(books)
    before = await books.plans.in_force()
    with pytest.raises(VersionInUse, match=message):
        await books.plans.publish(config, by="ada")
    after = await books.plans.in_force()
    assert (after, after.published) == (before, first)


async def test_all_problems_are_told_at_once(books: Books) -> None:
    await books.plans.publish(a_config(), by="ada")
    await rolling(books)
    changed = (a_version("v1", hash="x"), a_version("v2", hash="y"))
    with pytest.raises(VersionInUse) as caught:
        await books.plans.publish(a_config(a_route(versions=changed), plans=()), by="ada")
    assert all(text in str(caught.value) for text in ("version v1", "version v2", "plan careful"))


async def test_what_a_finished_rollout_used_may_go(books: Books) -> None:
    await books.plans.publish(a_config(), by="ada")
    state = await rolling(books)
    await books.rollouts.save(state, replace(state, phase=Phase.ROLLED_BACK), a_decision("d1"))
    await books.plans.publish(a_config(a_route(versions=ONLY_V1), plans=()), by="ada")
    assert (await books.plans.in_force()).stable == {"chat": "v1"}


@pytest.mark.parametrize("versions", [ONLY_V1, CHANGED_V2])
async def test_a_stable_in_charge_by_decision_may_not_go_or_change(books: Books, versions: tuple[object, ...]) -> None:
    await books.plans.publish(a_config(), by="ada")
    await promoted(books)
    with pytest.raises(VersionInUse, match="in charge"):
        await books.plans.publish(a_config(a_route(versions=versions)), by="ada")  # type: ignore[arg-type]


async def test_the_file_may_follow_a_promotion_while_it_is_watched(books: Books) -> None:
    await books.plans.publish(a_config(), by="ada")
    state = await rolling(books)
    watching = replace(state, phase=Phase.WATCHING)
    await books.rollouts.save(state, watching, a_decision("d1"), stable="v2", moves_traffic=True)
    await books.plans.publish(a_config(a_route(stable="v2")), by="ada")
    assert (await books.plans.in_force()).stable == {"chat": "v2"}


async def test_the_old_stable_may_change_once_another_is_ordered_in_the_same_file(books: Books) -> None:
    await books.plans.publish(a_config(), by="ada")
    changed = (a_version("v1", hash="another"), a_version("v2"))
    await books.plans.publish(a_config(a_route(versions=changed, stable="v2")), by="ada")
    assert (await books.plans.in_force()).stable == {"chat": "v2"}


async def test_in_force_holds_active_rollouts_only(books: Books) -> None:
    await promoted(books)
    assert (await books.plans.in_force()).rollouts == ()
    second = await books.rollouts.create(a_state(Phase.PENDING, id="r2"), a_decision("e0", rollout="r2"))
    assert (await books.plans.in_force()).rollouts == (second,)


async def test_sidecars_are_seen_for_a_while(books: Books) -> None:
    await books.plans.acknowledge("b", 4, 2)
    await books.plans.acknowledge("a", 3, 1)
    await books.plans.acknowledge("b", 5, 2)
    assert [(ack.sidecar, ack.plan_revision, ack.workers) for ack in await books.plans.acks()] == [("a", 3, 1), ("b", 5, 2)]
    await books.later(11)
    assert list(await books.plans.acks()) == []
    assert len(await books.plans.acks(within_s=60)) == 2


async def test_a_published_file_comes_back_as_it_was(books: Books) -> None:
    config: Config = a_config(a_route(versions=THREE), a_route("other"))
    published: Published = await books.plans.publish(config, by="ada")
    found = (await books.plans.in_force()).published
    assert found == published
    assert found is not None
    assert (found.config, found.config.hash) == (config, published.hash)


async def test_a_rollout_checked_against_an_older_file_is_not_made(books: Books) -> None:
    first = await books.plans.publish(a_config(), by="ada")
    second = await books.plans.publish(a_config(a_route(versions=THREE)), by="ada")
    with pytest.raises(Conflict, match=f"file revision {second.revision} was published"):
        await books.rollouts.create(a_state(Phase.PENDING), a_decision("d0"), published=first.revision)
    assert list(await books.rollouts.active()) == []
    await books.rollouts.create(a_state(Phase.PENDING), a_decision("d0"), published=second.revision)
