"""One partition a day for each high-volume table: made ahead, and dropped when its days to keep are over."""

from datetime import UTC, date, datetime, timedelta
from typing import Final

from psycopg import sql

from canary.store.database import Connection, Database
from canary.store.due_bodies import delete_due_bodies

PARTITIONED: Final = ("outcomes", "pairs", "bodies")
"""Here and not with the declared tables: those need SQLAlchemy, which has no place in a courier's memory."""

_LOCK: Final = 0x63616E646179  # one process makes or drops partitions at a time
_TODAY: Final = "SELECT (now() AT TIME ZONE 'UTC')::date"
_CALIBRATION_DAYS: Final = 400  # more than a year, so that two summers can be compared; a few rows a day
_KNOWN: Final = """
SELECT child.relname
FROM pg_inherits i JOIN pg_class parent ON parent.oid = i.inhparent JOIN pg_class child ON child.oid = i.inhrelid
WHERE parent.oid = to_regclass(%(table)s)"""

# Decisions hold the counts that they read, so counters of an ended rollout may go, and what was moved out of them. A recorded
# journal that is dead and counts for nothing any more is only clutter: its files went long ago.
_SMALL: Final = (
    *(
        f"DELETE FROM {table} c USING rollouts r"  # noqa: S608 - fixed names
        " WHERE r.id = c.rollout AND r.ended_at < now() - %(keep_days)s * interval '1 day'"
        for table in ("counters", "totals", "closings", "first_events")
    ),
    f"DELETE FROM calibration WHERE closed_at < now() - {_CALIBRATION_DAYS} * interval '1 day'",  # noqa: S608 - a number
    "DELETE FROM profiles WHERE hour < extract(epoch FROM now()) / 3600 - 24 * %(keep_days)s",
    """DELETE FROM journals j
       WHERE j.dead AND j.committed_at < now() - %(keep_days)s * interval '1 day'
         AND NOT EXISTS (SELECT 1 FROM counters c WHERE c.journal = j.journal)
         AND NOT EXISTS (SELECT 1 FROM closings k WHERE k.journal = j.journal)""",
)


async def ensure_partitions(database: Database, *, days: int = 7) -> list[str]:
    """Makes today's partitions and those of the next `days` days where they are missing; returns the new ones' names.

    Days are UTC by database time. Safe from many processes at once, and beside writers; raises StoreAway where a long reader is
    in the way: try again later.
    """
    made: list[str] = []
    async with database.transaction() as connection:
        today = await _today(connection)
        wanted = [today + timedelta(days=n) for n in range(days + 1)]
        if not await _missing(connection, wanted):
            return made
    async with database.transaction() as connection:
        await _alone(connection)
        for table, day in await _missing(connection, wanted):
            await _make(connection, table, day)
            made.append(_name(table, day))
    return made


async def drop_expired(database: Database, *, keep_days: int) -> list[str]:
    """Drops partitions older than `keep_days` days and what else has outlived its use; returns the dropped partitions' names.

    Raises StoreAway where a long reader is in the way: try again later. What was done before that stays done.
    """
    async with database.transaction() as connection:
        await _alone(connection)
        oldest = await _today(connection) - timedelta(days=keep_days)
        expired = [name for table in PARTITIONED for name in await _known(connection, table) if _is_before(name, table, oldest)]
        for name in expired:
            await connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
        for table in PARTITIONED:  # what came before a day had its partition
            default = sql.Identifier(f"{table}_default")
            await connection.execute(sql.SQL("DELETE FROM {} WHERE recorded_at < %s").format(default), (_midnight(oldest),))
    for statement in _SMALL:  # each for itself: one that is in nobody's time must not bring back what was dropped
        async with database.transaction() as connection:
            await _alone(connection)
            await connection.execute(statement, {"keep_days": keep_days})
    await delete_due_bodies(database, await _with_due_bodies(database, oldest))
    return expired


async def _with_due_bodies(database: Database, oldest: date) -> list[str]:
    """Partitions in which some bodies go before others; of the oldest day all are due today, and it is dropped tomorrow."""
    async with database.transaction() as connection:
        names = await _known(connection, "bodies")
    return [name for name in names if name != _name("bodies", oldest)]


async def _alone(connection: Connection) -> None:
    """One process at a time; and where somebody reads for long, we give up before others queue behind us."""
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    await connection.execute("SET LOCAL lock_timeout = '3s'")


async def _today(connection: Connection) -> date:
    row = await (await connection.execute(_TODAY)).fetchone()
    assert row is not None
    today: date = row[0]
    return today


async def _known(connection: Connection, table: str) -> list[str]:
    found = await connection.execute(_KNOWN, {"table": table})
    return sorted(row[0] for row in await found.fetchall())


async def _missing(connection: Connection, days: list[date]) -> list[tuple[str, date]]:
    known = {table: set(await _known(connection, table)) for table in PARTITIONED}
    return [(table, day) for table in PARTITIONED for day in days if _name(table, day) not in known[table]]


async def _make(connection: Connection, table: str, day: date) -> None:
    """A table of its own first, attached after: that lets writers of other partitions go on, creating in place does not.

    Rows of that day which the default partition took meanwhile move over.
    """
    names = {
        "name": sql.Identifier(_name(table, day)),
        "table": sql.Identifier(table),
        "default": sql.Identifier(f"{table}_default"),
    }
    begin, end = _midnight(day), _midnight(day + timedelta(days=1))
    bounds = {"begin": sql.Literal(begin), "end": sql.Literal(end)}
    for statement in (
        "CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)",
        "LOCK TABLE {default} IN ACCESS EXCLUSIVE MODE",
        """WITH moved AS (DELETE FROM {default} WHERE recorded_at >= {begin} AND recorded_at < {end} RETURNING *)
           INSERT INTO {name} SELECT * FROM moved""",
        "ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({begin}) TO ({end})",
    ):
        await connection.execute(sql.SQL(statement).format(**names, **bounds))


def _name(table: str, day: date) -> str:
    return f"{table}_{day:%Y%m%d}"


def _is_before(name: str, table: str, oldest: date) -> bool:
    return _name(table, oldest) > name and name.removeprefix(f"{table}_").isdigit()


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
