"""Closed counters move together: journals' rows of a minute into the fleet's, the fleet's old rows into totals.

A row leaves one place and arrives in the other in one transaction, so a reader sees it in exactly one. The journals' rows in
`journals` are locked before their counters are taken: a courier in the middle of a commit is skipped and closed next time, and
none can commit between our look and our move. The mark in `closings` then keeps a courier that still remembers a closed minute
from writing it again.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from canary.errors import Deposed
from canary.ports import Fence, Moved
from canary.stats.closed import fleet_cells, span_of, total_cells
from canary.store.database import Connection, each
from canary.store.first_events import forget_late

# FOR SHARE: a new leader cannot take the lease before this transaction ends, so moves of two leaders never overlap.
_LEADS: Final = """
SELECT 1 FROM leases WHERE name = %(lease)s AND epoch = %(epoch)s AND expires_at > clock_timestamp() FOR SHARE"""
# One move of a rollout's counters at a time, even were two processes to believe in one epoch.
_ALONE: Final = "SELECT pg_advisory_xact_lock(hashtextextended(%(rollout)s, 99))"
# A minute is closed once the journal's tick has passed its end by the time in which anything could still be counted in it.
_CLOSABLE: Final = """
SELECT c.journal, c.minute, count(*)
FROM counters c JOIN journals j ON j.journal = c.journal
WHERE c.rollout = %(rollout)s AND (j.dead OR c.minute <= (j.tick_at_us - %(settle_us)s) / 60000000 - 1)
GROUP BY c.minute, c.journal
ORDER BY c.minute, c.journal
LIMIT %(most)s"""
_LOCK: Final = """
SELECT journal FROM journals WHERE journal = ANY(%(journals)s) ORDER BY journal FOR NO KEY UPDATE SKIP LOCKED"""
_TAKE: Final = """
DELETE FROM counters c
USING unnest(%(journals)s::text[], %(minutes)s::integer[]) AS until (journal, minute)
WHERE c.rollout = %(rollout)s AND c.journal = until.journal AND c.minute <= until.minute
RETURNING c.journal, c.segment, c.minute, c.cells"""
_MARK: Final = """
INSERT INTO closings AS k (rollout, journal, minute)
SELECT %(rollout)s, until.journal, until.minute
FROM unnest(%(journals)s::text[], %(minutes)s::integer[]) AS until (journal, minute)
ON CONFLICT (rollout, journal) DO UPDATE SET minute = greatest(k.minute, excluded.minute)"""
_FLEET: Final = """
SELECT c.segment, c.minute, c.cells, c.journals
FROM counters c JOIN unnest(%(segments)s::integer[], %(minutes)s::integer[]) AS wanted (segment, minute) USING (segment, minute)
WHERE c.rollout = %(rollout)s AND c.journal = ''"""
_PUT: Final = """
INSERT INTO counters (rollout, journal, segment, minute, cells, revision, journals)
VALUES (%(rollout)s, '', %(segment)s, %(minute)s, %(cells)s, pg_current_xact_id()::text::bigint, %(journals)s)
ON CONFLICT (rollout, journal, segment, minute, part) DO UPDATE
SET cells = excluded.cells, revision = excluded.revision, journals = excluded.journals"""
_SPAN: Final = "SELECT min(minute), max(minute) FROM counters WHERE rollout = %(rollout)s AND journal = ''"

_TOTALS: Final = """
SELECT segment, minute, cells, first_s, last_s FROM totals WHERE rollout = %(rollout)s ORDER BY segment FOR UPDATE"""
_TAKE_OLD: Final = """
DELETE FROM counters
WHERE rollout = %(rollout)s AND journal = '' AND minute <= %(minute)s AND revision <= %(seen)s
RETURNING segment, minute, cells, revision"""
_PUT_TOTAL: Final = """
INSERT INTO totals (rollout, segment, minute, holds, first_s, last_s, cells, revision)
VALUES (%(rollout)s, %(segment)s, %(minute)s, %(holds)s, %(first_s)s, %(last_s)s, %(cells)s,
        pg_current_xact_id()::text::bigint)
ON CONFLICT (rollout, segment) DO UPDATE
SET minute = excluded.minute, holds = excluded.holds, first_s = excluded.first_s, last_s = excluded.last_s,
    cells = excluded.cells, revision = excluded.revision"""


class Taken(NamedTuple):
    """A journal's row, or one part of it, on its way into the fleet's."""

    journal: str
    segment: int
    minute: int
    cells: bytes


class FleetRow(NamedTuple):
    """What is added up of one minute and segment."""

    segment: int
    minute: int
    cells: bytes
    journals: tuple[str, ...] = ()


class TotalRow(NamedTuple):
    """What is added up of one segment."""

    segment: int
    cells: bytes
    first_s: int
    last_s: int


def portion(closable: Iterable[tuple[str, int, int]], *, most: int) -> dict[str, int]:
    """Up to which minute each journal is closed this time, of (journal, minute, rows) in the order of minutes.

    At most so many rows, and at least one minute: a minute is taken whole, and of each journal its oldest first.
    """
    until: dict[str, int] = {}
    rows = 0
    for journal, minute, count in closable:
        if until and rows + count > most:
            break
        rows += count
        until[journal] = minute
    return until


def fleet_rows(taken: Iterable[Taken], there: Iterable[FleetRow]) -> list[FleetRow]:
    """The fleet's rows with what was taken from journals added."""
    cells: dict[tuple[int, int], list[bytes]] = {}
    journals: dict[tuple[int, int], set[str]] = {}
    for row in there:
        cells[row.segment, row.minute] = [row.cells]
        journals[row.segment, row.minute] = set(row.journals)
    for part in taken:
        cells.setdefault((part.segment, part.minute), []).append(part.cells)
        journals.setdefault((part.segment, part.minute), set()).add(part.journal)
    return [FleetRow(*key, fleet_cells(found), tuple(sorted(journals[key]))) for key, found in sorted(cells.items())]


def total_rows(old: Sequence[FleetRow], there: Iterable[TotalRow]) -> list[TotalRow]:
    """The totals that grow by the fleet's old rows."""
    totals = {row.segment: row for row in there}
    for segment in sorted({row.segment for row in old}):
        rows = [row for row in old if row.segment == segment]
        spans = [span_of(row.cells, row.minute) for row in rows]
        cells = [row.cells for row in rows]
        if segment in totals:
            cells.append(totals[segment].cells)
            spans.append((totals[segment].first_s, totals[segment].last_s))
        first_s, last_s = min(span[0] for span in spans), max(span[1] for span in spans)
        totals[segment] = TotalRow(segment, total_cells(cells), first_s, last_s)
    return [totals[segment] for segment in sorted({row.segment for row in old})]


async def close(connection: Connection, rollout: str, *, fence: Fence, settle_us: int, most: int) -> Moved:
    """Moves closed rows of journals into the fleet's, within one transaction; raises Deposed where the lease is not held."""
    await _alone(connection, rollout, fence)
    values = {"rollout": rollout, "settle_us": settle_us, "most": most}
    closable = await (await connection.execute(_CLOSABLE, values)).fetchall()
    names = sorted({journal for journal, _, _ in closable})
    locked = {name for (name,) in await (await connection.execute(_LOCK, {"journals": names})).fetchall()} if names else set()
    until = portion([row for row in closable if row[0] in locked], most=most)
    taken = await _take(connection, rollout, until) if until else []
    oldest, newest = await _span(connection, rollout)
    return Moved(rows=len(taken), oldest=oldest, newest=newest)


async def fold(connection: Connection, rollout: str, *, fence: Fence, minute: int, seen: int) -> int:
    """Moves the fleet's old rows into totals, within one transaction; returns their number. Raises Deposed.

    Users' first failures that late onset reads no more go with them.
    """
    await _alone(connection, rollout, fence)
    await forget_late(connection, rollout, minute=minute)
    found = await (await connection.execute(_TOTALS, {"rollout": rollout})).fetchall()
    if any(until > minute for _, until, *_ in found):
        return 0  # another leader was further; a total that went back would no longer say which rows it holds
    values = {"rollout": rollout, "minute": minute, "seen": seen}
    taken = await (await connection.execute(_TAKE_OLD, values)).fetchall()
    if not taken:
        return 0
    there = [TotalRow(segment, cells, first_s, last_s) for segment, _, cells, first_s, last_s in found]
    rows = total_rows([FleetRow(*row[:3]) for row in taken], there)
    values |= {"holds": max(row[3] for row in taken)}
    await each(connection, _PUT_TOTAL, [values | row._asdict() for row in rows])
    return len(taken)


async def _alone(connection: Connection, rollout: str, fence: Fence) -> None:
    """Holds the lease and the right to move, until the transaction ends; raises Deposed where the lease is another's."""
    await connection.execute(_ALONE, {"rollout": rollout})
    held = await connection.execute(_LEADS, {"lease": fence.name, "epoch": fence.epoch})
    if await held.fetchone() is None:
        raise Deposed(f"lease {fence.name} is not held under epoch {fence.epoch} any more")


async def _take(connection: Connection, rollout: str, until: dict[str, int]) -> list[Taken]:
    marks = {"rollout": rollout, "journals": list(until), "minutes": list(until.values())}
    taken = [Taken(*row) for row in await (await connection.execute(_TAKE, marks)).fetchall()]
    await connection.execute(_MARK, marks)
    keys = sorted({(row.segment, row.minute) for row in taken})
    wanted = {"rollout": rollout, "segments": [key[0] for key in keys], "minutes": [key[1] for key in keys]}
    found = await (await connection.execute(_FLEET, wanted)).fetchall()
    there = [FleetRow(segment, minute, cells, tuple(journals)) for segment, minute, cells, journals in found]
    rows = fleet_rows(taken, there)
    put = [row._asdict() | {"rollout": rollout, "journals": list(row.journals)} for row in rows]
    await each(connection, _PUT, put)
    return taken


async def _span(connection: Connection, rollout: str) -> tuple[int | None, int | None]:
    row = await (await connection.execute(_SPAN, {"rollout": rollout})).fetchone()
    assert row is not None
    return row[0], row[1]
