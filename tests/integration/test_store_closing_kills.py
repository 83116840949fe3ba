"""Closing in Postgres: a leader is killed between two statements, another leads, a courier commits or restarts meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from canary.errors import Deposed
from canary.ports import Fence
from canary.stats.cells import SECOND_SHIFT, START, WHOLE_MINUTE, from_bytes, pack, part_of, to_bytes
from canary.store import closing
from canary.store.books import PostgresLeases
from canary.store.counters import PostgresCounters
from canary.store.database import Connection, Database
from canary.store.records import Recorder
from canary.store.rows import CounterDelta
from tests.support.counter_reader import Reader
from tests.support.deadline import wait_for_answer
from tests.support.store_rows import a_batch

MINUTE = 29_000_000
SETTLE_US = 65_000_000
LATE_US = (MINUTE + 200) * 60_000_000
START_KEY = pack(metric=START, stratum=0, arm=1, second=0, bin_index=0)
ANY_SECOND = START_KEY | WHOLE_MINUTE << SECOND_SHIFT


def a_delta(count: int, minute: int = MINUTE, segment: int = 7) -> CounterDelta:
    """So many starts."""
    return CounterDelta("r1", segment, minute, to_bytes({START_KEY: count}), part_of(START_KEY))


class KilledError(Exception):
    """The process is gone."""


class Mortal:
    """A connection of a process that dies before one of its statements."""

    def __init__(self, connection: Connection, lives: int) -> None:
        self._connection = connection
        self.lives = lives

    async def execute(self, *args: Any) -> Any:
        """As the connection does, while alive."""
        self._age()
        return await self._connection.execute(*args)

    def cursor(self) -> "Mortal":
        """Itself: only `executemany` is asked of it."""
        return self

    async def executemany(self, statement: Any, rows: list[Any]) -> None:
        """One statement for each row."""
        for row in rows:
            await self.execute(statement, row)

    def _age(self) -> None:
        self.lives -= 1
        if self.lives < 0:
            raise KilledError


async def a_fence(database: Database, holder: str = "one") -> Fence:
    """The lease of a leader."""
    lease = await PostgresLeases(database).acquire("control", holder, 60)
    assert lease is not None
    return Fence(name="control", epoch=lease.epoch)


async def killed_everywhere(
    database: Database, work: Callable[[Any], Awaitable[Any]], check: Callable[[], Awaitable[Any]]
) -> int:
    """Does the work again and again, killed one statement later each time, until it comes through; returns how often."""
    lives = 0
    while True:
        try:
            async with database.transaction() as connection:
                mortal = Mortal(connection, lives)
                await work(mortal)
                if mortal.lives == 0:
                    return lives
                raise AssertionError("it did nothing")
        except KilledError:
            await check()
            lives += 1


async def test_a_leader_killed_anywhere_leaves_every_count_in_one_place(database: Database) -> None:
    recorder, counters, fence = Recorder(database), PostgresCounters(database), await a_fence(database)
    for journal in ("j1", "j2"):
        deltas = [a_delta(5), a_delta(6, MINUTE + 1), a_delta(7, segment=8)]
        await recorder.commit(a_batch(0, 1, journal=journal, tick_at_us=LATE_US, counters=deltas))
    reader, before = Reader(), {(7, ANY_SECOND): 22, (8, ANY_SECOND): 14}

    async def nothing_is_lost() -> None:
        for who in (reader, Reader()):
            await who.look(counters)
            assert who.sums() == before

    async def close(connection: Any) -> None:
        await closing.close(connection, "r1", fence=fence, settle_us=SETTLE_US, most=1_000)

    async def fold(connection: Any) -> None:
        await closing.fold(connection, "r1", fence=fence, minute=MINUTE, seen=reader.newest)

    assert await killed_everywhere(database, close, nothing_is_lost) >= 9
    await nothing_is_lost()
    assert await killed_everywhere(database, fold, nothing_is_lost) >= 6
    await nothing_is_lost()
    assert await database.rows("SELECT segment, minute FROM counters") == [(7, MINUTE + 1)]


async def test_the_next_leader_waits_for_a_move_under_way_and_the_old_one_moves_no_more(database: Database) -> None:
    recorder, counters, fence = Recorder(database), PostgresCounters(database), await a_fence(database)
    await recorder.commit(a_batch(0, 1, tick_at_us=LATE_US, counters=[a_delta(5)]))
    async with asyncio.TaskGroup() as tasks:
        async with database.transaction() as connection:
            await closing.close(connection, "r1", fence=fence, settle_us=SETTLE_US, most=1_000)
            taking = tasks.create_task(database.rows("UPDATE leases SET epoch = epoch + 1, holder = 'two' RETURNING epoch"))
            await wait_for_answer(lambda: somebody_waits(database))
            assert not taking.done()
    await recorder.commit(a_batch(0, 1, journal="j2", tick_at_us=LATE_US, counters=[a_delta(6)]))
    with pytest.raises(Deposed):
        await counters.close("r1", fence=fence, settle_us=SETTLE_US)
    newer = Fence(name="control", epoch=fence.epoch + 1)
    await counters.close("r1", fence=newer, settle_us=SETTLE_US)
    (row,), _ = await counters.read("r1")
    assert (from_bytes(row.cells), row.journals) == ({START_KEY: 11}, ("j1", "j2"))


async def test_two_that_believe_in_one_epoch_move_one_after_the_other(database: Database) -> None:
    recorder, counters, fence = Recorder(database), PostgresCounters(database), await a_fence(database)
    for n in range(8):
        await recorder.commit(a_batch(0, 1, journal=f"j{n}", tick_at_us=LATE_US, counters=[a_delta(1), a_delta(1, MINUTE + 1)]))
    moved = await asyncio.gather(*(counters.close("r1", fence=fence, settle_us=SETTLE_US, most=n + 3) for n in range(4)))
    assert sum(found.rows for found in moved) == 16
    rows, _ = await counters.read("r1")
    assert [from_bytes(row.cells) for row in rows if row.minute == MINUTE] == [{START_KEY: 8}]


async def test_a_courier_in_the_middle_of_a_commit_is_closed_the_next_time(database: Database, database_url: str) -> None:
    recorder, counters, fence = Recorder(database), PostgresCounters(database), await a_fence(database)
    for journal in ("j1", "j2"):
        await recorder.commit(a_batch(0, 1, journal=journal, tick_at_us=LATE_US, counters=[a_delta(5)]))
    async with await psycopg.AsyncConnection.connect(database_url) as courier:
        await courier.execute("UPDATE journals SET committed_at = now() WHERE journal = 'j1'")
        assert (await counters.close("r1", fence=fence, settle_us=SETTLE_US)).rows == 1
        await courier.commit()
    assert (await counters.close("r1", fence=fence, settle_us=SETTLE_US)).rows == 1
    (row,), _ = await counters.read("r1")
    assert row.journals == ("j1", "j2")


async def test_a_courier_that_starts_during_a_move_does_not_bring_back_what_moved(database: Database) -> None:
    """It loads before the move is committed, so it still has the closed minute, and commits after."""
    soon_us = (MINUTE + 10) * 60_000_000
    recorder, counters, fence = Recorder(database), PostgresCounters(database), await a_fence(database)
    await recorder.commit(a_batch(0, 1, tick_at_us=soon_us, counters=[a_delta(5), a_delta(1, MINUTE + 10)]))
    async with asyncio.TaskGroup() as tasks:
        async with database.transaction() as connection:
            await closing.close(connection, "r1", fence=fence, settle_us=SETTLE_US, most=1_000)
            state = await recorder.load("j1")
            again = a_batch(1, 2, tick_at_us=soon_us, counters=[a_delta(6), a_delta(2, MINUTE + 10)])
            late = tasks.create_task(recorder.commit(again))
            await wait_for_answer(lambda: somebody_waits(database))
            assert not late.done()
    assert [row.minute for row in state.counters] == [MINUTE, MINUTE + 10]
    reader = Reader()
    await reader.look(counters)
    assert reader.sums() == {(7, ANY_SECOND): 7}
    assert await database.rows("SELECT minute FROM counters WHERE journal = 'j1'") == [(MINUTE + 10,)]


async def test_a_move_that_commits_late_is_read_by_those_who_looked_meanwhile(database: Database) -> None:
    """Its number is older than that of a commit which was read before it."""
    recorder, counters, fence = Recorder(database), PostgresCounters(database), await a_fence(database)
    await recorder.commit(a_batch(0, 1, tick_at_us=LATE_US, counters=[a_delta(5)]))
    reader = Reader()
    async with database.transaction() as connection:
        await closing.close(connection, "r1", fence=fence, settle_us=SETTLE_US, most=1_000)
        await recorder.commit(a_batch(0, 1, journal="j2", counters=[a_delta(1, MINUTE + 1)]))
        await reader.look(counters)
        assert reader.sums() == {(7, ANY_SECOND): 6}
    await reader.look(counters)
    assert reader.sums() == {(7, ANY_SECOND): 6}


async def somebody_waits(database: Database) -> bool:
    """True once a backend of this database waits for a lock."""
    statement = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool((await database.rows(statement))[0][0])
