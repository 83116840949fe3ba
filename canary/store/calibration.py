"""Rounds of calibration that have ended, in Postgres."""

from collections.abc import Sequence
from typing import Final

import msgspec

from canary.rollout.calibration import Round
from canary.store.database import Database

_RECORD: Final = """
INSERT INTO calibration (id, route, kind, opened_at, closed_at, requests, alarmed, metric, log_e)
VALUES (%(id)s, %(route)s, 'stable', %(opened_at)s, %(closed_at)s, %(requests)s, %(alarmed)s, %(metric)s, %(log_e)s)
ON CONFLICT (id) DO NOTHING"""
_ROUNDS: Final = """
SELECT id, route, opened_at, closed_at, requests, alarmed, metric, log_e
FROM calibration
WHERE %(route)s::text IS NULL OR route = %(route)s
ORDER BY closed_at DESC, id LIMIT %(limit)s"""


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
