"""What is remembered of heads is bounded for the worker as a whole, however many clients send whatever they like."""

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from canary.wire.answer import AnswerShape
from canary.wire.form import Form
from canary.wire.plain import RequestShape
from canary.wire.server import ClientConnection
from tests.support.plane_room import Room

HEAD = b"GET /p%d?a HTTP/1.1\r\nHost: a\r\nX-N%d: v%d\r\nX-Request-Id: %016d\r\nX-Pad: %b\r\n\r\n"
TOLD = b"HTTP/1.1 200 OK\r\nX-N%d: v%d\r\nX-Request-Id: %016d\r\nX-Pad: %b\r\nContent-Length: %d\r\n\r\n%b"


@pytest.fixture(autouse=True)
def as_in_a_worker() -> Iterator[None]:
    """Nothing collects circles there, so that one of them would be a leak."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def _flood(room: Room, numbers: range, *, pad: bytes = b"", again: int = 3, stay: bool = False) -> list[ClientConnection]:
    """Each number is a new client whose heads look like no other's, and so do the answers to it."""
    clients: list[ClientConnection] = []
    for number in numbers:
        client, wire = room.another()
        for turn in range(again):
            client.data_received(HEAD % (number, number, number, turn, pad))
            body = b"x" * (number % 700)
            for connection, sent in room.upstreams:
                sent.written.clear()
                connection.data_received(TOLD % (number, number, turn, pad, len(body), body))
            await asyncio.sleep(0)
            assert wire.written.pop().endswith(body)
        if stay:
            clients.append(client)
        else:
            client.connection_lost(None)
    return clients


def _alive(kind: type) -> int:
    return sum(type(thing) is kind for thing in gc.get_objects())


async def test_distinct_heads_of_many_clients_leave_nothing_behind(tmp_path: Path) -> None:
    room = Room(tmp_path)
    kinds = {RequestShape: 256, Form: 256, AnswerShape: 2 * 64}  # the default pattern's and the route's
    others = {kind: _alive(kind) for kind in kinds}
    await _flood(room, range(1_200))
    before = max([sys.getallocatedblocks() async for _ in _steps(room, 1_200, 2_400)])
    after = max([sys.getallocatedblocks() async for _ in _steps(room, 2_400, 3_600)])
    assert after - before < 1_200  # less than one block for each new client and its three requests
    for kind, most in kinds.items():
        assert 0 < _alive(kind) <= others[kind] + most + 4  # the connections to the upstreams may hold one that is forgotten
    room.journal.close()


async def _steps(room: Room, first: int, last: int) -> AsyncIterator[None]:
    for start in range(first, last, 100):
        await _flood(room, range(start, start + 100))
        yield


async def test_clients_that_stay_keep_no_shapes_of_their_own(tmp_path: Path) -> None:
    """As many as 600 connections, each with heads of almost four KiB."""
    room, pad = Room(tmp_path), b"p " * 1_900
    tracemalloc.start()
    clients = await _flood(room, range(600), pad=pad, stay=True)
    for _, sent in room.upstreams:
        sent.written.clear()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(clients) == 600
    assert held < 256 * 40_000
    for client in clients:
        client.connection_lost(None)
    room.journal.close()


async def test_requests_alike_leave_nothing_behind(tmp_path: Path) -> None:
    room = Room(tmp_path)
    for number in range(300):
        await room.exchange(number)
    room.wire.written.clear()
    before = sys.getallocatedblocks()
    for number in range(300, 1_300):
        await room.exchange(number)
        room.wire.written.clear()
    assert sys.getallocatedblocks() - before < 100
    room.journal.close()
