"""Counters, horizons and profiles as controllers read them from Postgres."""

from collections.abc import Iterable, Sequence
from typing import Final

from canary.stats.counts import CounterRow, Horizon, from_bytes
from canary.stats.first_event import FirstEventRow
from canary.stats.profile import Profile
from canary.store.database import Database
from canary.store.first_events import read_first_events

# Everything below the oldest transaction still running has ended: if it wrote, a later look sees it.
_ENDED: Final = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1"
_READ: Final = """
SELECT rollout, segment, journal, minute, cells, revision
FROM counters
WHERE rollout = %(rollout)s AND revision > %(since)s
ORDER BY revision, journal, segment, minute"""
# One probe of the primary key for each journal; as a plain EXISTS it becomes a scan of all that was ever counted.
_HORIZONS: Final = """
SELECT j.journal, j.tick_at_us, j.dead
FROM journals j
CROSS JOIN LATERAL (SELECT 1 FROM counters c WHERE c.rollout = %(rollout)s AND c.journal = j.journal LIMIT 1) AS counted
ORDER BY j.journal"""
_FRESHNESS: Final = """
SELECT extract(epoch FROM clock_timestamp() - max(j.ticked_at))::float8
FROM journals j
CROSS JOIN LATERAL (SELECT 1 FROM counters c WHERE c.rollout = %(rollout)s AND c.journal = j.journal LIMIT 1) AS counted"""
_PROFILE: Final = """
SELECT cells
FROM profiles
WHERE route = %(route)s AND version_hash = %(version_hash)s AND hour > extract(epoch FROM now()) / 3600 - 1 - %(hours)s"""


class PostgresCounters:
    """The CounterBook in Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, rollout: str, *, since: int = 0) -> tuple[Sequence[CounterRow], int]:
        """Rows whose revision is > since, and the newest revision up to which none can be missing.

        A revision is the id of the transaction that wrote the row. Ids are given at the first write and transactions end in any
        order, so the largest id seen is no safe mark: a smaller one may still be committed. The safe mark is just below the
        oldest transaction running, asked before the rows are read. Rows above it come again next time, which is harmless:
        they are cumulative. A long transaction elsewhere only makes more of them come again.
        """
        async with self._database.transaction() as connection:
            ended = await (await connection.execute(_ENDED)).fetchone()
            assert ended is not None
            found = await (await connection.execute(_READ, {"rollout": rollout, "since": since})).fetchall()
        rows = [
            CounterRow(rollout=name, segment=segment, journal=journal, minute=minute, cells=cells, revision=revision)
            for name, segment, journal, minute, cells, revision in found
        ]
        return rows, max(since, int(ended[0]))

    async def first_events(self, rollout: str, *, since: int = 0) -> tuple[Sequence[FirstEventRow], int]:
        """First events of sticky units whose revision is > since, and the newest revision; revisions as in `read`."""
        async with self._database.transaction() as connection:
            ended = await (await connection.execute(_ENDED)).fetchone()
            assert ended is not None
            rows = await read_first_events(connection, rollout, since=since)
        return rows, max(since, int(ended[0]))

    async def horizons(self, rollout: str) -> Sequence[Horizon]:
        """For every journal that has counters of this rollout: its last committed tick and whether its writer is dead."""
        found = await self._database.rows(_HORIZONS, {"rollout": rollout})
        return [Horizon(journal=journal, tick_at_us=tick_at_us, dead=dead) for journal, tick_at_us, dead in found]

    async def freshness(self, rollout: str) -> float | None:
        """Seconds of database time since the newest tick of any of these journals was committed; None: never."""
        age: float | None = (await self._database.rows(_FRESHNESS, {"rollout": rollout}))[0][0]
        return age

    async def profile(self, route: str, version_hash: str, *, hours: int = 24) -> Profile:
        """The route's stable outcomes of the last hours, merged; an empty profile where there are none."""
        found = await self._database.rows(_PROFILE, {"route": route, "version_hash": version_hash, "hours": hours})
        return Profile.of(summed(cells for (cells,) in found))


def summed(rows: Iterable[bytes]) -> dict[int, int]:
    """The sum of many rows' cells."""
    total: dict[int, int] = {}
    for row in rows:
        for key, count in from_bytes(row).items():
            total[key] = total.get(key, 0) + count
    return total
