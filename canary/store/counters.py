"""Counters, horizons and profiles as controllers read them from Postgres."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from canary.errors import CountersMoved
from canary.ports import Fence, Moved
from canary.stats.cells import joined
from canary.stats.counts import CounterRow, Horizon, from_bytes
from canary.stats.first_event import FirstEventRow
from canary.stats.profile import Profile
from canary.store import closing
from canary.store.database import Database
from canary.store.first_events import read_first_events

# Everything below the oldest transaction still running has ended: if it wrote, a later look sees it.
_ENDED: Final = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1"
# A minute is read whole where any part of it grew: its parts are one row to everybody else.
_READ: Final = """
SELECT c.journal, c.segment, c.minute, c.cells, c.revision, c.journals
FROM counters c
JOIN (SELECT DISTINCT journal, segment, minute FROM counters WHERE rollout = %(rollout)s AND revision > %(since)s) AS grown
  USING (journal, segment, minute)
WHERE c.rollout = %(rollout)s
ORDER BY c.journal, c.segment, c.minute, c.part"""
_TOTALS: Final = """
SELECT segment, minute, cells, revision, holds, first_s, last_s
FROM totals
WHERE rollout = %(rollout)s AND revision > %(since)s
ORDER BY segment"""
# One probe of the primary key for each journal whose rows have not moved yet; as a plain EXISTS it becomes a scan of all.
_COUNTED: Final = """
FROM journals j
LEFT JOIN closings k ON k.rollout = %(rollout)s AND k.journal = j.journal
LEFT JOIN LATERAL (SELECT true AS there FROM counters c WHERE c.rollout = %(rollout)s AND c.journal = j.journal LIMIT 1) AS c
  ON k.journal IS NULL
WHERE k.journal IS NOT NULL OR c.there"""
_HORIZONS: Final = (
    "SELECT j.journal, j.tick_at_us, j.dead,"
    " coalesce(j.ticked_at < clock_timestamp() - %(silent_s)s * interval '1 second', true)"
    f"{_COUNTED} ORDER BY j.journal"
)
_FRESHNESS: Final = "SELECT extract(epoch FROM clock_timestamp() - max(j.ticked_at))::float8" + _COUNTED  # noqa: S608 - ours
_PROFILE: Final = """
SELECT hour, cells, floor(extract(epoch FROM now()) / 3600)::bigint
FROM profiles
WHERE route = %(route)s AND version_hash = %(version_hash)s AND hour > extract(epoch FROM now()) / 3600 - 1 - %(hours)s"""


SILENT_S: Final = 600.0
"""Without a tick of its own: longer than any restart, and than a courier that catches up takes for a batch."""


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
        values = {"rollout": rollout, "since": since}
        async with self._database.transaction(consistent=True) as connection:
            ended = await (await connection.execute(_ENDED)).fetchone()
            assert ended is not None
            totals = await (await connection.execute(_TOTALS, values)).fetchall()
            parts = await (await connection.execute(_READ, values)).fetchall()
        rows = [*(_total_row(rollout, row) for row in totals), *whole_rows(rollout, parts)]
        check_nothing_missed(rollout, rows, since=since)
        return sorted(rows, key=lambda row: row.revision), max(since, int(ended[0]))

    async def close(self, rollout: str, *, fence: Fence, settle_us: int, most: int = 1_000) -> Moved:
        """Moves journals' rows whose minute is closed into the fleet's: see the port."""
        async with self._database.transaction() as connection:
            return await closing.close(connection, rollout, fence=fence, settle_us=settle_us, most=most)

    async def fold(self, rollout: str, *, fence: Fence, minute: int, seen: int) -> int:
        """Moves the fleet's old rows into totals: see the port."""
        async with self._database.transaction() as connection:
            return await closing.fold(connection, rollout, fence=fence, minute=minute, seen=seen)

    async def first_events(self, rollout: str, *, since: int = 0) -> tuple[Sequence[FirstEventRow], int]:
        """First events of sticky units whose revision is > since, and the newest revision; revisions as in `read`."""
        async with self._database.transaction() as connection:
            ended = await (await connection.execute(_ENDED)).fetchone()
            assert ended is not None
            rows = await read_first_events(connection, rollout, since=since)
        return rows, max(since, int(ended[0]))

    async def horizons(self, rollout: str) -> Sequence[Horizon]:
        """For every journal that has counters of this rollout: its last committed tick, whether it is dead or silent."""
        found = await self._database.rows(_HORIZONS, {"rollout": rollout, "silent_s": SILENT_S})
        return [Horizon(journal=name, tick_at_us=tick_us, dead=dead, silent=silent) for name, tick_us, dead, silent in found]

    async def freshness(self, rollout: str) -> float | None:
        """Seconds of database time since the newest tick of any of these journals was committed; None: never."""
        age: float | None = (await self._database.rows(_FRESHNESS, {"rollout": rollout}))[0][0]
        return age

    async def profile(self, route: str, version_hash: str, *, hours: int = 24) -> Profile:
        """The route's stable outcomes of the last hours, merged; an empty profile where there are none."""
        found = await self._database.rows(_PROFILE, {"route": route, "version_hash": version_hash, "hours": hours})
        return Profile.of_hours(
            by_hour((hour, cells) for hour, cells, _ in found), present=max((row[2] for row in found), default=0)
        )


def whole_rows(rollout: str, parts: Iterable[tuple[Any, ...]]) -> list[CounterRow]:
    """Rows of whole minutes out of (journal, segment, minute, cells, revision, journals), the parts of one together."""
    rows = []
    for (journal, segment, minute), found in groupby(parts, key=itemgetter(0, 1, 2)):
        group = list(found)
        rows.append(
            CounterRow(
                rollout=rollout,
                segment=segment,
                journal=journal,
                minute=minute,
                cells=joined([part[3] for part in group]),
                revision=max(part[4] for part in group),
                journals=tuple(group[0][5] or ()),
            )
        )
    return rows


def check_nothing_missed(rollout: str, rows: Iterable[CounterRow], *, since: int) -> None:
    """Raises CountersMoved where a total holds fleet rows that a reader of `since` may never have seen.

    Such a reader may still have the journals' rows that went into them, and nothing would tell it to let go of those.
    """
    if since and any(row.total and row.holds > since for row in rows):
        raise CountersMoved(f"counters of {rollout} moved into totals after revision {since}: read them anew")


def _total_row(rollout: str, row: tuple[Any, ...]) -> CounterRow:
    segment, minute, cells, revision, holds, first_s, last_s = row
    return CounterRow(
        rollout=rollout,
        segment=segment,
        journal="",
        minute=minute,
        cells=cells,
        revision=revision,
        total=True,
        holds=holds,
        first_s=first_s,
        last_s=last_s,
    )


def by_hour(rows: Iterable[tuple[int, bytes]]) -> dict[int, dict[int, int]]:
    """The sum of all journals' cells, hour by hour."""
    hours: dict[int, dict[int, int]] = {}
    for hour, row in rows:
        cells = hours.setdefault(hour, {})
        for key, count in from_bytes(row).items():
            cells[key] = cells.get(key, 0) + count
    return hours
