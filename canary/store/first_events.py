"""First events of sticky units in Postgres: of each unit and metric the earliest start stays, whoever tells it, how often."""

from collections.abc import Iterable, Sequence
from typing import Final

from canary.stats.first_event import MOST_USERS, FirstEventRow
from canary.stats.unit_events import BLOCK_US, LATE, late_block
from canary.store.database import Connection
from canary.terms import Arm

_MINUTE_US: Final = 60_000_000

# In the order of the key: two couriers that write the same units then wait for each other, and never both at once.
_WRITE: Final = """
INSERT INTO first_events AS kept (rollout, metric, unit_hash, start_at_us, segment, arm, journal, revision)
SELECT d.rollout, d.metric, d.unit_hash, d.start_at_us, d.segment, d.arm, %(journal)s, pg_current_xact_id()::text::bigint
FROM unnest(%(rollouts)s::text[], %(metrics)s::text[], %(units)s::bytea[], %(starts)s::bigint[], %(segments)s::integer[],
            %(arms)s::text[])
  AS d (rollout, metric, unit_hash, start_at_us, segment, arm)
ORDER BY d.rollout, d.metric, d.unit_hash
ON CONFLICT (rollout, metric, unit_hash) DO UPDATE
  SET start_at_us = excluded.start_at_us, segment = excluded.segment, arm = excluded.arm, journal = excluded.journal,
      revision = excluded.revision
  WHERE excluded.start_at_us < kept.start_at_us"""
_READ: Final = """
SELECT rollout, metric, unit_hash, start_at_us, segment, arm, journal, revision
FROM (SELECT *, row_number() OVER (PARTITION BY metric ORDER BY start_at_us, unit_hash) AS place
      FROM first_events
      WHERE rollout = %(rollout)s AND revision > %(since)s) AS found
WHERE place <= %(most)s
ORDER BY revision, metric, unit_hash"""
_FORGET: Final = "DELETE FROM first_events WHERE rollout = %(rollout)s AND metric = ANY(%(metrics)s)"
_LATE: Final = "SELECT DISTINCT metric FROM first_events WHERE rollout = %(rollout)s AND starts_with(metric, %(late)s)"

MOST_READ: Final = MOST_USERS
"""Of a metric, those with the smallest starts: whoever reads keeps no more, so what is left out could not have stayed."""


def earliest(rows: Iterable[FirstEventRow]) -> list[FirstEventRow]:
    """One row for each rollout, metric and unit: the one with the least start."""
    found: dict[tuple[str, str, bytes], FirstEventRow] = {}
    for row in rows:
        at_hand = found.get(row[:3])
        if at_hand is None or row.start_at_us < at_hand.start_at_us:
            found[row[:3]] = row
    return list(found.values())


def smallest(rows: Iterable[FirstEventRow]) -> list[FirstEventRow]:
    """As many of each metric as are ever read, in the order of revisions."""
    found: list[FirstEventRow] = []
    places: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: (row.start_at_us, row.unit_hash)):
        places[row.metric] = places.get(row.metric, 0) + 1
        if places[row.metric] <= MOST_READ:
            found.append(row)
    return sorted(found, key=lambda row: (row.revision, row.metric, row.unit_hash))


def is_read_no_more(metric: str, minute: int) -> bool:
    """Whether it is of ten minutes that ended by this minute: late onset's bets begin after it."""
    return 0 <= late_block(metric) < (minute + 1) * _MINUTE_US // BLOCK_US


async def forget_late(connection: Connection, rollout: str, *, minute: int) -> None:
    """Deletes first failures of blocks up to this minute, within the transaction of who moves old minutes into totals."""
    found = await (await connection.execute(_LATE, {"rollout": rollout, "late": LATE})).fetchall()
    old = [metric for (metric,) in found if is_read_no_more(metric, minute)]
    if old:
        await connection.execute(_FORGET, {"rollout": rollout, "metrics": old})


async def write_first_events(connection: Connection, journal: str, rows: Sequence[FirstEventRow]) -> None:
    """Writes what one journal tells, within its own transaction; a row with a later start than the one kept changes nothing."""
    if not rows:
        return
    rollouts, metrics, units, starts, segments, arms, _, _ = zip(*earliest(rows), strict=True)
    values = {
        "journal": journal,
        "rollouts": list(rollouts),
        "metrics": list(metrics),
        "units": list(units),
        "starts": list(starts),
        "segments": list(segments),
        "arms": [str(arm) for arm in arms],
    }
    await connection.execute(_WRITE, values)


async def read_first_events(connection: Connection, rollout: str, *, since: int) -> list[FirstEventRow]:
    """Rows of a rollout whose revision is > since."""
    found = await (await connection.execute(_READ, {"rollout": rollout, "since": since, "most": MOST_READ})).fetchall()
    return [
        FirstEventRow(name, metric, bytes(unit), start_at_us, segment, Arm(arm), journal, revision)
        for name, metric, unit, start_at_us, segment, arm, journal, revision in found
    ]
