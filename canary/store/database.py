"""One pool of connections to Postgres, and what its errors mean here."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, LiteralString, Self

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from canary.errors import DataRefused, StoreAway, StoreError
from canary.store.pool import Connection, Pool

__all__ = ["PLAN_CHANNEL", "Connection", "Database", "each", "conninfo_of", "place_of"]

PLAN_CHANNEL: Final = "canary_plan"

_DEADLINE_S: Final = 30.0  # of one transaction: longer than any of ours takes, shorter than anyone waits
_OPEN_S: Final = 10.0
_UNATTENDED: Final = "SET LOCAL idle_in_transaction_session_timeout = '4s'"
"""A process that is paused in the middle of a transaction holds its locks, the lease's among them, until Postgres ends it."""
_HEARTBEAT_S: Final = 30.0
_AWAY_HINT: Final = "Is Postgres running and reachable? `canary doctor` looks; nothing recorded is lost meanwhile."
_SCHEMA_HINT: Final = "The database's tables do not fit this version: run `canary db upgrade`."
_NETWORK: Final[dict[str, str | int]] = {  # a network that swallows packets is noticed in seconds, not in hours
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "application_name": "canary",
}


class Database:
    """A small pool of connections; every use of it is one transaction."""

    def __init__(self, url: str, *, size: int = 4) -> None:
        self.place = place_of(url)
        self._pool = Pool(conninfo_of(url), size)

    @classmethod
    async def open(cls, url: str, *, size: int = 4) -> Self:
        """Connects once to see that it works; raises StoreAway with a hint where it does not."""
        with _translated(place_of(url)):
            database = cls(url, size=size)
            async with asyncio.timeout(_OPEN_S), database._pool.one():
                return database

    async def close(self) -> None:
        """Closes the connections; those in use are closed when their transaction ends."""
        await self._pool.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def transaction(self, *, consistent: bool = False) -> AsyncIterator[Connection]:
        """One transaction, committed at the end of the block; `consistent` reads everything as of one instant.

        Raises StoreAway where trying later may help, DataRefused where a value was the reason, StoreError otherwise.
        """
        with _translated(self.place):
            async with asyncio.timeout(_DEADLINE_S), self._pool.one() as connection:
                async with connection.transaction():
                    await connection.execute(_UNATTENDED)
                    if consistent:
                        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                    yield connection

    async def rows(self, statement: str, parameters: dict[str, Any] | None = None) -> list[TupleRow]:
        """All rows of one statement in a transaction of its own."""
        async with self.transaction() as connection:
            cursor = await connection.execute(sql.SQL(statement), parameters)
            return await cursor.fetchall() if cursor.description else []

    async def hear(self, channel: str = PLAN_CHANNEL) -> AsyncGenerator[str, None]:
        """Payloads of NOTIFY on a connection of its own; raises StoreAway when that breaks.

        The first item is empty and says that listening has begun: what is read after it misses nothing.
        """
        with _translated(self.place):
            async with await self._pool.connect() as connection:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                yield ""
                while True:
                    async for notice in connection.notifies(timeout=_HEARTBEAT_S):
                        yield notice.payload
                    await connection.execute("SELECT 1")  # a dead peer is noticed here


async def each(connection: Connection, statement: LiteralString, rows: Iterable[Mapping[str, Any]]) -> None:
    """A statement with each of these values, one after the other and never as a pipeline (`executemany` is one).

    To Postgres a client that is paused inside a pipeline is not idle: nothing ends its transaction, and a leader's lease, which
    the transaction holds, is nobody's for as long.
    """
    for row in rows:
        await connection.execute(statement, row)


def place_of(url: str) -> str:
    """Host and database of a URL, without user or password, for messages."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        return "the configured database"
    host = parts.get("host") or parts.get("hostaddr") or "local socket"
    return f"{parts.get('dbname') or 'default database'} at {host}"


def conninfo_of(url: str) -> str:
    """What the driver is told; raises StoreError for what it cannot read, several hosts and all its options included."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:  # its text may quote the password
        raise StoreError("the database URL cannot be read", hint="Expected postgresql://user@host:port/database.") from None
    return make_conninfo("", **{**_NETWORK, **given})


@contextmanager
def _translated(place: str) -> Iterator[None]:
    """Turns the driver's errors into ours; the text never holds the URL."""
    try:
        yield
    except TimeoutError as error:
        raise StoreAway(f"no answer from Postgres ({place}) in time", hint=_AWAY_HINT) from error
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise DataRefused(f"Postgres refused a value: {_without_data(error)}") from None
    except (psycopg.errors.ReadOnlySqlTransaction, psycopg.OperationalError) as error:
        raise StoreAway(f"Postgres ({place}) cannot be used: {_first_line(error)}", hint=_AWAY_HINT) from error
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedFunction) as error:
        raise StoreError(f"Postgres ({place}): {_first_line(error)}", hint=_SCHEMA_HINT) from error
    except psycopg.Error as error:
        raise StoreError(f"Postgres ({place}): {_first_line(error)}") from error


def _without_data(error: psycopg.Error) -> str:
    """What kind of error and where; the driver's text, its cause included, quotes the value, which may be anyone's data."""
    where = ", ".join(name for name in (error.diag.table_name, error.diag.column_name, error.diag.constraint_name) if name)
    return f"{type(error).__name__} {error.sqlstate or ''} {where}".rstrip()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
