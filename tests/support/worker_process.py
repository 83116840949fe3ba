"""Starts a real worker process by hand: writes its snapshot, binds its socket, waits until it accepts."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self, TypeVar

from canary.split.spec import Limits, MatchSpec, MirrorSpec, RouteSpec, Split, VersionSpec
from canary.store.frames import Frame
from canary.store.snapshot import Snapshot, write_snapshot
from canary.store.spool import Offset, journals
from tests.support.deadline import wait_for

F = TypeVar("F")

SALT = b"0123456789abcdef"


def a_version(name: str, port: int, **more: object) -> VersionSpec:
    """A version on loopback."""
    return VersionSpec(name=name, hash=f"hash-{name}", upstream=f"http://127.0.0.1:{port}", **more)  # type: ignore[arg-type]


def a_split(*, weight_bp: int = 0, shadow_bp: int = 0, segment: int = 7, candidate: str = "v2") -> Split:
    """A rollout's split under a fixed salt."""
    return Split(rollout="r1", segment=segment, salt=SALT, candidate=candidate, weight_bp=weight_bp, shadow_bp=shadow_bp)


def a_route(*versions: VersionSpec, name: str = "main", prefix: str = "/", **more: object) -> RouteSpec:
    """A route whose stable is the first version; POST is mirrored on the chat path."""
    mirror = more.pop("mirror", MirrorSpec(paths=("/v1/chat/completions",)))
    return RouteSpec(
        name=name, match=MatchSpec(path_prefix=prefix), versions=versions, stable=versions[0].name, mirror=mirror, **more
    )  # type: ignore[arg-type]


def a_snapshot(*routes: RouteSpec, revision: int = 1, limits: Limits | None = None, **more: object) -> Snapshot:
    """A snapshot of these routes."""
    return Snapshot(revision=revision, database_id="db-test", made_at_us=1, routes=routes, limits=limits or Limits(), **more)  # type: ignore[arg-type]


class WorkerProcess:
    """One worker on a loopback port; ends with its `with` block."""

    def __init__(
        self, state_dir: Path, snapshot: Snapshot | None, *, port: int = 0, env: dict[str, str] | None = None, number: int = 0
    ) -> None:
        self.state_dir = state_dir
        state_dir.mkdir(parents=True, exist_ok=True)
        if snapshot is not None:
            self.publish(snapshot)
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(4096)
        self.listening = listening
        self.port = int(listening.getsockname()[1])
        self.control, theirs = socket.socketpair()
        self.control.settimeout(20)
        fds = (listening.fileno(), theirs.fileno())
        command = [sys.executable, "-W", "error", "-m", "canary.proxy.worker", "--control-fd", str(fds[1])]
        command += ["--listen-fd", str(fds[0]), "--state-dir", str(state_dir), "--worker", str(number)]
        self.process = subprocess.Popen(command, pass_fds=fds, env={**os.environ, **(env or {})})
        theirs.close()

    def publish(self, snapshot: Snapshot) -> None:
        """Puts a snapshot where the worker looks."""
        write_snapshot(self.state_dir / "snapshot.json", snapshot)

    def ready(self) -> Self:
        """Waits for its word that it accepts."""
        word = self.control.recv(64)
        if word != b"ready\n":
            raise RuntimeError(f"the worker said {word!r}")
        return self

    def drain(self) -> None:
        """Asks it to drain."""
        self.control.send(b"drain")

    def wait(self, timeout_s: float = 30.0) -> int:
        """Its exit code."""
        return self.process.wait(timeout_s)

    def stop(self) -> None:
        """Ends it, gently if it can."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        self.listening.close()
        self.control.close()

    def __enter__(self) -> Self:
        return self.ready()

    def __exit__(self, *_: object) -> None:
        self.stop()


def journal_frames(state_dir: Path) -> list[Frame]:
    """All frames of all journals, in order."""
    frames: list[Frame] = []
    for journal in journals(state_dir / "journal"):
        offset = Offset(0, 0)
        while True:
            batch = journal.read(offset)
            assert not batch.bad, batch.bad
            frames += batch.frames
            if batch.next_offset == offset:
                break
            offset = batch.next_offset
    return frames


def frames_of(kind: type[F], state_dir: Path) -> list[F]:
    """The frames of one kind."""
    return [frame for frame in journal_frames(state_dir) if isinstance(frame, kind)]


def wait_for_frames(kind: type[F], state_dir: Path, count: int = 1) -> list[F]:
    """Waits until that many frames of the kind are in the journals."""
    return wait_for(
        lambda: found if len(found := frames_of(kind, state_dir)) >= count else [], what=f"{count} {kind.__name__} frames"
    )


def main() -> None:
    """`python -m tests.support.worker_process PORT STABLE CANDIDATE SHADOW_BP WEIGHT_BP STATE_DIR`: in the foreground."""
    port, stable, candidate, shadow_bp, weight_bp = map(int, sys.argv[1:6])
    split = a_split(weight_bp=weight_bp, shadow_bp=shadow_bp) if shadow_bp or weight_bp else None
    route = a_route(a_version("v1", stable), a_version("v2", candidate), split=split)
    worker = WorkerProcess(Path(sys.argv[6]), a_snapshot(route), port=port)
    with worker:
        stopped: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
        while not stopped and worker.process.poll() is None:
            time.sleep(0.2)


if __name__ == "__main__":
    main()
