"""A data plane in one process without a network: what its connections write is kept."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from canary.proxy.application import DataPlane
from canary.proxy.table import PlanKeeper
from canary.proxy.upstreams import Upstreams
from canary.store.journal import JournalWriter
from canary.store.snapshot import write_snapshot
from canary.telemetry.page import Page
from canary.wire.client import UpstreamConnection
from canary.wire.resolver import Resolver
from canary.wire.server import ClientConnection
from canary.wire.serving import Server
from canary.wire.ticker import Ticker
from canary.wire.upstream import Upstream
from tests.support.worker_process import a_route, a_snapshot, a_split, a_version

ASK = b"GET /a HTTP/1.1\r\nHost: a\r\nX-Request-Id: %016d\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nX-Request-Id: %016d\r\nContent-Length: 2\r\n\r\nhi"


class Wire(asyncio.Transport):
    """Keeps what was written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("10.0.0.1", 1)})
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        """To nobody."""
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        """Never."""
        return False


class Room:
    """A data plane with one client and one idle connection to each of two versions, all without a network."""

    def __init__(self, folder: Path) -> None:
        loop, ticker = asyncio.get_running_loop(), Ticker(asyncio.get_running_loop())
        route = a_route(a_version("v1", 1), a_version("v2", 2), split=a_split(shadow_bp=10_000))
        write_snapshot(folder / "snapshot.json", a_snapshot(route))
        pools: list[Upstream] = []

        def make(origin: Any) -> Upstream:
            pools.append(Upstream(origin, loop=loop, ticker=ticker, resolver=Resolver(loop)))
            return pools[-1]

        page = Page(folder / "page")
        self.keeper = PlanKeeper(folder, upstreams=Upstreams(make), page=page, env={})
        assert self.keeper.look()
        self.journal = JournalWriter.create(folder / "journal")
        self.plane = DataPlane(self.keeper, self.journal, page=page, seed=1, loop=loop)
        self._server = Server(self.plane, ticker=ticker, limits=self.keeper.limits)
        self.client, self.wire = self.another()
        self.upstreams = [self._idle(pool) for pool in pools]
        self.sink = self.keeper.sinks["main"]

    def another(self) -> tuple[ClientConnection, Wire]:
        """A further client."""
        client, wire = ClientConnection(self._server), Wire()
        client.connection_made(wire)
        return client, wire

    def _idle(self, pool: Upstream) -> tuple[UpstreamConnection, Wire]:
        connection, wire = UpstreamConnection(pool), Wire()
        connection.connection_made(wire)
        pool.release(connection, -1)
        return connection, wire

    async def exchange(self, number: int, *, before_answered: "Callable[[Room], None] | None" = None) -> None:
        """One request and its answers."""
        self.client.data_received(ASK % number)
        if before_answered is not None:
            before_answered(self)
        for connection, wire in self.upstreams:
            if wire.written:
                assert b"%016d" % number in wire.written.pop()
                connection.data_received(ANSWER % number)
        await asyncio.sleep(0)  # the turn's end, when frames and last bytes go
