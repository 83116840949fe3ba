"""An upstream: its address, its LIFO pool of idle connections, its TLS."""

import asyncio
import socket
import ssl
from typing import Final, cast

from canary.terms import Ending
from canary.wire.call import Call
from canary.wire.client import Pool, UpstreamConnection
from canary.wire.origin import Origin
from canary.wire.resolver import Resolver
from canary.wire.ticker import Ticker

IDLE_S: Final = 4.0  # below the 5 s after which common servers close
MAX_IDLE: Final = 1_024


def tls_context(origin: Origin) -> ssl.SSLContext:
    """Verifies chain and name unless told not to; raises OSError or SSLError for a bad trust file."""
    context = ssl.create_default_context(cafile=origin.ca_file or None)
    if not origin.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


class Upstream(Pool):
    """Hands out connections: the one used last first, a new one where none is idle."""

    def __init__(self, origin: Origin, *, loop: asyncio.AbstractEventLoop, ticker: Ticker, resolver: Resolver) -> None:
        self.origin = origin
        self.retired = False  # no longer in the plan: connections are not kept
        self.stray = 0  # connections closed because bytes came unasked
        self.connects = 0
        self._loop = loop
        self._ticker = ticker
        self._resolver = resolver
        self._tls = tls_context(origin) if origin.tls else None
        self._idle: list[UpstreamConnection] = []
        self._connecting: set[asyncio.Task[None]] = set()

    def acquire(self, call: Call) -> None:
        """Gives `call` a connection: now from the pool, or later."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            transport = connection.transport
            if transport is not None and not transport.is_closing():
                call.on_connection(connection)
                return
        self.connect(call)

    def connect(self, call: Call) -> None:
        """Opens a new connection for `call`."""
        task = self._loop.create_task(self._connect(call))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def release(self, connection: UpstreamConnection, keep_alive_s: int) -> None:
        """Takes a connection back; the server's own word on its patience counts, with a second to spare."""
        idle = self._idle
        idle_s = IDLE_S if keep_alive_s < 0 else min(IDLE_S, keep_alive_s - 1.0)
        if idle_s <= 0 or self.retired or len(idle) >= MAX_IDLE:
            connection.close()
            return
        connection.idle_until = self._ticker.now + idle_s
        idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection closed; it leaves the pool if it was there."""
        if connection.idle_until and connection in self._idle:
            self._idle.remove(connection)

    def close_idle(self, now: float) -> None:
        """Closes what was idle too long; everything that is idle where this upstream is retired."""
        stale: list[UpstreamConnection] = []
        kept: list[UpstreamConnection] = []
        for connection in self._idle:
            (stale if self.retired or connection.idle_until <= now else kept).append(connection)
        if stale:
            self._idle = kept
            for connection in stale:
                connection.idle_until = 0.0  # out of the pool: nobody needs to look for it there
                connection.close()

    def close(self) -> None:
        """Ends all that is idle or under way to be made."""
        self.retired = True
        self.close_idle(self._ticker.now)
        for task in list(self._connecting):
            task.cancel()

    async def _connect(self, call: Call) -> None:
        origin = self.origin
        connect_s = max(0.001, (call.deadline_us - call.age_us()) / 1e6) if call.deadline_us else 60.0
        try:
            async with asyncio.timeout(min(connect_s, call.connect_s)):
                connection = await self._open(origin)
        except TimeoutError:
            if not call.ended:
                call.on_connect_failed(Ending.TIMEOUT)
            return
        except OSError:  # ssl.SSLError and socket.gaierror among them
            if not call.ended:
                call.on_connect_failed(Ending.REFUSED)
            return
        self.connects += 1
        if call.ended:
            self.release(connection, -1)
        elif not connection.usable:
            call.on_lost(Ending.RESET, untouched=True, reused=False)
        else:
            call.on_connection(connection)

    async def _open(self, origin: Origin) -> UpstreamConnection:
        addresses = await self._resolver.resolve(origin.host, origin.port)
        failed: OSError = ConnectionRefusedError(f"{origin.host} has no address")
        for address in addresses:
            try:
                transport, connection = await self._loop.create_connection(
                    lambda: cast("asyncio.Protocol", UpstreamConnection(self)),
                    address,
                    origin.port,
                    ssl=self._tls,
                    server_hostname=origin.host if self._tls is not None else None,
                )
            except OSError as error:
                failed = error
                continue
            raw = transport.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return cast("UpstreamConnection", connection)
        raise failed
