"""The data plane inside a test: connections, exchanges, journal and upstream are real, the client's wire is by hand."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

from canary.proxy.application import DataPlane
from canary.proxy.table import PlanKeeper
from canary.proxy.upstreams import Upstreams
from canary.split.spec import Limits
from canary.store.journal import JournalWriter
from canary.store.snapshot import write_snapshot
from canary.telemetry.page import Page
from canary.wire.resolver import Resolver
from canary.wire.server import ClientConnection
from canary.wire.serving import Server
from canary.wire.ticker import Ticker
from canary.wire.upstream import Upstream
from tests.support.strict_reader import NotCanonical, StrictRequest, read_strictly
from tests.support.worker_process import a_route, a_snapshot, a_version

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
STUCK_S = 10.0
_STATUS = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9])[ \r]")


def statuses_in(said: bytes) -> list[int]:
    """The statuses of the answers, those of 1xx left out."""
    return [int(status) for status in _STATUS.findall(said)]


class Wire(asyncio.Transport):
    """A client's transport: keeps what is written, says when something happened."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.ended = False  # nothing more will be said
        self.aborted = False
        self.happened = asyncio.Event()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 40_000) if name == "peername" else None

    def write(self, data: Any) -> None:
        self.written += data
        self.happened.set()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True
        self.happened.set()

    def close(self) -> None:
        self.write_eof()

    def abort(self) -> None:
        self.aborted = True
        self.write_eof()

    def is_closing(self) -> bool:
        return self.ended

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Said(NamedTuple):
    """What came of some bytes from a client."""

    statuses: list[int]
    arrived: list[StrictRequest]


class StrictUpstream(asyncio.Protocol):
    """Answers what it can read strictly; notes what it cannot."""

    def __init__(self, plane: "Plane") -> None:
        self._plane = plane
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            while (request := read_strictly(self._buffer)) is not None:
                self._buffer = self._buffer[request.size :]
                self._plane.arrived.append(request)
                self._transport.write(OK[:-2] if request.method == b"HEAD" else OK)
        except NotCanonical as error:
            self._plane.bad.append(str(error))
            self._buffer = b""
            self._transport.write(OK)


class Plane:
    """One data plane in front of one strict upstream."""

    def __init__(self, state_dir: Path, limits: Limits, upstream: "Callable[[Plane], asyncio.Protocol] | None" = None) -> None:
        self._upstream = upstream or StrictUpstream
        self.arrived: list[StrictRequest] = []
        self.bad: list[str] = []
        self._state_dir = state_dir
        self._limits = limits

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(lambda: self._upstream(self), "127.0.0.1", 0)
        port = self._listening.sockets[0].getsockname()[1]
        write_snapshot(self._state_dir / "snapshot.json", a_snapshot(a_route(a_version("v1", port)), limits=self._limits))
        self._page = Page(self._state_dir / "page" / "worker-0.page")
        self._ticker = Ticker(loop)
        resolver = Resolver(loop)
        self._upstreams = Upstreams(lambda origin: Upstream(origin, loop=loop, ticker=self._ticker, resolver=resolver))
        keeper = PlanKeeper(self._state_dir, upstreams=self._upstreams, page=self._page, env={})
        keeper.look()
        self._journal = JournalWriter.create(self._state_dir / "journal", spool_max_bytes=1 << 30)
        plane = DataPlane(keeper, self._journal, page=self._page, seed=1, loop=loop)
        self._server = Server(plane, ticker=self._ticker, limits=self._limits)
        self._ticker.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ticker.stop()
        self._upstreams.close()
        self._listening.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self._journal.close()
        self._page.close()

    async def send(self, *pieces: bytes) -> Said:
        """A client's bytes on a connection of their own, then its leaving."""
        before = len(self.arrived)
        wire, client = self.connect()
        for piece in pieces:
            if not wire.ended:
                client.data_received(piece)
        async with asyncio.timeout(STUCK_S):
            while not wire.ended and not await self._waits_for_more(client):
                wire.happened.clear()
                if client.story is not None:
                    await wire.happened.wait()
        client.connection_lost(None)
        return Said(statuses_in(wire.written), self.arrived[before:])

    def connect(self) -> tuple[Wire, ClientConnection]:
        """A client's connection."""
        wire, client = Wire(), ClientConnection(self._server)
        client.connection_made(wire)
        return wire, client

    @staticmethod
    async def _waits_for_more(client: ClientConnection) -> bool:
        """Whether nothing will happen before the client says more. A pipelined request has its turn after one of the loop."""
        for _ in range(2):
            if client.story is not None:
                return not client.complete
            await asyncio.sleep(0)
        return client.story is None
