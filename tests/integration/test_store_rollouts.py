"""The contract of the rollout and lease books, kept by Postgres and by the twin in memory."""

import asyncio

import msgspec
import pytest

from canary.errors import Conflict, Deposed, NotFound, StaleRevision, StoreError
from canary.ports import Fence, Move
from canary.rollout.state import Before, Decision, RolloutState, Trouble
from canary.rollout.troubled import troubled, untroubled
from canary.stats.evidence import Evidence
from canary.store.books import PostgresRollouts
from canary.store.database import Database
from canary.store.plans import PostgresPlans
from canary.terms import Action, Phase
from tests.support.books import Books
from tests.support.rollouts import a_state, an_evidence, at
from tests.support.store_rows import a_decision

replace = msgspec.structs.replace


async def created(books: Books, id_: str = "r1", **fields: object) -> RolloutState:
    """A pending rollout with its first decision."""
    state = a_state(Phase.PENDING, id=id_, **fields)
    return await books.rollouts.create(state, a_decision(f"{id_}-d0", rollout=id_, action=Action.CREATE))


async def fence_of(books: Books, holder: str = "one", ttl_s: float = 5.0) -> Fence:
    """The fence of a lease just taken."""
    lease = await books.leases.acquire("leader", holder, ttl_s)
    assert lease is not None
    return Fence(name=lease.name, epoch=lease.epoch)


async def test_a_rollout_comes_back_as_it_was_stored(books: Books) -> None:
    state = await created(books)
    assert state.revision == 1
    assert await books.rollouts.get("r1") == state
    assert list(await books.rollouts.active()) == [state]


async def test_trouble_is_stored_and_taken_back_without_a_decision(books: Books) -> None:
    state = await created(books)
    told = await books.rollouts.save(state, troubled(state, "ValueError at canary.stats.cells:104", at(9)), None)
    assert (await books.rollouts.get("r1")).trouble == Trouble(since=at(9), error="ValueError at canary.stats.cells:104")
    again = await books.rollouts.save(told, troubled(told, "StoreError: torn", at(99)), None)
    assert again.trouble == Trouble(since=at(9), error="StoreError: torn"), "since the first"
    assert (await books.rollouts.save(again, untroubled(again), None)).trouble is None
    assert len(await books.rollouts.decisions("r1")) == 1


async def test_what_only_a_newer_version_knows_is_an_error_of_the_store(database: Database) -> None:
    """Whoever reads it lives on with what it has, and says what to do."""
    rollouts = PostgresRollouts(database)
    await rollouts.create(a_state(Phase.PENDING), a_decision("d0", action=Action.CREATE))
    for table, column in (("rollouts", "state"), ("decisions", "body")):
        await database.rows(f"""UPDATE {table} SET {column} = ({column}::jsonb || '{{"later": 1}}')::json""")
    readings = (rollouts.active, lambda: rollouts.get("r1"), lambda: rollouts.decisions("r1"), PostgresPlans(database).in_force)
    for reading in readings:
        with pytest.raises(StoreError, match="later") as caught:
            await reading()
        assert "newer" in caught.value.hint


async def test_the_last_move_since_a_revision_is_told_in_short_and_notes_are_none(books: Books) -> None:
    state = await created(books)
    story = ((Action.KEEP, "waits"), (Action.HOLD, "held by ada"), (Action.RESUME, "resumed by bob"), (Action.KEEP, "goes on"))
    for number, (action, because) in enumerate(story):
        decision = Decision(action=action, because=because)
        row = a_decision(f"m{number}", action=action, decision=decision, actor=because.rpartition(" ")[2])
        state = await books.rollouts.save(state, state, row)
    told = [await books.rollouts.moved_since("r1", revision) for revision in range(1, 6)]
    last = Move(actor="bob", because="resumed by bob")
    assert told == [last, last, last, None, None]
    assert await books.rollouts.moved_since("nobody", 0) is None


async def test_an_unknown_rollout_is_not_found(books: Books) -> None:
    with pytest.raises(NotFound):
        await books.rollouts.get("nobody")


async def test_a_route_has_one_active_rollout(books: Books) -> None:
    first = await created(books)
    with pytest.raises(Conflict):
        await created(books, "r2")
    await books.rollouts.save(first, replace(first, phase=Phase.CANCELLED), a_decision("d1", action=Action.CANCEL))
    second = await created(books, "r2")
    assert list(await books.rollouts.active()) == [second]


async def test_of_two_creations_at_once_one_wins(books: Books) -> None:
    done = await asyncio.gather(*(created(books, f"r{n}") for n in range(4)), return_exceptions=True)
    assert sum(isinstance(one, RolloutState) for one in done) == 1
    assert sum(isinstance(one, Conflict) for one in done) == 3


async def test_active_is_oldest_first_and_find_newest_first(books: Books) -> None:
    for n, route in enumerate(("a", "b", "c")):
        await created(books, f"r{n}", route=route, created_at=at(n))
    assert [state.id for state in await books.rollouts.active()] == ["r0", "r1", "r2"]
    assert [state.id for state in await books.rollouts.find(limit=2)] == ["r2", "r1"]
    assert [state.id for state in await books.rollouts.find(route="a")] == ["r0"]


async def test_a_save_moves_state_revision_and_story_together(books: Books) -> None:
    before = await created(books)
    row = a_decision("d1", evidence=an_evidence(), read=b"\x00\xff", before=Before.of(before, at(9)))
    after = await books.rollouts.save(before, a_state(Phase.CANARYING, because="all gates pass"), row)
    assert (after.revision, after.phase) == (2, Phase.CANARYING)
    assert await books.rollouts.get("r1") == after
    newest, first = await books.rollouts.decisions("r1")
    assert newest == replace(row, revision=2)
    assert (first.id, first.revision) == ("r1-d0", 1)
    assert [one.id for one in await books.rollouts.decisions("r1", limit=1)] == ["d1"]
    assert await books.rollouts.decision("d1") == newest
    with pytest.raises(NotFound):
        await books.rollouts.decision("d2")


async def test_a_save_without_a_decision_writes_no_story(books: Books) -> None:
    before = await created(books)
    after = await books.rollouts.save(before, replace(before, waiting="profile 812/2000"), None)
    assert (await books.rollouts.get("r1")).waiting == "profile 812/2000"
    assert after.revision == 2
    assert len(await books.rollouts.decisions("r1")) == 1


async def test_an_old_revision_writes_nothing(books: Books) -> None:
    before = await created(books)
    await books.rollouts.save(before, replace(before, paused=True), None)
    with pytest.raises(StaleRevision):
        await books.rollouts.save(before, replace(before, phase=Phase.DONE), a_decision("d9"), stable="v2", moves_traffic=True)
    state = await books.rollouts.get("r1")
    assert (state.phase, state.revision, state.paused) == (Phase.PENDING, 2, True)
    in_force = await books.plans.in_force()
    assert (in_force.plan_revision, in_force.stable) == (0, {})
    assert len(await books.rollouts.decisions("r1")) == 1


async def test_saving_what_is_not_there_is_not_found(books: Books) -> None:
    with pytest.raises(NotFound):
        await books.rollouts.save(a_state(), a_state(), None)


async def test_of_many_saves_at_once_one_wins(books: Books) -> None:
    before = await created(books)
    saves = [books.rollouts.save(before, replace(before, because=f"{n}"), a_decision(f"d{n}")) for n in range(6)]
    done = await asyncio.gather(*saves, return_exceptions=True)
    assert sum(isinstance(one, RolloutState) for one in done) == 1
    assert sum(isinstance(one, StaleRevision) for one in done) == 5
    assert len(await books.rollouts.decisions("r1")) == 2


async def test_only_a_move_of_traffic_raises_the_plan(books: Books) -> None:
    before = await created(books)
    same = await books.rollouts.save(before, replace(before, paused=True), None)
    assert same.plan_revision == before.plan_revision
    assert (await books.plans.in_force()).plan_revision == 0
    moved = await books.rollouts.save(same, same, a_decision("d1"), moves_traffic=True)
    assert moved.plan_revision == (await books.plans.in_force()).plan_revision == 1
    assert await books.rollouts.get("r1") == moved


async def test_a_promotion_puts_the_candidate_in_charge(books: Books) -> None:
    before = await created(books)
    await books.rollouts.save(before, replace(before, phase=Phase.WATCHING), a_decision("d1"), stable="v2", moves_traffic=True)
    assert (await books.plans.in_force()).stable == {"chat": "v2"}


async def test_the_leader_writes_and_the_deposed_does_not(books: Books) -> None:
    before = await created(books)
    old = await fence_of(books)
    saved = await books.rollouts.save(before, before, None, fence=old)
    await books.later(6)
    new = await fence_of(books, "two")
    assert new.epoch > old.epoch
    with pytest.raises(Deposed):
        await books.rollouts.save(saved, saved, a_decision("d1"), fence=old, stable="v2", moves_traffic=True)
    in_force = await books.plans.in_force()
    assert (in_force.plan_revision, in_force.stable, in_force.rollouts) == (0, {}, (saved,))
    assert (await books.rollouts.save(saved, saved, a_decision("d1"), fence=new)).revision == 3


async def test_an_expired_lease_that_nobody_took_writes_nothing_either(books: Books) -> None:
    before = await created(books)
    fence = await fence_of(books)
    await books.later(6)
    with pytest.raises(Deposed):
        await books.rollouts.save(before, before, None, fence=fence)
    with pytest.raises(Deposed):
        await books.rollouts.save(before, before, None, fence=Fence(name="nobody", epoch=1))


async def test_segments_are_never_given_twice(books: Books) -> None:
    given = await asyncio.gather(*(books.rollouts.next_segment() for _ in range(8)))
    assert len(set(given)) == 8
    assert min(given) > 0


async def test_a_lease_is_held_renewed_and_taken_over(books: Books) -> None:
    first = await books.leases.acquire("leader", "one", 5)
    assert first is not None
    assert first.epoch == 1
    assert await books.leases.acquire("leader", "two", 5) is None
    again = await books.leases.acquire("leader", "one", 5)
    assert again is not None
    assert again.epoch == 1
    assert again.expires_at >= first.expires_at
    await books.later(6)
    taken = await books.leases.acquire("leader", "two", 5)
    assert taken is not None
    assert (taken.holder, taken.epoch) == ("two", 2)
    assert await books.leases.acquire("leader", "one", 5) is None


async def test_ones_own_expired_lease_comes_back_under_a_new_epoch(books: Books) -> None:
    await books.leases.acquire("leader", "one", 5)
    await books.later(6)
    again = await books.leases.acquire("leader", "one", 5)
    assert again is not None
    assert again.epoch == 2


async def test_a_released_lease_is_free_at_once_and_its_epoch_stays(books: Books) -> None:
    lease = await books.leases.acquire("leader", "one", 60)
    assert lease is not None
    await books.leases.release(lease)
    taken = await books.leases.acquire("leader", "two", 60)
    assert taken is not None
    assert taken.epoch == 2
    await books.leases.release(lease)  # not ours any more: nothing happens
    assert await books.leases.acquire("leader", "three", 60) is None


async def test_leases_of_other_names_are_others(books: Books) -> None:
    assert await books.leases.acquire("a", "one", 5) is not None
    assert await books.leases.acquire("b", "two", 5) is not None


async def test_of_many_who_want_the_lease_one_gets_it(books: Books) -> None:
    got = await asyncio.gather(*(books.leases.acquire("leader", f"c{n}", 5) for n in range(8)))
    assert sum(lease is not None for lease in got) == 1


async def test_texts_and_numbers_survive(books: Books) -> None:
    before = await created(books)
    words = "naïve \u2192 \0 \\ ' \" line\nbreak"
    evidence: Evidence = an_evidence(sample_ratio_log_e=-3.0517578125e-05, newest_tick_age_s=None)
    row = a_decision("d1", actor=words, evidence=evidence)
    after = await books.rollouts.save(before, replace(before, because=words, salt=bytes(range(16))), row)
    assert (await books.rollouts.get("r1")) == after
    assert (await books.rollouts.decisions("r1"))[0] == replace(row, revision=2)
