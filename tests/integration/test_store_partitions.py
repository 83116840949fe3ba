"""A partition a day: made ahead, fed, filled from the default one, dropped in time."""

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from canary.errors import StoreAway
from canary.stats.counts import to_bytes
from canary.store.bodies import Bodies, pack_bodies
from canary.store.books import PostgresRollouts
from canary.store.database import Database
from canary.store.due_bodies import DUE, delete_due_bodies
from canary.store.partitions import PARTITIONED, drop_expired, ensure_partitions
from canary.store.records import Recorder
from canary.store.rows import BodyRow, CounterDelta, ProfileDelta
from canary.terms import Phase
from tests.support.rollouts import a_state
from tests.support.store_rows import a_batch, a_decision, a_pair_row, an_exchange_id, an_outcome_row, this_hour

WHERE = "SELECT tableoid::regclass::text, count(*) FROM outcomes GROUP BY 1 ORDER BY 1"

MOVED = (
    "INSERT INTO closings (rollout, journal, minute) VALUES (%(rollout)s, %(journal)s, 1)",
    """INSERT INTO totals (rollout, segment, minute, holds, first_s, last_s, cells, revision)
       VALUES (%(rollout)s, 7, 1, 1, 1, 1, '', 1)""",
    """INSERT INTO first_events (rollout, metric, unit_hash, start_at_us, segment, arm, journal, revision)
       VALUES (%(rollout)s, 'error', '12345678', 1, 7, 'stable', %(journal)s, 1)""",
)


async def today(database: Database) -> str:
    """The database's day, as in a partition's name."""
    return str((await database.rows("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')"))[0][0])


async def age_default(database: Database, days: int) -> None:
    """Moves what is in the default partition of outcomes so many days back."""
    await database.rows(f"UPDATE outcomes_default SET recorded_at = recorded_at - interval '{days} days'")


async def test_today_and_seven_days_are_made_once(database: Database) -> None:
    made = await ensure_partitions(database)
    assert len(made) == 8 * len(PARTITIONED)
    assert f"outcomes_{await today(database)}" in made
    assert await ensure_partitions(database) == []


async def test_many_couriers_may_start_at_once(database: Database) -> None:
    made = await asyncio.gather(*(ensure_partitions(database) for _ in range(4)))
    assert sum(len(names) for names in made) == 8 * len(PARTITIONED)


async def test_rows_go_to_their_day_and_before_it_exists_to_the_default(database: Database) -> None:
    recorder = Recorder(database)
    await recorder.commit(a_batch(0, 1, outcomes=[an_outcome_row()]))
    assert await database.rows(WHERE) == [("outcomes_default", 1)]
    await ensure_partitions(database)
    await recorder.commit(a_batch(1, 2, outcomes=[an_outcome_row()], pairs=[a_pair_row()]))
    day = await today(database)
    assert await database.rows(WHERE) == [(f"outcomes_{day}", 2)], "the early row moved to its day"
    assert await database.rows("SELECT tableoid::regclass::text FROM pairs") == [(f"pairs_{day}",)]


async def test_partitions_have_their_parents_indexes(database: Database) -> None:
    await ensure_partitions(database, days=0)
    day = await today(database)
    count = "SELECT count(*) FROM pg_indexes WHERE tablename = %(name)s"
    for table in PARTITIONED:
        parent = await database.rows(count, {"name": table})
        assert await database.rows(count, {"name": f"{table}_{day}"}) == parent
        assert parent[0][0] >= 2


async def test_writers_go_on_while_partitions_are_made(database: Database, database_url: str) -> None:
    """An open transaction that wrote to today's partition does not stop the making of tomorrow's."""
    await ensure_partitions(database, days=0)
    async with await psycopg.AsyncConnection.connect(database_url) as writer:
        await writer.execute("INSERT INTO bodies VALUES (gen_random_uuid(), now(), now(), 'chat', '')")
        async with asyncio.timeout(20):
            made = await ensure_partitions(database, days=1)
    assert len(made) == len(PARTITIONED)


async def test_a_long_reader_makes_new_partitions_wait_for_another_hour(database: Database, database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as reader:
        await reader.execute("SELECT count(*) FROM outcomes")
        with pytest.raises(StoreAway):
            await ensure_partitions(database, days=0)
    assert len(await ensure_partitions(database, days=0)) == len(PARTITIONED)


async def test_expired_days_are_dropped_and_no_others(database: Database) -> None:
    async with database.transaction() as connection:
        now = datetime.now(UTC)
        for days in (13, 14, 15, 40):
            begin = (now - timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
            end = begin + timedelta(days=1)
            statement = (
                f"CREATE TABLE outcomes_{begin:%Y%m%d} PARTITION OF outcomes"
                f" FOR VALUES FROM ('{begin.isoformat()}') TO ('{end.isoformat()}')"
            )
            await connection.execute(statement.encode())
    gone = await drop_expired(database, keep_days=14)
    wanted = {f"outcomes_{now - timedelta(days=days):%Y%m%d}" for days in (15, 40)}
    assert set(gone) == wanted
    assert await drop_expired(database, keep_days=14) == []


async def test_the_default_partition_is_kept_and_its_old_rows_are_not(database: Database) -> None:
    recorder = Recorder(database)
    await recorder.commit(a_batch(0, 1, outcomes=[an_outcome_row(), an_outcome_row()]))
    await age_default(database, 20)
    await recorder.commit(a_batch(1, 2, outcomes=[an_outcome_row()]))
    assert await drop_expired(database, keep_days=14) == []
    assert await database.rows(WHERE) == [("outcomes_default", 1)]


async def test_bodies_go_at_their_own_date(database: Database) -> None:
    now_us = int(datetime.now(UTC).timestamp() * 1e6)
    blob = pack_bodies(Bodies(request=b"x"))
    rows = [BodyRow(an_exchange_id(), now_us + shift, "chat", blob) for shift in (-60_000_000, 600_000_000)]
    await Recorder(database).commit(a_batch(bodies=rows))
    await drop_expired(database, keep_days=14)
    assert await database.rows("SELECT count(*), bool_and(keep_until > now()) FROM bodies") == [(1, True)]


async def some_bodies(database: Database, keep: str, *, n: int, recorded: str = "now()") -> None:
    """So many bodies that are kept for an interval from when they were recorded."""
    await database.rows(
        "INSERT INTO bodies SELECT gen_random_uuid(), r.at, r.at + %(keep)s::interval, 'chat', ''"
        f" FROM (SELECT {recorded} AS at) r, generate_series(1, %(n)s)",
        {"keep": keep, "n": n},
    )


async def test_due_bodies_go_in_portions_from_every_partition(database: Database) -> None:
    await some_bodies(database, "-1 hour", n=25)  # into the default partition
    await ensure_partitions(database, days=0)
    await some_bodies(database, "-1 hour", n=25)
    await some_bodies(database, "1 hour", n=3)
    tables = ["bodies_default", f"bodies_{await today(database)}"]
    assert await delete_due_bodies(database, tables, at_once=10) == 50
    assert await database.rows("SELECT count(*) FROM bodies") == [(3,)]


async def test_a_pass_ends_when_its_time_is_over_and_leaves_the_rest_to_the_next(database: Database) -> None:
    await some_bodies(database, "-1 hour", n=25)
    seconds = iter(range(100))
    look = {"at_once": 10, "budget_s": 2.0, "elapsed": lambda: float(next(seconds))}
    assert await delete_due_bodies(database, ["bodies_default"], **look) == 10
    assert await delete_due_bodies(database, ["bodies_default"]) == 15


async def test_two_do_not_delete_at_once(database: Database, database_url: str) -> None:
    await some_bodies(database, "-1 hour", n=1)
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute("SELECT pg_advisory_xact_lock(7164918247)")
        assert await delete_due_bodies(database, ["bodies_default"]) == 0


async def test_a_day_that_is_dropped_tomorrow_is_not_emptied_row_by_row_today(database: Database) -> None:
    day = (await database.rows("SELECT (now() AT TIME ZONE 'UTC')::date - 14"))[0][0]
    await database.rows(
        f"CREATE TABLE bodies_{day:%Y%m%d} PARTITION OF bodies"
        f" FOR VALUES FROM ('{day} 00:00+00') TO ('{day + timedelta(days=1)} 00:00+00')"
    )
    await some_bodies(database, "1 hour", n=2, recorded=f"'{day} 00:00:01+00'::timestamptz")
    await drop_expired(database, keep_days=14)
    assert await database.rows("SELECT count(*) FROM bodies") == [(2,)]
    await drop_expired(database, keep_days=13)
    assert await database.rows("SELECT count(*) FROM bodies") == [(0,)]


async def test_due_bodies_are_found_by_their_date_in_a_table_that_nobody_analyzed(database: Database) -> None:
    await some_bodies(database, "1 hour", n=5_000)
    asked = "EXPLAIN " + DUE.format(table="bodies_default", at_once=10)
    plan = [line for (line,) in await database.rows(asked)]
    assert any("Index Scan" in line for line in plan), plan


async def test_counts_of_long_ended_rollouts_go_and_those_of_others_stay(database: Database) -> None:
    rollouts, recorder = PostgresRollouts(database), Recorder(database)
    long_ago = datetime.now(UTC) - timedelta(days=30)
    for rollout, route, phase, ended_at in (("old", "a", Phase.DONE, long_ago), ("new", "b", Phase.PENDING, None)):
        state = a_state(phase, id=rollout, route=route, ended_at=ended_at)
        await rollouts.create(state, a_decision(rollout, rollout=rollout))
        counted = [CounterDelta(rollout, 7, 1, to_bytes({3: 1}))]
        profiles = [ProfileDelta(route, "h", this_hour() - (24 * 20 if rollout == "old" else 0), to_bytes({3: 1}))]
        await recorder.commit(a_batch(0, 1, journal=f"j-{rollout}", dead=True, counters=counted, profiles=profiles))
        for statement in MOVED:
            await database.rows(statement, {"rollout": rollout, "journal": f"j-{rollout}"})
    await database.rows("UPDATE journals SET committed_at = now() - interval '30 days'")
    await drop_expired(database, keep_days=14)
    for table in ("counters", "profiles", "journals", "closings", "first_events"):
        assert await database.rows(f"SELECT journal FROM {table}") == [("j-new",)]
    assert await database.rows("SELECT rollout FROM totals") == [("new",)]


async def test_calibration_is_kept_for_more_than_a_year(database: Database) -> None:
    for days in (390, 410):
        await database.rows(
            """INSERT INTO calibration (id, route, kind, opened_at, closed_at, requests, alarmed, metric, log_e)
               VALUES (%(days)s::text, 'chat', 'aa', now(), now() - %(days)s * interval '1 day', 1, false, '', 0)""",
            {"days": days},
        )
    await drop_expired(database, keep_days=14)
    assert await database.rows("SELECT id FROM calibration") == [("390",)]


async def test_a_long_reader_makes_dropping_wait_for_another_hour(database: Database, database_url: str) -> None:
    await ensure_partitions(database, days=0)
    async with await psycopg.AsyncConnection.connect(database_url) as reader:
        await reader.execute("SELECT count(*) FROM outcomes")
        with pytest.raises(StoreAway):
            await drop_expired(database, keep_days=-5)
    assert len(await drop_expired(database, keep_days=-5)) == len(PARTITIONED)


async def test_what_takes_too_long_keeps_no_expired_day(database: Database, database_url: str) -> None:
    await ensure_partitions(database, days=0)
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute("LOCK TABLE calibration IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreAway):
            await drop_expired(database, keep_days=-5)
    assert await drop_expired(database, keep_days=-5) == [], "dropped although the rest could not be done"
