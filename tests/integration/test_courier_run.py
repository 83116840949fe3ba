"""The courier over a real Postgres: plans down, local orders, a database that goes away or is another one."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from canary.courier.local import LocalOrders
from canary.errors import SnapshotError, StoreAway
from canary.store.books import PostgresRollouts
from canary.store.database import Database
from canary.store.overlay import read_overlay
from canary.store.plans import PostgresPlans
from canary.store.snapshot import Snapshot, read_snapshot
from canary.telemetry.page import Page
from canary.terms import Action, Phase
from tests.support.courier import a_rollout
from tests.support.deadline import wait_for_answer, wait_until
from tests.support.frames import a_live, a_pair, a_tick, a_writer, an_open, write
from tests.support.postgres import PostgresServer
from tests.support.run_courier import run_over
from tests.support.store_rows import a_config, a_decision, a_route


@contextlib.asynccontextmanager
async def _courier(state_dir: Path, url: str) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(run_over(state_dir, url, stop))
        try:
            yield
        finally:
            stop.set()


def _snapshot(state_dir: Path) -> Snapshot | None:
    try:
        return read_snapshot(state_dir / "snapshot.json")
    except SnapshotError:
        return None


def _revision(state_dir: Path) -> int:
    snapshot = _snapshot(state_dir)
    return snapshot.revision if snapshot else -1


async def _count(database: Database, table: str) -> int:
    query = {"outcomes": "SELECT count(*) FROM outcomes", "pairs": "SELECT count(*) FROM pairs"}[table]
    return int((await database.rows(query))[0][0])


async def test_a_committed_decision_is_in_the_snapshot_at_once_and_acknowledged(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    plans, rollouts = PostgresPlans(database), PostgresRollouts(database)
    page = Page(tmp_path / "page" / "worker-0.page")
    page.gauge("pid", os.getpid())
    async with _courier(tmp_path, database_url):
        await plans.publish(a_config(), by="ada")
        await wait_until(lambda: _snapshot(tmp_path), what="the first snapshot")
        state = await rollouts.create(a_rollout(plan_revision=1), a_decision(action=Action.CREATE))
        state = await rollouts.save(state, state, a_decision("d2"), moves_traffic=True)
        await wait_until(lambda: _revision(tmp_path) >= state.plan_revision, what="the next snapshot")
        snapshot = _snapshot(tmp_path)
        assert snapshot is not None
        split = snapshot.routes[0].split
        assert split is not None
        assert (split.rollout, split.segment, split.candidate) == (state.id, 7, "v2")
        (ack,) = await wait_for_answer(plans.acks, what="an acknowledgement")
        assert ack.plan_revision < state.plan_revision
        page.gauge("snapshot_revision", state.plan_revision + 1)  # kept plus one

        async def followed() -> bool:
            return (await plans.acks())[0].plan_revision == state.plan_revision

        await wait_for_answer(followed, what="the acknowledgement of the new revision")
    page.close()


async def test_outcomes_arrive_and_a_stop_carries_the_rest(tmp_path: Path, database: Database, database_url: str) -> None:
    await PostgresPlans(database).publish(a_config(), by="ada")
    await PostgresRollouts(database).create(a_rollout(), a_decision(action=Action.CREATE))
    writer = a_writer(tmp_path / "journal")
    live = a_live()
    async with _courier(tmp_path, database_url):
        write(writer, an_open(live.exchange_id), live, a_pair(live), a_tick())

        async def arrived() -> bool:
            return await _count(database, "pairs") == 1

        await wait_for_answer(arrived, what="the pair")
        write(writer, an_open())
        writer.close()
    assert await _count(database, "outcomes") == 2
    rows = await database.rows("SELECT rollout, version, ending FROM outcomes ORDER BY ending")
    assert sorted(rows) == [("r1", "v1", "lost"), ("r1", "v1", "whole")]
    assert await database.rows("SELECT count(DISTINCT (segment, minute)) FROM counters") == [(1,)]  # in parts
    assert not [*(tmp_path / "journal").iterdir()]


async def test_the_journal_keeps_everything_while_postgres_is_away(
    tmp_path: Path, postgres_server: PostgresServer, database: Database, database_url: str
) -> None:
    await PostgresPlans(database).publish(a_config(), by="ada")
    writer = a_writer(tmp_path / "journal")
    name = str((await database.rows("SELECT current_database()"))[0][0])
    async with _courier(tmp_path, database_url):
        write(writer, a_live(mirror=""), a_tick())

        async def arrived() -> bool:
            return await _count(database, "outcomes") == 1

        await wait_for_answer(arrived, what="the first answer")
        _allow(postgres_server, name, allowed=False)
        for _ in range(200):
            write(writer, a_live(mirror=""))
        with pytest.raises(StoreAway):
            await database.rows("SELECT 1")
        assert _revision(tmp_path) >= 1
        _allow(postgres_server, name, allowed=True)

        async def all_arrived() -> bool:
            try:
                return await _count(database, "outcomes") == 201
            except StoreAway:
                return False

        await wait_for_answer(all_arrived, 40, what="all answers")
        writer.close()


def _allow(server: PostgresServer, name: str, *, allowed: bool) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(name), sql.SQL(str(allowed)))
        connection.execute(statement)
        if not allowed:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))


async def test_another_database_gets_nothing_of_a_spool_that_is_not_its_own(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    await PostgresPlans(database).publish(a_config(), by="ada")
    (tmp_path / "database-id").write_text("00000000-0000-0000-0000-000000000000")
    writer = a_writer(tmp_path / "journal")
    write(writer, *[a_live(mirror="") for _ in range(200)], a_tick())
    async with _courier(tmp_path, database_url):
        plans = PostgresPlans(database)
        asked = await plans.in_force()
        assert asked.published is not None

        async def connected() -> bool:
            rows = await database.rows("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            return int(rows[0][0]) > 2

        await wait_for_answer(connected, what="the courier's connections")
    writer.close()
    assert await _count(database, "outcomes") == 0
    assert await database.rows("SELECT count(*) FROM journals") == [(0,)]
    assert _snapshot(tmp_path) is None


async def test_a_local_rollback_is_reported_and_ends_when_the_decision_is_in_force(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    plans, rollouts = PostgresPlans(database), PostgresRollouts(database)
    await plans.publish(a_config(a_route()), by="ada")
    state = await rollouts.create(a_rollout(), a_decision(action=Action.CREATE))
    state = await rollouts.save(state, state, a_decision("d2"), moves_traffic=True)
    async with _courier(tmp_path, database_url):
        await wait_until(lambda: _revision(tmp_path) >= state.plan_revision, what="the snapshot")
    orders = LocalOrders(tmp_path, "s1")  # given while nothing else runs
    order = await orders.roll_back("chat", reason="5xx at my pod", actor="ada", now=datetime.now(tz=UTC))
    assert order.rollout == state.id
    async with _courier(tmp_path, database_url):
        await wait_until(lambda: not read_overlay(tmp_path / "overlay.json").routes, what="the order's end")
    after = await rollouts.get(state.id)
    assert after.phase is Phase.ROLLED_BACK
    row = (await rollouts.decisions(state.id))[0]
    assert "5xx at my pod" in row.decision.because
    assert (row.actor, row.decision.action) == ("ada", Action.ROLL_BACK)
    snapshot = _snapshot(tmp_path)
    assert snapshot is not None
    assert snapshot.routes[0].split is None
