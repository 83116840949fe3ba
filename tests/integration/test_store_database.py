"""The pool: transactions, errors in our own words, listening."""

import asyncio
import traceback
from collections.abc import Iterator

import psycopg
import pytest

from canary.errors import DataRefused, StoreAway, StoreError
from canary.store.database import Database, each, place_of
from tests.support.deadline import wait_for


async def test_a_transaction_is_kept_whole_or_not_at_all(database: Database) -> None:
    async def break_off() -> None:
        async with database.transaction() as connection:
            await connection.execute("UPDATE plan SET plan_revision = 7")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await break_off()
    assert await database.rows("SELECT plan_revision FROM plan") == [(0,)]


async def test_a_consistent_reading_sees_one_instant(database: Database) -> None:
    async with database.transaction(consistent=True) as connection:
        before = await (await connection.execute("SELECT plan_revision FROM plan")).fetchone()
        await database.rows("UPDATE plan SET plan_revision = 3")
        after = await (await connection.execute("SELECT plan_revision FROM plan")).fetchone()
    assert before == after == (0,)
    assert await database.rows("SELECT plan_revision FROM plan") == [(3,)]


async def test_nobody_there_is_away_with_a_hint_and_without_the_password() -> None:
    with pytest.raises(StoreAway) as caught:
        await Database.open("postgresql://someone:hunter2@127.0.0.1:1/somewhere")
    assert caught.value.hint
    assert "hunter2" not in str(caught.value)
    assert "somewhere" in str(caught.value)


async def test_a_url_that_cannot_be_read_is_not_quoted() -> None:
    url = "postgresql://someone:hunter2@[broken"
    with pytest.raises(StoreError) as caught:
        await Database.open(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_place_names_neither_user_nor_password() -> None:
    assert place_of("postgresql://someone:hunter2@db.example:5432/books") == "books at db.example"
    assert "hunter2" not in place_of("postgresql://someone:hunter2@[broken")


async def test_a_refused_value_is_told_from_a_missing_table(database: Database) -> None:
    with pytest.raises(DataRefused):
        await database.rows("INSERT INTO plan (one) VALUES (true)")
    with pytest.raises(StoreError, match="nowhere") as caught:
        await database.rows("SELECT * FROM nowhere")
    assert "db upgrade" in caught.value.hint


async def test_a_cut_connection_is_away_and_the_pool_recovers(database: Database, database_url: str) -> None:
    async def be_cut() -> None:
        async with database.transaction() as connection:
            pid = connection.info.backend_pid
            async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:
                await other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            await connection.execute("SELECT 1")

    with pytest.raises(StoreAway):
        await be_cut()
    assert await database.rows("SELECT 1") == [(1,)]


async def test_listening_says_when_it_began_and_hears_what_follows(database: Database) -> None:
    heard = database.hear()
    async with asyncio.timeout(20):
        assert await anext(heard) == ""
        await database.rows("SELECT pg_notify('canary_plan', '41')")
        assert await anext(heard) == "41"
    await heard.aclose()


async def test_a_listener_learns_that_its_connection_died(database: Database, database_url: str) -> None:
    heard = database.hear()
    async with asyncio.timeout(20):
        await anext(heard)
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:
            await other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE 'LISTEN%' AND datname = current_database() AND pid <> pg_backend_pid()"
            )
        with pytest.raises(StoreAway):
            await anext(heard)


async def test_a_client_that_is_paused_between_two_rows_is_idle_to_postgres(database: Database, database_url: str) -> None:
    """Then its transaction is ended after four seconds, and with it the locks on what others wait for."""
    seen = []

    def rows(backend: int) -> Iterator[dict[str, int]]:
        yield {"n": 1}
        with psycopg.connect(database_url, autocommit=True) as other:  # this client does nothing meanwhile
            asked = "SELECT state FROM pg_stat_activity WHERE pid = %(pid)s AND state = 'idle in transaction'"
            seen.append(wait_for(lambda: other.execute(asked, {"pid": backend}).fetchone(), 3.0, what="an idle client"))
        yield {"n": 2}

    async with database.transaction() as connection:
        await each(connection, "SELECT %(n)s::integer", rows(connection.info.backend_pid))
    assert seen == [("idle in transaction",)]
