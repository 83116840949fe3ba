"""Postgres is killed while batches are committed: afterwards offset, rows and counters tell one story."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from canary.errors import StaleRevision, StoreAway
from canary.stats.counts import from_bytes, to_bytes
from canary.store import migrate
from canary.store.cluster import read_pid_file
from canary.store.counters import PostgresCounters
from canary.store.database import Database
from canary.store.embedded import EmbeddedPostgres
from canary.store.partitions import ensure_partitions
from canary.store.records import Recorder
from canary.store.rows import CounterDelta, RecordBatch
from tests.support.deadline import wait_for_answer, wait_until
from tests.support.store_rows import START_US, a_batch, a_pair_row, an_exchange_id, an_outcome_row

PER_BATCH = 40
KILLS = 6


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """With the settings of the product, but for fsync: the machine itself does not die here."""
    with EmbeddedPostgres(tmp_path, settings={"fsync": "off"}) as running:
        migrate.upgrade(running.url)
        yield running


def batch_from(offset: int) -> RecordBatch:
    """The next batch of a journal whose frames are numbered: rows `offset` to `offset + PER_BATCH`, and the sum so far."""
    end = offset + PER_BATCH
    keys = [an_exchange_id(n) for n in range(offset, end)]
    return a_batch(
        offset,
        end,
        tick_at_us=START_US + end,
        outcomes=[an_outcome_row(key) for key in keys],
        pairs=[a_pair_row(key) for key in keys],
        counters=[CounterDelta("r1", 7, START_US // 60_000_000, to_bytes({3: end}))],
    )


class Courier:
    """Commits without end; after every error it asks the store where it stands."""

    def __init__(self, database: Database) -> None:
        self.recorder = Recorder(database)
        self.commits = 0
        self.errors = 0

    async def run(self, stop: asyncio.Event) -> None:
        offset = (await self.recorder.load("j1")).offset
        while not stop.is_set():
            try:
                await self.recorder.commit(batch_from(offset))
                offset += PER_BATCH
                self.commits += 1
            except (StoreAway, StaleRevision):
                self.errors += 1
                offset = await self._where(stop, offset)

    async def _where(self, stop: asyncio.Event, before: int) -> int:
        """The committed offset, once the store is back; as it was where the test ends first."""

        async def answer() -> tuple[int] | None:
            try:
                return ((await self.recorder.load("j1")).offset,)
            except StoreAway:
                return (before,) if stop.is_set() else None

        found = await wait_for_answer(answer, 60, what="Postgres")
        assert found is not None
        return found[0]


def kill(server: EmbeddedPostgres, *, all_of_it: bool) -> None:
    """Kills the postmaster, and with it every backend or none."""
    found = read_pid_file(server._data)
    assert found is not None
    children = Path(f"/proc/{found.pid}/task/{found.pid}/children")
    victims = list(map(int, children.read_text().split())) if all_of_it and children.exists() else []
    for pid in (found.pid, *victims):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def check(url: str) -> int:
    """Offset, rows, pairs and counters agree, each row once; returns the offset."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            """SELECT (SELECT "offset" FROM journals), (SELECT cells FROM counters),
                      (SELECT count(*) FROM outcomes), (SELECT count(DISTINCT exchange_id) FROM outcomes),
                      (SELECT count(*) FROM pairs), (SELECT count(DISTINCT exchange_id) FROM pairs)"""
        ).fetchone()
    assert row is not None
    offset, cells, *counts = row
    assert counts == [offset] * 4
    assert from_bytes(cells) == {3: offset}
    return int(offset)


async def test_offset_rows_and_counters_agree_after_every_kill(server: EmbeddedPostgres) -> None:
    stop = asyncio.Event()
    async with await Database.open(server.url) as database:
        await ensure_partitions(database)
        courier = Courier(database)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(courier.run(stop))
            for n in range(KILLS):
                goal, errors = courier.commits + 3 + n, courier.errors
                await wait_until(lambda goal=goal: courier.commits >= goal, 40, what="commits")
                kill(server, all_of_it=n % 2 == 0)
                await wait_until(lambda: not server.running(), 40, what="the server's end")  # its parts do not die at once
                await wait_until(lambda errors=errors: courier.errors > errors, 40, what="the courier's error")
                await asyncio.to_thread(server.ensure)
                await asyncio.to_thread(check, server.url)
            stop.set()
        rows, _ = await PostgresCounters(database).read("r1")
        offset = await asyncio.to_thread(check, server.url)
    assert offset >= courier.commits * PER_BATCH
    assert [from_bytes(row.cells) for row in rows] == [{3: offset}]
