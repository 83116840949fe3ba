"""Extra work that fails is counted and goes no further: the client has its answer all the same."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from canary.proxy.application import DataPlane
from canary.proxy.record import Request
from canary.proxy.table import PlanKeeper, Upstreams
from canary.store.journal import JournalWriter
from canary.store.snapshot import write_snapshot
from canary.telemetry.guard import FAILURES
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
        self.client = ClientConnection(Server(self.plane, ticker=ticker, limits=self.keeper.limits))
        self.wire = Wire()
        self.client.connection_made(self.wire)
        self.upstreams = [self._idle(pool) for pool in pools]

    def _idle(self, pool: Upstream) -> tuple[UpstreamConnection, Wire]:
        connection, wire = UpstreamConnection(pool), Wire()
        connection.connection_made(wire)
        pool.release(connection, -1)
        return connection, wire

    async def exchange(self, number: int) -> None:
        """One request and its answers."""
        self.client.data_received(ASK % number)
        for connection, wire in self.upstreams:
            if wire.written:
                assert b"%016d" % number in wire.written.pop()
                connection.data_received(ANSWER % number)
        await asyncio.sleep(0)  # the turn's end, when frames and last bytes go


@pytest.fixture
def failures() -> Iterator[dict[str, int]]:
    before = dict(FAILURES)
    yield before
    FAILURES.clear()
    FAILURES.update(before)


@pytest.mark.parametrize(
    ("owner", "method", "operation"),
    [
        (DataPlane, "_send_copy", "mirror a request"),
        (JournalWriter, "pair", "record a pair"),
        (Request, "frames", "record an exchange"),
    ],
)
async def test_its_failure_never_reaches_the_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: dict[str, int], owner: type, method: str, operation: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    room = Room(tmp_path)
    await room.exchange(0)
    monkeypatch.setattr(owner, method, fail)
    for number in range(1, 4):
        await room.exchange(number)
    assert len(room.wire.written) == 4
    assert all(b"%016d" % number in answer for number, answer in enumerate(room.wire.written))
    assert all(answer.endswith(b"\r\n\r\nhi") for answer in room.wire.written)
    assert FAILURES[operation] - failures.get(operation, 0) == 3
    room.journal.close()
