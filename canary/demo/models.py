"""Model servers on loopback, one port per version, all in one process: real HTTP/1.1, cheap enough for 800 requests a second.

Started as `python -m canary.demo.models --version v1=good ...`; prints one JSON line with its ports, serves until stdin ends.
"""

import argparse
import asyncio
import json
import random
from collections.abc import Callable
from typing import Final, cast

import httptools
import msgspec

from canary.demo import chat
from canary.demo.behaviour import BAD, GOOD, Behaviour, draw
from canary.demo.leash import parent_gone, run
from canary.demo.sample import Sample

KINDS: Final = {"good": GOOD, "bad": BAD}
BEHAVE_PATH: Final = b"/__behave"
_MAX_BODY: Final = 1_048_576
_MAX_TOKENS: Final = 8_192
_REASONS: Final = {200: b"OK", 400: b"Bad Request", 404: b"Not Found", 413: b"Content Too Large", 500: b"Internal Server Error"}


class Model:
    """One version behind its port: its behaviour may be changed while it serves."""

    def __init__(self, name: str, behaviour: Behaviour, *, sample: Sample, chance: random.Random) -> None:
        self.name = name
        self.behaviour = behaviour
        self.sample = sample
        self.chance = chance
        self.answered = 0


class BehaveOrder(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /__behave."""

    error_rate: float


class ModelConnection(asyncio.Protocol):
    """One client of a model; requests on it are answered one after the other."""

    def __init__(self, model: Model, loop: asyncio.AbstractEventLoop) -> None:
        self._model = model
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._body = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._keep_alive = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: a client is there."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is not a subclass

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the client is gone; what it waited for is not made."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes of a request."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._close()

    def on_message_begin(self) -> None:
        """httptools: a request begins."""
        self._path = b""
        self._body.clear()

    def on_url(self, url: bytes) -> None:
        """httptools: a piece of the target."""
        self._path += url

    def on_body(self, body: bytes) -> None:
        """httptools: a piece of the body."""
        if len(self._body) <= _MAX_BODY:
            self._body += body

    def on_message_complete(self) -> None:
        """httptools: the request is whole."""
        self._keep_alive = self._parser.should_keep_alive()
        method, path = self._parser.get_method(), self._path.partition(b"?")[0]
        if len(self._body) > _MAX_BODY:
            self._respond(413, b"{}")
        elif method == b"POST" and path == b"/v1/chat/completions":
            self._chat(bytes(self._body))
        elif method == b"GET" and path == b"/v1/models":
            self._respond(200, chat.models(self._model.name))
        elif method == b"POST" and path == BEHAVE_PATH:
            self._behave(bytes(self._body))
        else:
            self._respond(404, b"{}")

    def _behave(self, body: bytes) -> None:
        try:
            order = msgspec.json.decode(body, type=BehaveOrder)
        except msgspec.DecodeError:
            self._respond(400, b"{}")
            return
        self._model.behaviour = self._model.behaviour.with_errors(order.error_rate)
        self._respond(200, b"{}")

    def _chat(self, body: bytes) -> None:
        request = chat.parse(body)
        if request is None or not 0 < request.max_tokens <= _MAX_TOKENS:
            self._respond(400, b"{}")
            return
        model = self._model
        answer = draw(model.behaviour, model.sample, request.max_tokens, model.chance)
        in_tok = len(body) // 4
        if answer.failed:
            self._later(answer.latency_s, lambda: self._respond(500, chat.failure()))
        elif request.stream:
            events = chat.chunks(request, in_tok)
            self._later(answer.latency_s / len(events), lambda: self._stream(events, 0, answer.latency_s / len(events)))
        else:
            self._later(answer.latency_s, lambda: self._respond(200, chat.completion(request, in_tok)))

    def _stream(self, events: list[bytes], index: int, gap_s: float) -> None:
        """Writes one event and plans the next; the head goes with the first, the end mark with the last."""
        if self._transport is None:
            return
        event = events[index]
        data = b"%x\r\n%b\r\n" % (len(event), event)
        if index == 0:
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            data = head + data
        if index + 1 == len(events):
            self._transport.write(data + b"0\r\n\r\n")
            self._answered()
            return
        self._transport.write(data)
        self._later(gap_s, lambda: self._stream(events, index + 1, gap_s))

    def _later(self, delay_s: float, act: Callable[[], None]) -> None:
        self._timer = self._loop.call_later(delay_s, act)

    def _respond(self, status: int, body: bytes) -> None:
        if self._transport is None:
            return
        head = b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._transport.write(head % (status, _REASONS[status], len(body)) + body)
        self._answered()

    def _answered(self) -> None:
        self._model.answered += 1
        if not self._keep_alive:
            self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def serve(model: Model) -> asyncio.Server:
    """Serves one model on a free loopback port."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: ModelConnection(model, loop), "127.0.0.1", 0, backlog=1_024)


async def _run(versions: list[str], seed: int) -> None:
    sample = Sample.load()
    servers: dict[str, asyncio.Server] = {}
    for i, given in enumerate(versions):
        name, _, kind = given.partition("=")
        model = Model(name, KINDS[kind], sample=sample, chance=random.Random(seed + i))
        servers[name] = await serve(model)
    print(json.dumps({name: server.sockets[0].getsockname()[1] for name, server in servers.items()}), flush=True)  # noqa: T201 - the port is its word to the parent
    await parent_gone()
    for server in servers.values():
        server.close()


def main() -> None:
    """Entry of the process."""
    parser = argparse.ArgumentParser(prog="canary.demo.models")
    parser.add_argument("--version", action="append", required=True, help="name=good|bad")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    run(_run(given.version, given.seed))


if __name__ == "__main__":
    main()
