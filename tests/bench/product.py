"""The product under measurement: one worker with a snapshot in a state folder, its journal written as in production."""

import contextlib
import secrets
import socket
import time
from pathlib import Path

from canary import __version__
from canary.split.spec import Limits, MatchSpec, MirrorSpec, RecordSpec, RouteSpec, Split, VersionSpec
from canary.store.snapshot import Snapshot, write_snapshot
from canary.store.spool import JournalDir, Offset
from tests.bench.builds import Build, pure
from tests.bench.peers import Order
from tests.bench.process import Process, StartError

ROUTE = "chat"
STABLE, CANDIDATE = "v1", "v2"
ROLLOUT = "bench"
SEGMENT = 1
READY_WITHIN_S = 20.0


def snapshot_of(*, stable_port: int, candidate_port: int, live_pct: int, shadow_pct: int, bodies: str = "off") -> Snapshot:
    """One route with a stable version, and with a candidate in a rollout where any traffic is meant for it."""
    versions = (
        VersionSpec(name=STABLE, hash="0" * 32, upstream=f"http://127.0.0.1:{stable_port}"),
        VersionSpec(name=CANDIDATE, hash="1" * 32, upstream=f"http://127.0.0.1:{candidate_port}"),
    )
    split = Split(
        rollout=ROLLOUT,
        segment=SEGMENT,
        salt=secrets.token_bytes(16),
        candidate=CANDIDATE,
        weight_bp=live_pct * 100,
        shadow_bp=shadow_pct * 100,
    )
    route = RouteSpec(
        name=ROUTE,
        match=MatchSpec(),
        versions=versions,
        stable=STABLE,
        mirror=MirrorSpec(paths=("/v1/chat/completions",)),
        record=RecordSpec(bodies=bodies),
        split=split if live_pct or shadow_pct else None,
    )
    made_at_us = time.time_ns() // 1000
    return Snapshot(revision=1, database_id="bench", made_at_us=made_at_us, routes=(route,), limits=Limits())


def make_state(folder: Path, snapshot: Snapshot) -> Path:
    """A state folder as the supervisor lays it out, with that snapshot."""
    for part in ("journal", "page", "rejected", "run"):
        (folder / part).mkdir(parents=True, mode=0o700)
    write_snapshot(folder / "snapshot.json", snapshot)
    return folder


class Worker:
    """One worker process, started with sockets passed down as the supervisor does it."""

    def __init__(self, state: Path, *, name: str, core: int, folder: Path, build: Build | None = None) -> None:
        """`build`: the source as it lies here where none is given."""
        build = build or pure()
        self.state = state
        self.version = f"canary {__version__}, {build.says}"
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._control, theirs = socket.socketpair()
        self.port: int = listener.getsockname()[1]
        command = [build.python, "-m", "canary.proxy.worker", "--state-dir", str(state), "--worker", "0"]
        command += ["--control-fd", str(theirs.fileno()), "--listen-fd", str(listener.fileno())]
        fds = (theirs.fileno(), listener.fileno())
        with theirs, listener:
            self.process = Process.start(name, command, core=core, folder=folder, environ=build.environ, pass_fds=fds)
        self._wait_ready()

    def _wait_ready(self) -> None:
        """The worker says `ready` once it accepts; its end closes the line."""
        self._control.settimeout(READY_WITHIN_S)
        try:
            said = self._control.recv(64)
        except TimeoutError:
            said = b""
        if not said.startswith(b"ready"):
            self.stop()
            raise StartError(f"the worker did not get ready; its log ends: {self.process.log_tail()}")

    def pids(self) -> list[int]:
        """Its processes."""
        return self.process.pids()

    def prefer(self) -> None:
        """Puts it ahead of other work."""
        self.process.prefer()

    def between_rounds(self) -> None:
        """Releases what it has finished writing, as the courier does, so that the journal stays small."""
        for path in self.journals():
            journal = JournalDir(path)
            if segments := journal.segments():
                journal.release(Offset(segments[-1], 0))

    def journals(self) -> list[Path]:
        """Folders of the journals that it has written."""
        return [path for path in (self.state / "journal").iterdir() if path.is_dir() and not path.name.startswith(".")]

    def stop(self) -> None:
        """Lets it drain, then ends it."""
        with contextlib.suppress(OSError):
            self._control.close()
        self.process.stop()


def canary(order: Order, build: Build) -> Worker:
    """A build of the product as a peer of the proxy bench."""
    snapshot = snapshot_of(
        stable_port=order.stable_port,
        candidate_port=order.candidate_port,
        live_pct=order.mix.live_pct,
        shadow_pct=100 if order.mix.mirrors else 0,
    )
    name = f"{order.label}-{order.mix.name}"
    return Worker(make_state(order.folder / name, snapshot), name=name, core=order.core, folder=order.folder, build=build)
