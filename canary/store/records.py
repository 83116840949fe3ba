"""What the courier writes: rows, cumulative counters and the journal's offset, in one transaction."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from canary.errors import StaleRevision
from canary.store import copying
from canary.store.database import Connection, Database
from canary.store.first_events import write_first_events
from canary.store.rows import BodyRow, CounterDelta, JournalState, OutcomeRow, PairRow, ProfileDelta, RecordBatch

__all__ = ["BodyRow", "CounterDelta", "JournalState", "OutcomeRow", "PairRow", "ProfileDelta", "RecordBatch", "Recorder"]

# The first statement: it waits for an older backend that still holds the row, then sees whether the offset moved.
# A tick that grew is stamped with database time, so that silence can be told whatever a sidecar's clock says.
_MOVE: Final = """
UPDATE journals
SET "offset" = %(offset)s, sidecar = %(sidecar)s, dead = %(dead)s, rejected = rejected + %(rejected)s, committed_at = now(),
    ticked_at = CASE WHEN %(tick_at_us)s > tick_at_us THEN now() ELSE ticked_at END,
    tick_at_us = greatest(tick_at_us, %(tick_at_us)s)
WHERE journal = %(journal)s AND "offset" = %(seen)s
RETURNING now()"""
_BEGIN: Final = """
INSERT INTO journals (journal, sidecar, "offset", tick_at_us, dead, rejected, committed_at, ticked_at)
VALUES (%(journal)s, %(sidecar)s, %(offset)s, %(tick_at_us)s, %(dead)s, %(rejected)s, now(),
        CASE WHEN %(tick_at_us)s > 0 THEN now() END)
ON CONFLICT (journal) DO NOTHING
RETURNING now()"""
# A revision is the id of the writing transaction: see `PostgresCounters.read` for how a reader misses none.
# A minute that was moved into the fleet's row stays there: whatever a courier still believes, its own row is not written again.
_COUNTERS: Final = """
INSERT INTO counters (rollout, journal, segment, minute, part, cells, revision)
SELECT d.rollout, %(journal)s, d.segment, d.minute, d.part, d.cells, pg_current_xact_id()::text::bigint
FROM unnest(%(rollouts)s::text[], %(segments)s::integer[], %(minutes)s::integer[], %(cells)s::bytea[], %(parts)s::smallint[])
  AS d (rollout, segment, minute, cells, part)
WHERE NOT EXISTS (SELECT 1 FROM closings k WHERE k.rollout = d.rollout AND k.journal = %(journal)s AND k.minute >= d.minute)
ON CONFLICT (rollout, journal, segment, minute, part) DO UPDATE SET cells = excluded.cells, revision = excluded.revision"""
_PROFILES: Final = """
INSERT INTO profiles (route, version_hash, journal, hour, cells)
SELECT d.route, d.version_hash, %(journal)s, d.hour, d.cells
FROM unnest(%(routes)s::text[], %(hashes)s::text[], %(hours)s::integer[], %(cells)s::bytea[])
  AS d (route, version_hash, hour, cells)
ON CONFLICT (route, version_hash, hour, journal) DO UPDATE SET cells = excluded.cells"""

_STATE: Final = 'SELECT "offset", tick_at_us, dead FROM journals WHERE journal = %(journal)s'
# Without an index by journal on purpose: asked once, at a tail's start. Of 430,000 rows (283 MB) it takes 6 ms where Postgres
# skips along the key (18), 240 ms as a scan (older ones); an index would be written with each part of each commit.
_OPEN_COUNTERS: Final = """
SELECT rollout, segment, minute, cells, part FROM counters WHERE journal = %(journal)s AND minute >= %(minute)s
ORDER BY rollout, segment, minute, part"""
_OPEN_PROFILES: Final = """
SELECT route, version_hash, hour, cells FROM profiles WHERE journal = %(journal)s AND hour >= %(hour)s
ORDER BY route, version_hash, hour"""

_KEPT_MINUTES: Final = 120
_MINUTE_US: Final = 60_000_000
_HOUR_US: Final = 3_600_000_000
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)

_Row = TypeVar("_Row")


def _copy_in(table: str, columns: Sequence[str]) -> bytes:
    return f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)".encode()


_OUTCOMES_IN: Final = _copy_in("outcomes", copying.OUTCOME_COLUMNS)
_PAIRS_IN: Final = _copy_in("pairs", copying.PAIR_COLUMNS)
_BODIES_IN: Final = _copy_in("bodies", copying.BODY_COLUMNS)


class Recorder:
    """The courier's write side: exactly once, whatever dies between two statements."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def commit(self, batch: RecordBatch) -> datetime:
        """Writes the whole batch or nothing; returns the database time that its rows carry as `recorded_at`.

        Raises StaleRevision where the journal's committed offset is not `batch.seen`; DataRefused where something in the batch
        is bad, and the caller should look for it by halves; StoreAway where trying the same batch later may help: it may be in
        already, then the next try is stale, and `load` says where to go on.
        """
        async with self._database.transaction() as connection:
            recorded_at = await _move(connection, batch)
            recorded = (recorded_at - _EPOCH) // timedelta(microseconds=1)
            await _copy(connection, _OUTCOMES_IN, batch.outcomes, copying.outcome_bytes, recorded)
            await _copy(connection, _PAIRS_IN, batch.pairs, copying.pair_bytes, recorded)
            await _copy(connection, _BODIES_IN, batch.bodies, copying.body_bytes, recorded)
            await _fold(connection, batch)
            await write_first_events(connection, batch.journal, batch.first_events)
        return recorded_at

    async def load(self, journal: str) -> JournalState:
        """What is committed of one journal; offset 0 and nothing else where it is not known yet."""
        async with self._database.transaction(consistent=True) as connection:
            found = await connection.execute(_STATE, {"journal": journal})
            row = await found.fetchone()
            if row is None:
                return JournalState()
            offset, tick_at_us, dead = row
            since = {
                "journal": journal,
                "minute": tick_at_us // _MINUTE_US - _KEPT_MINUTES,
                "hour": tick_at_us // _HOUR_US - 1,
            }
            counters = await (await connection.execute(_OPEN_COUNTERS, since)).fetchall()
            profiles = await (await connection.execute(_OPEN_PROFILES, since)).fetchall()
        return JournalState(
            offset=offset,
            tick_at_us=tick_at_us,
            dead=dead,
            counters=[CounterDelta(*row) for row in counters],
            profiles=[ProfileDelta(*row) for row in profiles],
        )

    async def database_id(self) -> str:
        """Which database this is: a sidecar that finds another one behind its spool must not go on as if nothing happened."""
        rows = await self._database.rows("SELECT database_id::text FROM meta")
        return str(rows[0][0])


async def _move(connection: Connection, batch: RecordBatch) -> datetime:
    """Moves the journal's offset, which is also the lock against any other writer of it; returns the transaction's time."""
    values = {name: getattr(batch, name) for name in ("journal", "sidecar", "seen", "offset", "tick_at_us", "dead", "rejected")}
    row = await (await connection.execute(_MOVE, values)).fetchone()
    if row is None and batch.seen == 0:
        row = await (await connection.execute(_BEGIN, values)).fetchone()
    if row is None:
        raise StaleRevision(f"journal {batch.journal}: offset {batch.seen} is not the committed one: another courier went on")
    moment: datetime = row[0]
    return moment


async def _copy(
    connection: Connection,
    statement: bytes,
    rows: Sequence[_Row],
    encode: Callable[[_Row, int], bytes],
    recorded: int,
) -> None:
    if not rows:
        return
    async with connection.cursor().copy(statement) as copy:
        await copy.write(copying.copy_bytes(rows, encode, recorded))


async def _fold(connection: Connection, batch: RecordBatch) -> None:
    """Writes the cumulative cells: the newest value of a key wins, and only this journal's courier writes it."""
    if batch.counters:
        rollouts, segments, minutes, cells, parts = zip(*batch.counters, strict=True)
        values: dict[str, Any] = {
            "rollouts": rollouts,
            "segments": segments,
            "minutes": minutes,
            "cells": cells,
            "parts": parts,
        }
        await connection.execute(_COUNTERS, {"journal": batch.journal, **{k: list(v) for k, v in values.items()}})
    if batch.profiles:
        routes, hashes, hours, cells = zip(*batch.profiles, strict=True)
        values = {"routes": routes, "hashes": hashes, "hours": hours, "cells": cells}
        await connection.execute(_PROFILES, {"journal": batch.journal, **{k: list(v) for k, v in values.items()}})
