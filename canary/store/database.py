"""One pool of connections to Postgres, and what its errors mean here."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Self

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from canary.errors import DataRefused, StoreAway, StoreError

PLAN_CHANNEL: Final = "canary_plan"

Connection = psycopg.AsyncConnection[TupleRow]

_DEADLINE_S: Final = 30.0  # of one transaction: longer than any of ours takes, shorter than anyone waits
_OPEN_S: Final = 10.0
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
    """A small pool; every use of it is one transaction."""

    def __init__(self, url: str, pool: AsyncConnectionPool[Connection]) -> None:
        self._conninfo = _conninfo(url)
        self._pool = pool
        self.place = place_of(url)

    @classmethod
    async def open(cls, url: str, *, size: int = 4) -> Self:
        """Connects once to see that it works; raises StoreAway with a hint where it does not."""
        with _translated(place_of(url)):
            conninfo = _conninfo(url)
            async with asyncio.timeout(_OPEN_S):
                probe = await psycopg.AsyncConnection.connect(conninfo, prepare_threshold=None)
                await probe.close()
            pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
                conninfo,
                # PgBouncer gives each transaction another server connection: no prepared statements, no session state
                kwargs={"prepare_threshold": None, "autocommit": True},
                min_size=1,
                max_size=size,
                timeout=5.0,
                reconnect_timeout=0.0,
                num_workers=1,
                open=False,
            )
            await pool.open()
        return cls(url, pool)

    async def close(self) -> None:
        """Closes all connections; uses under way end with an error."""
        await self._pool.close(timeout=5.0)

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
            async with asyncio.timeout(_DEADLINE_S), self._pool.connection() as connection:
                async with connection.transaction():
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
            async with await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True) as connection:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                yield ""
                while True:
                    async for notice in connection.notifies(timeout=_HEARTBEAT_S):
                        yield notice.payload
                    await connection.execute("SELECT 1")  # a dead peer is noticed here


def place_of(url: str) -> str:
    """Host and database of a URL, without user or password, for messages."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        return "the configured database"
    host = parts.get("host") or parts.get("hostaddr") or "local socket"
    return f"{parts.get('dbname') or 'default database'} at {host}"


def _conninfo(url: str) -> str:
    given = conninfo_to_dict(url)
    return make_conninfo("", **{**_NETWORK, **given})


@contextmanager
def _translated(place: str) -> Iterator[None]:
    """Turns the driver's errors into ours; the text never holds the URL."""
    try:
        yield
    except (PoolTimeout, TimeoutError) as error:
        raise StoreAway(f"no answer from Postgres ({place}) in time", hint=_AWAY_HINT) from error
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise DataRefused(f"Postgres refused a value: {_first_line(error)}") from error
    except (psycopg.errors.ReadOnlySqlTransaction, psycopg.OperationalError) as error:
        raise StoreAway(f"Postgres ({place}) cannot be used: {_first_line(error)}", hint=_AWAY_HINT) from error
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedFunction) as error:
        raise StoreError(f"Postgres ({place}): {_first_line(error)}", hint=_SCHEMA_HINT) from error
    except psycopg.Error as error:
        raise StoreError(f"Postgres ({place}): {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
