"""Five hundred slow connections of three kinds end within their deadlines, while others are served."""

import asyncio
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from canary.split.spec import Deadlines, Limits
from tests.support.data_plane import Plane
from tests.support.http_client import ask
from tests.support.upstreams import OK, Link, Upstream
from tests.support.worker_process import WorkerProcess, a_route, a_snapshot, a_version

pytestmark = pytest.mark.timeout(120)

EACH = 167
LIMITS = Limits(head_s=1.0, body_idle_s=1.0, keep_alive_s=1.0)
DEADLINES = Deadlines(connect_s=1.0, answer_s=2.0, idle_s=1.0)
WITHIN_S = 10.0
LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n"
PIECE = b"z" * 65_536


def _answers(link: Link) -> None:
    """A small answer, or one that nobody wants to read."""
    while (received := link.request()) is not None:
        if received.line.startswith(b"GET /large"):
            link.send(LARGE, *[PIECE] * 1_024)
        else:
            link.send(OK)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[WorkerProcess]:
    with Upstream(_answers) as upstream:
        snapshot = a_snapshot(a_route(a_version("v1", upstream.port), deadlines=DEADLINES), limits=LIMITS)
        with WorkerProcess(tmp_path, snapshot) as process:
            yield process


async def _slow_head(port: int) -> None:
    """One byte after the other, for ever."""
    await _drip(port, b"GET / HTTP/1.1\r\nhost: a\r\nx: ")


async def _slow_body(port: int) -> None:
    await _drip(port, b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n")


async def _drip(port: int, beginning: bytes) -> None:
    """Returns once the other side has ended the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(beginning)
    ended = asyncio.ensure_future(reader.read())
    try:
        while not ended.done():
            writer.write(b"y")
            await asyncio.wait([ended], timeout=0.2)
        await ended
    except OSError:
        pass  # reset
    finally:
        writer.close()


async def _idle(port: int) -> None:
    """Asks once, and then says nothing more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    try:
        said = await reader.read()
    finally:
        writer.close()
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.count(b"HTTP/1.1 ") == 1, "no word where nothing was asked"


async def _others(port: int, over: asyncio.Event) -> list[float]:
    """How long honest requests take meanwhile, seconds."""
    took = []
    loop = asyncio.get_running_loop()
    while not over.is_set():
        began = loop.time()
        answer = await asyncio.to_thread(ask, port)
        assert answer.status == 200
        took.append(loop.time() - began)
    return took


async def test_five_hundred_slow_connections_are_closed_in_time_while_others_are_served(worker: WorkerProcess) -> None:
    over = asyncio.Event()
    honest = asyncio.ensure_future(_others(worker.port, over))
    kinds = (_slow_head, _slow_body, _idle)
    try:
        async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as group:
            for _ in range(EACH):
                for kind in kinds:
                    group.create_task(kind(worker.port))
    finally:
        over.set()
        took = await honest
    assert len(took) >= 10
    assert sorted(took)[len(took) // 2] < 1.0


def test_clients_that_do_not_read_their_answers_are_let_go_and_cost_no_memory(worker: WorkerProcess) -> None:
    deaf = []
    for _ in range(50):
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        raw.connect(("127.0.0.1", worker.port))
        raw.sendall(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
        deaf.append(raw)
    assert ask(worker.port).status == 200
    try:
        for raw in deaf:
            raw.settimeout(WITHIN_S)
            assert _read_to_the_end(raw) < 64 << 20, "cut, never whole"
    finally:
        for raw in deaf:
            raw.close()
    status = Path(f"/proc/{worker.process.pid}/status").read_text(encoding="ascii")
    peak_kb = int(status.partition("VmHWM:")[2].split()[0])
    assert peak_kb < 150_000
    assert ask(worker.port).status == 200


def _read_to_the_end(raw: socket.socket) -> int:
    """Waits, without reading, until the other side hung up; then counts what had come."""
    poll = select.poll()
    poll.register(raw, select.POLLERR | select.POLLHUP)
    assert poll.poll(WITHIN_S * 1_000), "the deadline has passed, and the connection is still there"
    size = 0
    try:
        while data := raw.recv(1 << 20):
            size += len(data)
    except ConnectionError:
        pass
    return size


@pytest.mark.parametrize("word", [b"", b"Connection: close\r\n"])
async def test_a_client_that_stops_reading_at_the_end_of_its_answer_is_let_go(tmp_path: Path, word: bytes) -> None:
    """The wire here never gets rid of what was written: closing it ends nothing."""
    async with Plane(tmp_path, LIMITS) as plane:
        wire, client = plane.connect()
        client.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n" + word + b"\r\n")
        await wire.happened.wait()
        now = time.monotonic()
        client.check(now + LIMITS.keep_alive_s + 0.5)
        assert (wire.ended, wire.aborted) == (True, False), "closing: what is left may still go out"
        client.check(now + 2 * LIMITS.keep_alive_s + 0.5)
        assert wire.aborted
        client.connection_lost(None)
