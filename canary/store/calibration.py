"""Rounds of calibration that have ended, in Postgres."""

from collections.abc import Sequence
from typing import Final

import msgspec

from canary.rollout.calibration import Round
from canary.store.database import Database

KEPT_ROUNDS: Final = 20
"""Of each route, with their decisions: what an alarm was made of can be looked at and made again."""

_RECORD: Final = """
INSERT INTO calibration (id, route, kind, opened_at, closed_at, requests, alarmed, metric, log_e)
VALUES (%(id)s, %(route)s, 'stable', %(opened_at)s, %(closed_at)s, %(requests)s, %(alarmed)s, %(metric)s, %(log_e)s)
ON CONFLICT (id) DO NOTHING"""
_ROUNDS: Final = """
SELECT id, route, opened_at, closed_at, requests, alarmed, metric, log_e
FROM calibration
WHERE %(route)s::text IS NULL OR route = %(route)s
ORDER BY closed_at DESC, id LIMIT %(limit)s"""

_ALONE: Final = "SELECT pg_advisory_xact_lock(7164918245)"  # one courier tidies at a time, whichever
# Nobody reads the counts of a round that is over; a courier may still bring some for a few minutes, until it has read the plan.
_COUNTED: Final = tuple(
    f"DELETE FROM {table} c USING rollouts r"  # noqa: S608 - fixed names
    " WHERE r.id = c.rollout AND r.route LIKE 'cal:%%' AND r.ended_at < now() - interval '1 hour'"
    for table in ("counters", "totals", "closings")
)
_OLD: Final = """
SELECT id FROM (
    SELECT id, row_number() OVER (PARTITION BY route ORDER BY ended_at DESC, id) AS place
    FROM rollouts WHERE route LIKE 'cal:%%' AND ended_at IS NOT NULL
) AS ended
WHERE place > %(kept)s"""
_STORY: Final = tuple(
    f"DELETE FROM {table} WHERE {key} = ANY(%(rounds)s)"  # noqa: S608 - fixed names
    for table, key in (
        *((table, "rollout") for table in ("counters", "totals", "closings", "first_events", "decisions", "segments")),
        ("rollouts", "id"),
    )
)


async def forget_rounds(database: Database) -> int:
    """Drops the counts of rounds that are over, and all but the latest rounds themselves; returns how many of those went.

    What came of each round stays in its own table.
    """
    async with database.transaction() as connection:
        await connection.execute(_ALONE)
        for statement in _COUNTED:
            await connection.execute(statement)
        found = await (await connection.execute(_OLD, {"kept": KEPT_ROUNDS})).fetchall()
        rounds = [row[0] for row in found]
        for statement in _STORY if rounds else ():
            await connection.execute(statement, {"rounds": rounds})
    return len(rounds)


class PostgresCalibration:
    """The CalibrationBook in Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, ended: Round) -> None:
        """Stores a round once, however often it is told."""
        await self._database.rows(_RECORD, msgspec.structs.asdict(ended))

    async def rounds(self, *, route: str | None = None, limit: int = 1_000) -> Sequence[Round]:
        """Newest first."""
        found = await self._database.rows(_ROUNDS, {"route": route, "limit": limit})
        names = ("id", "route", "opened_at", "closed_at", "requests", "alarmed", "metric", "log_e")
        return [Round(**dict(zip(names, row, strict=True))) for row in found]
