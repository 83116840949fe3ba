"""Bodies whose days to keep are over before their partition's are: deleted in portions, found by their date."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from psycopg import sql

from canary.store.database import Database

AT_ONCE: Final = 2_000
"""Rows of a portion: some 10 ms where bodies are small, 200 ms where each is a capped one of 64 KiB."""

BUDGET_S: Final = 300.0
"""Of one pass; what is left is left to the next one, an hour later."""

_ALONE: Final = "SELECT pg_try_advisory_xact_lock(7164918247)"  # whoever is second leaves it to the first
# By place in the table: the rows that the index found are not looked for again. In order, so that it is the index that finds
# them, also in a partition that was not analyzed yet.
DUE: Final = "SELECT ctid FROM {table} WHERE keep_until <= now() ORDER BY keep_until LIMIT {at_once}"
_DELETE: Final = f"DELETE FROM {{table}} WHERE ctid = ANY (ARRAY({DUE}))"  # noqa: S608 - ours


async def delete_due_bodies(
    database: Database,
    tables: Sequence[str],
    *,
    at_once: int = AT_ONCE,
    budget_s: float = BUDGET_S,
    elapsed: Callable[[], float] = time.monotonic,
) -> int:
    """Deletes what is due in these partitions of `bodies`, each portion in a transaction of its own; returns how many rows.

    Ends early where its time is over or another process is at it. Raises StoreAway.
    """
    gone, until_s = 0, elapsed() + budget_s
    for table in tables:
        statement = sql.SQL(_DELETE).format(table=sql.Identifier(table), at_once=sql.Literal(at_once))
        taken = at_once
        while taken == at_once:
            if elapsed() >= until_s:
                return gone
            async with database.transaction() as connection:
                free = await (await connection.execute(_ALONE)).fetchone()
                if free is None or not free[0]:
                    return gone
                taken = (await connection.execute(statement)).rowcount
            gone += taken
    return gone
