"""A few connections, opened when asked for: what is broken is thrown away at once and errors come at once.

(A pool that reconnects in the background answers "too late" for seconds where "refused" was known, and logs each attempt.)
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

Connection = psycopg.AsyncConnection[TupleRow]


class Pool:
    """At most `size` connections at a time; who comes later waits."""

    def __init__(self, conninfo: str, size: int) -> None:
        self._conninfo = conninfo
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._closed = False

    async def connect(self) -> Connection:
        """A new connection outside of the pool's count. No prepared statements: PgBouncer changes servers under us."""
        return await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True, prepare_threshold=None)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Connection]:
        """A connection for the block; it goes back only where nothing is left open in it."""
        async with self._slots:
            connection = self._idle.pop() if self._idle else await self.connect()
            try:
                yield connection
            finally:
                await self._take_back(connection)

    async def close(self) -> None:
        """Closes what is idle; what is in use is closed when it comes back."""
        self._closed = True
        await self._drop_idle()

    async def _take_back(self, connection: Connection) -> None:
        if connection.broken:  # the server died or was cut off: the others met the same end
            await self._drop_idle()
        if self._closed or connection.closed or connection.info.transaction_status != TransactionStatus.IDLE:
            await connection.close()
        else:
            self._idle.append(connection)

    async def _drop_idle(self) -> None:
        while self._idle:
            await self._idle.pop().close()
