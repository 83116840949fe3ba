"""One child process: started in a session of its own, led by a control socket, heard when it says that it is ready."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from canary.app.stopping import Role
from canary.terms import Frozen

DRAIN: Final = b"drain"
RELOAD: Final = b"reload"
LISTEN: Final = b"listen"
READY: Final = b"ready"
_HIDDEN_FROM_WORKERS: Final = ("CANARY_DATABASE_URL", "DATABASE_URL", "PGPASSWORD")


class Spec(Frozen, frozen=True, kw_only=True):
    """How a child is started; `{control}` and `{listen}` in its arguments become file descriptors."""

    name: str
    role: Role
    module: str
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    folder: str = "."


class Child:
    """A running child process."""

    def __init__(self, spec: Spec, *, listener: socket.socket | None = None) -> None:
        """Starts the process; raises OSError where that is impossible."""
        self.spec = spec
        self.ready = False
        self.started_at = time.monotonic()
        self.control, theirs = socket.socketpair()
        self.control.setblocking(False)
        descriptors = {"{control}": theirs.fileno()} | ({"{listen}": listener.fileno()} if listener else {})
        arguments = [str(descriptors.get(a, a)) for a in spec.arguments]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-m", spec.module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # an inherited pipe would be held open after we are gone
                pass_fds=tuple(descriptors.values()),
                start_new_session=True,  # a terminal's SIGINT reaches the supervisor alone
                env=spec.environment,
                cwd=spec.folder,
            )
        except OSError:
            self.control.close()
            raise
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def name(self) -> str:
        """The spec's name."""
        return self.spec.name

    def exit_code(self) -> int | None:
        """None while it runs; reaps it otherwise."""
        return self._process.poll()

    def hear(self) -> bool:
        """Reads what the child said (only that it is ready); False where it will say nothing more."""
        try:
            while heard := self.control.recv(4096):
                self.ready = self.ready or READY in heard
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def ask(self, word: bytes) -> None:
        """Sends a word; a dead or deaf child is the reaper's business."""
        try:
            self.control.send(word)
        except OSError:
            pass

    def lend(self, listener: socket.socket) -> bool:
        """Passes a listening socket down; False where the child is deaf."""
        try:
            socket.send_fds(self.control, [LISTEN], [listener.fileno()])
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """Ends it and whatever it started in its session."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self._process.kill()

    def wait(self) -> None:
        """Reaps a killed child; one that even SIGKILL does not end (a hung disk) is left behind after 5 s."""
        try:
            self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            pass

    def close(self) -> None:
        """Forgets a dead child."""
        self.control.close()


def worker_spec(number: int, *, state_dir: Path, folder: Path, environment: Mapping[str, str]) -> Spec:
    """A data plane process: it gets no database address."""
    return Spec(
        name=f"worker-{number}",
        role=Role.WORKER,
        module="canary.proxy.worker",
        arguments=(
            *("--control-fd", "{control}", "--listen-fd", "{listen}"),
            *("--state-dir", str(state_dir), "--worker", str(number)),
        ),
        environment={k: v for k, v in environment.items() if k not in _HIDDEN_FROM_WORKERS},
        folder=str(folder),
    )


def process_spec(role: Role, arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> Spec:
    """The courier's or the controller's process."""
    return Spec(
        name=role.value,
        role=role,
        module=f"canary.app.{role.value}",
        arguments=("--control-fd", "{control}", *arguments),
        environment=dict(environment),
        folder=str(folder),
    )
