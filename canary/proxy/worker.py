"""One worker process: sockets come from the supervisor, plans from a file, outcomes go to a journal."""

import argparse
import asyncio
import gc
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from canary.proxy.application import DataPlane
from canary.proxy.table import PlanKeeper
from canary.proxy.upstreams import Upstreams
from canary.store.journal import JournalWriter
from canary.telemetry.lines import setup_lines
from canary.telemetry.page import Page
from canary.wire.resolver import Resolver
from canary.wire.server import ClientConnection
from canary.wire.serving import Server
from canary.wire.ticker import Ticker
from canary.wire.upstream import Upstream

_LOG: Final = logging.getLogger("canary.proxy")
_TICK_EVERY_S: Final = 1.0
_BACKLOG: Final = 4_096


class Worker:
    """Builds the data plane, serves until told to drain, leaves when all is answered."""

    def __init__(self, options: argparse.Namespace, loop: asyncio.AbstractEventLoop) -> None:
        state_dir: Path = options.state_dir
        self._loop = loop
        self._control = socket.socket(fileno=options.control_fd) if options.control_fd >= 0 else None
        self._page = Page(state_dir / "page" / f"worker-{options.worker}.page")
        self._ticker = Ticker(loop)
        resolver = Resolver(loop)
        self._upstreams = Upstreams(
            lambda origin: Upstream(origin, loop=loop, ticker=self._ticker, resolver=resolver),
        )
        self._keeper = PlanKeeper(state_dir, upstreams=self._upstreams, page=self._page, env=os.environ)
        self._keeper.look()
        plan = self._keeper.plan
        spool = plan.spool_max_bytes if plan is not None else 2_147_483_648
        self._journal = JournalWriter.create(state_dir / "journal", spool_max_bytes=spool)
        self._plane = DataPlane(self._keeper, self._journal, page=self._page, seed=secrets.randbits(44), loop=loop)
        self._server = Server(self._plane, ticker=self._ticker, limits=self._keeper.limits)
        self._listeners: list[asyncio.Server] = []
        self._sockets = [socket.socket(fileno=fd) for fd in options.listen_fd]
        self._joining: set[asyncio.Task[object]] = set()
        self._drained = asyncio.Event()
        self._tick_at = 0.0
        self._counted = [0] * 6

    async def run(self) -> None:
        """Serves until drained."""
        loop = self._loop
        for listening in self._sockets:
            await self._listen(listening)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._drain)
        if self._control is not None:
            self._control.setblocking(False)
            loop.add_reader(self._control.fileno(), self._on_control)
        self._page.gauge("pid", os.getpid())
        self._page.gauge("started_at_us", self._journal.now_us())
        self._ticker.add(self._on_tick)
        self._ticker.start()
        self._plane.tick()
        gc.collect()
        gc.freeze()
        gc.disable()  # cycles are broken by hand: a collection would pause every client
        _LOG.info("worker accepts", extra={"revision": self._keeper.plan.revision if self._keeper.plan else None})
        if self._keeper.trouble:
            _LOG.warning("snapshot not in force", extra={"trouble": self._keeper.trouble})
        self._say(b"ready\n")
        await self._drained.wait()
        self._stop()
        await asyncio.sleep(0)  # transports close in the loop's next turn

    async def _listen(self, listening: socket.socket) -> None:
        listening.setblocking(False)
        server = await self._loop.create_server(self._client, sock=listening, backlog=_BACKLOG)
        self._listeners.append(server)

    def _client(self) -> asyncio.Protocol:
        # a protocol by its methods: a base that is not compiled would cost the compiled build most of its speed
        return cast("asyncio.Protocol", ClientConnection(self._server))

    def _on_tick(self, now: float) -> None:
        keeper = self._keeper
        if keeper.look():
            self._server.limits = keeper.limits
        elif keeper.trouble and now - self._tick_at >= _TICK_EVERY_S:
            _LOG.warning("snapshot not in force", extra={"trouble": keeper.trouble})
        for sink in keeper.sinks.values():
            sink.check()
        self._upstreams.close_idle(now)
        self._plane.flush()  # pairs for which nothing else came
        if now - self._tick_at >= _TICK_EVERY_S:
            self._tick_at = now
            self._plane.tick()
            self._count()
        if self._plane.draining:
            self._look_for_end(now)

    def _count(self) -> None:
        """Carries the plain counters of this process into the page, as growth since the last time."""
        page, server = self._page, self._server
        page.gauge("connections", len(server.connections))
        now = [server.accepted, server.bytes_in, server.bytes_out, *self._upstreams.connects(), self._journal.dropped]
        names = (
            "accepted_connections",
            "received_bytes",
            "sent_bytes",
            "upstream_connects",
            "upstream_stray",
            "dropped_frames",
        )
        for name, value, before in zip(names, now, self._counted, strict=True):
            if value > before:
                page.counter(name, value - before)
        self._counted = now

    def _on_control(self) -> None:
        assert self._control is not None
        try:
            data, fds, _, _ = socket.recv_fds(self._control, 4096, 8)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data:  # the supervisor is gone
            self._loop.remove_reader(self._control.fileno())
            self._drain()
            return
        if b"listen" in data:
            for fd in fds:
                adopted = socket.socket(fileno=fd)
                self._sockets.append(adopted)
                task = self._loop.create_task(self._listen(adopted))
                task.add_done_callback(_raise_if_failed)
        else:
            for fd in fds:
                os.close(fd)
        if b"drain" in data:
            self._drain()

    def _drain(self) -> None:
        """No new connections; each open one gets its answer, and the word that it was the last."""
        if self._plane.draining:
            return
        self._plane.draining = True
        self._server.drain()
        for listening in self._sockets:
            self._take_in(listening)
        for listener in self._listeners:
            listener.close()
        _LOG.info("worker drains", extra={"connections": len(self._server.connections)})

    def _take_in(self, listening: socket.socket) -> None:
        """Accepts what lies in the queue: to close it would reset clients that are connected as far as they know."""
        while True:
            try:
                connection, _ = listening.accept()
            except ConnectionAbortedError:
                continue  # that client has left already
            except OSError:
                return
            connection.setblocking(False)
            task: asyncio.Task[object] = self._loop.create_task(self._loop.connect_accepted_socket(self._client, connection))
            self._joining.add(task)
            task.add_done_callback(self._joining.discard)

    def _look_for_end(self, now: float) -> None:
        since = self._server.draining_since or now
        copies = sum(len(sink.copies) for sink in self._keeper.sinks.values())
        if not (self._server.connections or self._joining or copies) or now - since > self._keeper.limits.drain_s:
            self._drained.set()

    def _stop(self) -> None:
        """What still runs is cut, and written down."""
        self._ticker.stop()
        self._server.abort()
        for sink in self._keeper.sinks.values():
            sink.abort()
        for connection in list(self._server.connections):
            connection.lose()
        self._plane.tick()
        self._count()
        self._page.gauge("connections", 0)
        self._page.gauge("snapshot_revision", 0)
        self._upstreams.close()
        self._journal.close()
        _LOG.info("worker stops")

    def _say(self, word: bytes) -> None:
        if self._control is not None:
            try:
                self._control.send(word)
            except OSError:
                pass  # nobody listens any more: the end of file will say so


def _raise_if_failed(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        _LOG.error("cannot listen on a socket that was handed over", exc_info=task.exception())


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def options_of(argv: list[str]) -> argparse.Namespace:
    """The command line as the supervisor writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--control-fd", type=int, default=-1, help="unix socket: commands in, 'ready' out; its end drains")
    parser.add_argument(
        "--listen-fd",
        type=lambda text: [int(part) for part in text.split(",")],
        required=True,
        help="listening sockets, N[,N...]",
    )
    parser.add_argument("--state-dir", type=Path, required=True, help="where snapshot.json is, and journal/ and page/ go")
    parser.add_argument("--worker", type=int, default=0, help="this worker's number")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Runs one worker to its drained end."""
    options = options_of(sys.argv[1:] if argv is None else argv)
    setup_lines(f"worker-{options.worker}")
    try:
        import uvloop

        new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    except ImportError:
        new_loop = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_run(options))
    return 0


async def _run(options: argparse.Namespace) -> None:
    await Worker(options, asyncio.get_running_loop()).run()


if __name__ == "__main__":
    sys.exit(main())
