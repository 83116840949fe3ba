"""The processes that the demonstration starts, and their end: each is on a leash, so none outlives a killed parent."""

import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from canary.errors import CanaryError

_STOP_S: Final = 45.0
"""The supervisor drains its workers and stops its database; both have bounds of their own below this."""
_KILL_S: Final = 5.0
_NOT_OURS: Final = frozenset({"DATABASE_URL", "CANARY_DATABASE_URL", "CANARY_CONFIG", "CANARY_ADMIN", "CANARY_ADMIN_TOKEN"})
"""The demonstration has a database and an admin port of its own, whatever this shell is set up for."""


class Child:
    """A process of the demonstration that speaks JSON lines on its stdout and ends when its stdin does."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self._process = process

    @classmethod
    async def start(cls, name: str, module: str, arguments: Sequence[str]) -> "Child":
        """Starts `python -m module`."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        return cls(name, process)

    async def line(self, within_s: float = 20.0) -> bytes:
        """Its next line; raises CanaryError where it ends or stays silent."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(within_s):  # (wait_for can swallow a cancellation that comes with the line)
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise CanaryError(f"the demonstration's {self.name} said nothing for {within_s:.0f} s") from None
        if not line:
            raise CanaryError(f"the demonstration's {self.name} ended by itself")
        return line

    async def stop(self) -> None:
        """Ends it."""
        await _stop(self._process)


class Served:
    """`canary serve` on a leash; what it writes goes to a log file."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self._log = log

    @classmethod
    async def start(cls, config: Path, log: Path) -> "Served":
        """Starts the product as anybody would."""
        command = [sys.executable, "-c", "from canary.cli.main import main; main()", "serve", "--config", str(config)]
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "canary.demo.leash", *command),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=own_environment(os.environ),
                start_new_session=True,
            )
        return cls(process, log)

    def check(self) -> None:
        """Raises CanaryError with the end of its log where it has ended."""
        if self._process.returncode is not None:
            raise CanaryError(
                f"canary serve ended with code {self._process.returncode}", hint=f"the end of its log:\n{tail(self._log)}"
            )

    def keep_log(self) -> Path:
        """Copies its log to where it outlives the demonstration, for looking after what went wrong."""
        handle, name = tempfile.mkstemp(prefix="canary-demo-", suffix=".log")
        os.close(handle)
        kept = Path(name)
        kept.write_bytes(self._log.read_bytes() if self._log.exists() else b"")
        return kept

    async def stop(self) -> None:
        """Lets it drain and stop its database."""
        await _stop(self._process)


def own_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """This shell's environment without what would lead the demonstration elsewhere."""
    return {name: value for name, value in environment.items() if name not in _NOT_OURS}


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log."""
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"


def free_ports(preferred: Sequence[int]) -> list[int]:
    """Loopback ports, the preferred ones where they are free; all different."""
    with contextlib.ExitStack() as held:
        return [_free(held, port) for port in preferred]


def _free(held: contextlib.ExitStack, preferred: int) -> int:
    for port in (preferred, 0):
        probe = held.enter_context(socket.socket())
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise CanaryError("no free port on loopback")


def ports_of(line: bytes) -> dict[str, int]:
    """What the model servers said of themselves."""
    return {str(name): int(port) for name, port in json.loads(line).items()}


async def _stop(process: Process) -> None:
    if process.returncode is not None:
        return
    assert process.stdin is not None
    process.stdin.close()
    for within_s, harder in ((_STOP_S, process.terminate), (_KILL_S, process.kill)):
        try:
            async with asyncio.timeout(within_s):
                await process.wait()
                return
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                harder()
    await process.wait()
