"""Open-loop traffic: requests come when the trace says so, however slow the answers are.

Started as `python -m canary.demo.traffic --port P`; prints its tally as a JSON line four times a second, until stdin ends.
"""

import argparse
import asyncio
import itertools
import json
import random
from collections import deque
from typing import Final, cast

import httptools
import msgspec

from canary.demo.chat import text_of
from canary.demo.leash import parent_gone, run
from canary.demo.sample import Call, Sample
from canary.demo.tally import Tally

MAX_CONNECTIONS: Final = 1_000
ANSWER_WITHIN_S: Final = 10.0
STREAMED_SHARE: Final = 0.25
_PROMPT_TOKENS: Final = 256
"""Prompts are cut here: what they hold changes nothing, and the wire is not what is shown."""
_REPORT_EVERY_S: Final = 0.25


class ClientConnection(asyncio.Protocol):
    """One keep-alive connection: at most one request at a time, then back to the pool."""

    def __init__(self, traffic: "Traffic") -> None:
        self._traffic = traffic
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._busy = False
        self._on_trial = False
        self._version = ""
        self._deadline = 0.0

    @property
    def is_open(self) -> bool:
        """True while requests can be sent on it."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def overdue(self) -> bool:
        """True where an answer is waited for past its deadline."""
        return self._busy and asyncio.get_running_loop().time() > self._deadline

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is not a subclass

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: closed; a request under way has failed."""
        self._transport = None
        self._traffic.lost(self)
        self._end(ok=False)

    def send(self, request: bytes) -> None:
        """Sends one request."""
        assert self._transport is not None
        self._busy, self._on_trial, self._version = True, False, ""
        self._deadline = asyncio.get_running_loop().time() + ANSWER_WITHIN_S
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)

    def abort(self) -> None:
        """Closes at once."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes of the answer."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: a header of the answer."""
        lower = name.lower()
        if lower == b"x-canary-arm":
            self._on_trial = value == b"candidate"
        elif lower == b"x-canary-version":
            self._version = value.decode("latin-1")

    def on_message_complete(self) -> None:
        """httptools: the answer is whole."""
        keep = self._parser.should_keep_alive()
        self._end(ok=self._parser.get_status_code() < 500)
        if keep:
            self._traffic.idle.append(self)
        elif self._transport is not None:
            self._transport.close()

    def _end(self, *, ok: bool) -> None:
        if self._busy:
            self._busy = False
            self._traffic.tally.ended(ok=ok, trial=self._version if self._on_trial else "")


class Traffic:
    """Sends the trace's requests on a pool of connections and counts what comes back."""

    def __init__(self, port: int, sample: Sample, *, rate: float, chance: random.Random) -> None:
        self.tally = Tally()
        self.idle: deque[ClientConnection] = deque()
        self._port = port
        self._chance = chance
        self._open: set[ClientConnection] = set()
        self._opening = 0
        self._connects: set[asyncio.Task[None]] = set()
        self._plan = zip(itertools.cycle(sample.gaps(rate)), itertools.cycle(sample.calls), strict=False)

    async def flow(self) -> None:
        """Sends for ever; a late loop sends what is due at once, as clients do not wait for us."""
        loop = asyncio.get_running_loop()
        start = due = loop.time()
        for gap_s, call in self._plan:
            due += gap_s
            now = loop.time()
            if due > now:
                await asyncio.sleep(due - now)
            self._one(call)
            self.tally.elapsed_s = loop.time() - start

    async def tend(self) -> None:
        """Once a second ends what is overdue."""
        while True:
            await asyncio.sleep(1.0)
            for connection in [c for c in self._open if c.overdue]:
                connection.abort()

    def lost(self, connection: ClientConnection) -> None:
        """A connection is closed."""
        self._open.discard(connection)

    def _one(self, call: Call) -> None:
        request = self._request(call)
        while self.idle:
            connection = self.idle.pop()
            if connection.is_open:
                self._begin(connection, request)
                return
        if len(self._open) + self._opening >= MAX_CONNECTIONS:
            self.tally.skipped += 1
            return
        self._opening += 1
        task = asyncio.get_running_loop().create_task(self._connect_and_send(request))
        self._connects.add(task)
        task.add_done_callback(self._connects.discard)

    async def _connect_and_send(self, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(lambda: ClientConnection(self), "127.0.0.1", self._port)
        except OSError:
            self.tally.sent += 1
            self.tally.harmed += 1
            return
        finally:
            self._opening -= 1
        self._open.add(connection)
        if connection.is_open:
            self._begin(connection, request)

    def _begin(self, connection: ClientConnection, request: bytes) -> None:
        self.tally.sent += 1
        self.tally.in_flight += 1
        connection.send(request)

    def _request(self, call: Call) -> bytes:
        body = json.dumps(
            {
                "model": "demo",
                "messages": [{"role": "user", "content": text_of(min(call.in_tok, _PROMPT_TOKENS))}],
                "max_tokens": max(1, call.out_tok),
                "stream": self._chance.random() < STREAMED_SHARE,
            }
        ).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{self._port}\r\ncontent-type: application/json\r\n"
        return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def report(traffic: Traffic) -> None:
    """Prints the tally for the parent, for ever."""
    encoder = msgspec.json.Encoder()
    while True:
        await asyncio.sleep(_REPORT_EVERY_S)
        print(encoder.encode(traffic.tally).decode(), flush=True)  # noqa: T201 - the parent reads this pipe


async def _run(port: int, rate: float, seed: int) -> None:
    traffic = Traffic(port, Sample.load(), rate=rate, chance=random.Random(seed))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in (traffic.flow(), traffic.tend(), report(traffic))]
        await parent_gone()
        for task in tasks:
            task.cancel()


def main() -> None:
    """Entry of the process."""
    parser = argparse.ArgumentParser(prog="canary.demo.traffic")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, default=350.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    run(_run(given.port, given.rate, given.seed))


if __name__ == "__main__":
    main()
