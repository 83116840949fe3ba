"""A town of small services under one `canary serve`: for each route a stable and a candidate whose ways a test may change.

Versions and clients live on one loop in a thread of their own. Clients send at a fixed rate, whatever comes back.
"""

import asyncio
import contextlib
import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

import httptools
import msgspec

_TURN_S: Final = 0.02
_MOST_OPEN: Final = 200

Words = tuple[str, ...]
WORDS: Final[Words] = tuple(f"answer {number}" for number in range(500))


@dataclass
class Ways:
    """How one version answers; a test may change it under way."""

    fails: float = 0.005  # share of answers with 500
    slow_s: float = 0.01  # mean of its delay
    cost: float = 1.0  # mean
    score: float = 0.8  # mean, 0..1
    says: Words = WORDS
    hangs: bool = False


@dataclass
class Street:
    """One route: its two versions, and its clients."""

    name: str
    stable: Ways
    candidate: Ways
    rate: float = 50.0
    users: int = 0  # 0: no unit header
    ports: dict[str, int] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)  # by version and status: "v2 500"


class _Version(asyncio.Protocol):
    """One connection to one version."""

    def __init__(self, ways: Ways, chance: random.Random) -> None:
        self._ways, self._chance = ways, chance
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's own class is not a subclass

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        ways, chance = self._ways, self._chance
        if ways.hangs:
            return
        delay_s = ways.slow_s * chance.lognormvariate(-0.125, 0.5)
        asyncio.get_running_loop().call_later(delay_s, self._answer, chance.random() < ways.fails)

    def _answer(self, failed: bool) -> None:
        ways, chance = self._ways, self._chance
        if self._transport is None or self._transport.is_closing():
            return
        status = b"500 Internal Server Error" if failed else b"200 OK"
        said = {
            "text": chance.choice(ways.says),
            "score": min(1.0, max(0.0, chance.gauss(ways.score, 0.1))),
            "usage": {"cost": ways.cost * chance.lognormvariate(-0.08, 0.4)},
        }
        body = b'{"error": "no"}' if failed else msgspec.json.encode(said)
        self._transport.write(
            b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)
        )


class _Client(asyncio.Protocol):
    """One keep-alive connection of a street's clients."""

    def __init__(self, street: Street, idle: list["_Client"]) -> None:
        self._street, self._idle = street, idle
        self._parser = httptools.HttpResponseParser(self)
        self._version = ""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's own class is not a subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self in self._idle:
            self._idle.remove(self)

    def send(self, request: bytes) -> None:
        assert self.transport is not None
        self._version = ""
        self._parser = httptools.HttpResponseParser(self)
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-canary-version":
            self._version = value.decode()

    def on_message_complete(self) -> None:
        self._street.answers[f"{self._version} {self._parser.get_status_code()}"] += 1
        self._idle.append(self)


class Town:
    """All streets, open from `with` to its end."""

    def __init__(self, streets: list[Street], *, seed: int = 1) -> None:
        self.streets = {street.name: street for street in streets}
        self._chance = random.Random(seed)
        self._data_port = 0
        self._open = threading.Event()
        self._closing: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._open.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._closing is not None
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(20)

    def send_to(self, data_port: int) -> None:
        """Clients begin."""
        assert self._loop is not None
        self._data_port = data_port
        for street in self.streets.values():
            self._loop.call_soon_threadsafe(self._begin, street)

    async def _live(self) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        self._walks: set[asyncio.Task[None]] = set()
        servers = []
        for street in self.streets.values():
            for version, ways in (("v1", street.stable), ("v2", street.candidate)):
                server = await self._loop.create_server(self._version_of(ways), "127.0.0.1", 0)
                street.ports[version] = server.sockets[0].getsockname()[1]
                servers.append(server)
        self._open.set()
        await self._closing.wait()
        for walk in self._walks:
            walk.cancel()
        await asyncio.gather(*self._walks, return_exceptions=True)
        for server in servers:
            server.close()

    def _version_of(self, ways: Ways) -> Callable[[], _Version]:
        return lambda: _Version(ways, self._chance)

    def _begin(self, street: Street) -> None:
        self._walks.add(asyncio.ensure_future(self._walk(street)))

    async def _walk(self, street: Street) -> None:
        """Sends what is due each turn, on as many connections as that needs."""
        loop = asyncio.get_running_loop()
        idle: list[_Client] = []
        all_of_them: list[_Client] = []
        begin, sent = loop.time(), 0
        for number in itertools.count():
            await asyncio.sleep(_TURN_S)
            due = int((loop.time() - begin) * street.rate)
            for _ in range(due - sent):
                client = idle.pop() if idle else await self._connect(street, idle, all_of_them)
                if client is None or client.transport is None or client.transport.is_closing():
                    continue
                user = f"x-user: {self._chance.randrange(street.users)}\r\n" if street.users else ""
                client.send(f"GET /{street.name}/{number} HTTP/1.1\r\nhost: town\r\n{user}\r\n".encode())
            sent = due

    async def _connect(self, street: Street, idle: list[_Client], all_of_them: list[_Client]) -> _Client | None:
        all_of_them[:] = [client for client in all_of_them if client.transport is not None]
        if len(all_of_them) >= _MOST_OPEN:
            return None
        with contextlib.suppress(OSError):
            _, client = await asyncio.get_running_loop().create_connection(
                lambda: _Client(street, idle), "127.0.0.1", self._data_port
            )
            all_of_them.append(client)
            return client
        return None
