"""What two transactions may do to each other: late commits, deposed leaders, old backends, listeners."""

import asyncio

import msgspec
import psycopg
import pytest

from canary.errors import Deposed, StaleRevision
from canary.ports import Fence
from canary.stats.counts import to_bytes
from canary.store.books import PostgresLeases, PostgresRollouts
from canary.store.counters import PostgresCounters
from canary.store.database import Database
from canary.store.plans import PostgresPlans
from canary.store.records import Recorder
from canary.store.rows import CounterDelta
from canary.terms import Phase
from tests.support.deadline import wait_for_answer
from tests.support.rollouts import a_state
from tests.support.store_rows import START_US, a_batch, a_config, a_decision

LATE = """
INSERT INTO counters (rollout, journal, segment, minute, cells, revision)
VALUES ('r1', 'late', 7, 1, %s, pg_current_xact_id()::text::bigint)"""


def delta(count: int) -> CounterDelta:
    return CounterDelta("r1", 7, START_US // 60_000_000, to_bytes({3: count}))


async def test_a_row_that_commits_late_is_not_missed(database: Database, database_url: str) -> None:
    """The late transaction took its number first, and others committed and were read before it ended."""
    counters, recorder = PostgresCounters(database), Recorder(database)
    async with await psycopg.AsyncConnection.connect(database_url) as late:
        await late.execute(LATE, (to_bytes({1: 1}),))
        await recorder.commit(a_batch(0, 1, counters=[delta(5)]))
        rows, newest = await counters.read("r1")
        assert [row.journal for row in rows] == ["j1"]
        await late.commit()
    rows, newer = await counters.read("r1", since=newest)
    assert "late" in {row.journal for row in rows}
    assert (await counters.read("r1", since=newer))[0] == []


async def test_a_batch_waits_for_an_older_backend_and_sees_what_it_did(database: Database, database_url: str) -> None:
    """A courier is killed while its commit is under way, and the next one starts with the same batch."""
    recorder = Recorder(database)
    await recorder.commit(a_batch(0, 10))
    async with await psycopg.AsyncConnection.connect(database_url) as older:
        await older.execute("""UPDATE journals SET "offset" = 20 WHERE journal = 'j1' AND "offset" = 10""")
        async with asyncio.TaskGroup() as tasks:
            again = tasks.create_task(caught(recorder.commit(a_batch(10, 20, counters=[delta(5)]))))
            await wait_for_answer(lambda: somebody_waits(database))
            await older.commit()
    assert isinstance(again.result(), StaleRevision)
    assert (await PostgresCounters(database).read("r1"))[0] == []


async def test_a_batch_goes_on_where_the_older_backend_gave_up(database: Database, database_url: str) -> None:
    recorder = Recorder(database)
    await recorder.commit(a_batch(0, 10))
    async with await psycopg.AsyncConnection.connect(database_url) as older:
        await older.execute("""UPDATE journals SET "offset" = 20 WHERE journal = 'j1' AND "offset" = 10""")
        async with asyncio.TaskGroup() as tasks:
            again = tasks.create_task(caught(recorder.commit(a_batch(10, 20))))
            await wait_for_answer(lambda: somebody_waits(database))
            await older.rollback()
    assert again.result() is None
    assert (await recorder.load("j1")).offset == 20


async def test_of_two_couriers_on_one_new_journal_one_begins(database: Database) -> None:
    done = await asyncio.gather(*(caught(Recorder(database).commit(a_batch(0, 5, counters=[delta(n)]))) for n in range(4)))
    assert sorted(type(one).__name__ for one in done) == ["NoneType", "StaleRevision", "StaleRevision", "StaleRevision"]
    assert (await Recorder(database).load("j1")).offset == 5


async def test_a_lease_cannot_move_between_the_leaders_look_and_its_commit(database: Database, database_url: str) -> None:
    """The leader's save holds the lease row until it is committed; the taker waits, and then everything is written."""
    rollouts, leases = PostgresRollouts(database), PostgresLeases(database)
    before = await rollouts.create(a_state(Phase.PENDING), a_decision("d0"))
    lease = await leases.acquire("leader", "one", 60)
    assert lease is not None
    async with await psycopg.AsyncConnection.connect(database_url) as blocker, asyncio.TaskGroup() as tasks:
        await blocker.execute("LOCK TABLE decisions IN SHARE MODE")  # the save stops after its UPDATE
        fence = Fence(name="leader", epoch=lease.epoch)
        save = tasks.create_task(caught(rollouts.save(before, before, a_decision("d1"), fence=fence)))
        await wait_for_answer(lambda: somebody_waits(database))
        moved = tasks.create_task(database.rows("UPDATE leases SET epoch = epoch + 1 RETURNING epoch"))
        await wait_for_answer(lambda: somebody_waits(database, 2))
        assert not moved.done()
        await blocker.rollback()
    assert save.result() is None
    assert [row.id for row in await rollouts.decisions("r1")] == ["d1", "d0"]
    with pytest.raises(Deposed):
        await rollouts.save(
            msgspec.structs.replace(before, revision=2), before, a_decision("d2"), fence=Fence(name="leader", epoch=lease.epoch)
        )


async def test_listeners_hear_of_decisions_and_publications_after_their_commit(database: Database) -> None:
    rollouts, plans = PostgresRollouts(database), PostgresPlans(database)
    heard = database.hear()
    async with asyncio.timeout(30):
        assert await anext(heard) == ""
        await plans.publish(a_config(), by="ada")
        assert await anext(heard) == "1"
        state = await rollouts.create(a_state(Phase.PENDING), a_decision("d0"))
        await anext(heard)
        await rollouts.save(state, state, a_decision("d1"), moves_traffic=True)
        assert await anext(heard) == "2"
        assert (await plans.in_force()).plan_revision == 2
    await heard.aclose()


async def test_an_in_force_reading_is_of_one_instant(database: Database) -> None:
    """Promotions move stable, state and plan revision together; no reading sees half of one."""
    rollouts, plans = PostgresRollouts(database), PostgresPlans(database)
    await plans.publish(a_config(), by="ada")
    state = await rollouts.create(a_state(Phase.PENDING), a_decision("d0"))

    async def promote_back_and_forth() -> None:
        nonlocal state
        for n in range(40):
            stable = "v2" if n % 2 == 0 else "v1"
            state = await rollouts.save(state, msgspec.structs.replace(state, because=stable), None, stable=stable)

    async with asyncio.TaskGroup() as tasks:
        moving = tasks.create_task(promote_back_and_forth())
        while not moving.done():
            found = await plans.in_force()
            (seen,) = found.rollouts
            if found.plan_revision > 1:
                assert (found.stable["chat"], found.plan_revision) == (seen.because, seen.plan_revision)


async def caught(work: object) -> BaseException | None:
    """The exception that some work ended with, or None."""
    try:
        await work  # type: ignore[misc]
    except (StaleRevision, Deposed) as error:
        return error
    return None


async def somebody_waits(database: Database, number: int = 1) -> bool:
    """True once so many backends of this database wait for a lock."""
    waiting = await database.rows(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return bool(waiting[0][0] >= number)
