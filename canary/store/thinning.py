"""Notes of the past are thinned: decisions that moved nothing, by their age. What moved a rollout stays for ever."""

from typing import Final

from canary.store.database import Database

WHOLE_DAYS: Final = 1
"""All notes are kept so long; after that the last of each hour."""

HOURLY_DAYS: Final = 30
"""After a rollout's end; then only those that stand before a move, which is what a move by hand was read from."""

_AT_ONCE: Final = 500
"""Rows of 20 to 40 KB: a transaction of some ten milliseconds."""

_ALONE: Final = "SELECT pg_try_advisory_xact_lock(7164918246)"  # one courier thins at a time; the others need not wait for it
# The next decision is found by the unique (rollout, revision); bodies are not touched, they lie beside the table.
_THIN: Final = """
DELETE FROM decisions WHERE id IN (
    SELECT d.id
    FROM decisions d
    JOIN rollouts r ON r.id = d.rollout
    CROSS JOIN LATERAL (
        SELECT n.action, n.at FROM decisions n
        WHERE n.rollout = d.rollout AND n.revision > d.revision ORDER BY n.revision LIMIT 1
    ) AS next
    WHERE d.action = 'keep' AND next.action = 'keep' AND d.at < now() - %(whole_days)s * interval '1 day'
      AND (date_trunc('hour', next.at, 'UTC') = date_trunc('hour', d.at, 'UTC')
           OR r.ended_at < now() - %(hourly_days)s * interval '1 day')
    LIMIT %(at_once)s)"""


async def thin_decisions(database: Database, *, at_once: int = _AT_ONCE) -> int:
    """Deletes notes that are old and stand for nothing; returns how many. Every action, and the last note before it, stays.

    In transactions of `at_once` rows each, so that nobody waits for long; none where another process is at it.
    Raises StoreAway.
    """
    gone = 0
    while True:
        async with database.transaction() as connection:
            free = await (await connection.execute(_ALONE)).fetchone()
            if free is None or not free[0]:
                return gone
            values = {"whole_days": WHOLE_DAYS, "hourly_days": HOURLY_DAYS, "at_once": at_once}
            taken = (await connection.execute(_THIN, values)).rowcount
        gone += taken
        if taken < at_once:
            return gone
