"""A process under measurement: started on one core, its tree's CPU and memory read from /proc, ended whole."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

START_WITHIN_S = 20.0
STOP_WITHIN_S = 8.0
NICE = -15  # ahead of whatever else the machine does; only root may
PAGE = os.sysconf("SC_PAGE_SIZE")


class StartError(Exception):
    """A process did not come up; the message holds the end of its log."""


class Process:
    """One started command with all its descendants, in a session of its own."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.popen = popen
        self.log = log

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        core: int,
        folder: Path,
        environ: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Self:
        """Runs the command on `core`, its output in `folder/NAME.log`."""
        log = folder / f"{name}.log"
        before = os.sched_getaffinity(0)
        with log.open("wb") as output:
            os.sched_setaffinity(0, {core})  # inherited by the child, with every thread that it ever starts
            try:
                popen = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env={**os.environ, **(environ or {})},
                    pass_fds=tuple(pass_fds),
                )
            finally:
                os.sched_setaffinity(0, before)
        return cls(name, popen, log)

    def wait_accepting(self, port: int) -> None:
        """Returns once something accepts on 127.0.0.1:port; StartError if the process ends or takes too long."""
        give_up_at = time.monotonic() + START_WITHIN_S
        while time.monotonic() < give_up_at and self.popen.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.02)
        raise StartError(f"{self.name} does not accept on its port; its log ends: {self.log_tail()}")

    def log_tail(self) -> str:
        """The last 600 characters that it said."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-600:].strip() or "(empty)"

    def pids(self) -> list[int]:
        """The process with its descendants."""
        return tree(self.popen.pid)

    def prefer(self) -> None:
        """Puts the whole tree ahead of other work where the user may."""
        for pid in self.pids():
            prefer(pid)

    def stop(self) -> None:
        """Ends the tree: politely, then surely."""
        pids = self.pids()
        with contextlib.suppress(ProcessLookupError):
            self.popen.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(STOP_WITHIN_S)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.popen.wait(STOP_WITHIN_S)


def tree(root: int) -> list[int]:
    """The process `root` with its descendants, as /proc has them now."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def cpu_s_by_thread(pids: Sequence[int]) -> dict[str, float]:
    """Seconds that each thread has spent on a core; exact to the nanosecond, unlike the ticks of /proc/PID/stat."""
    spent = {}
    for pid in pids:
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                spent[path.parent.name] = int(path.read_text(encoding="ascii").split()[0]) / 1e9
    return spent


def cpu_s_since(before: Mapping[str, float], pids: Sequence[int]) -> float:
    """CPU seconds of the processes since `before` was read."""
    return sum(now - before.get(thread, 0.0) for thread, now in cpu_s_by_thread(pids).items())


def resident_mb(pids: Sequence[int]) -> float:
    """Resident memory of the processes, megabytes; shared pages count in each."""
    pages = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * PAGE / 1e6


def core_busy_s(core: int) -> float:
    """Seconds that a core has been busy with anything since the machine started."""
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, idle, iowait, irq, soft, steal, *_ = (int(word) for word in line.split()[1:])
            del idle, iowait
            return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")
    return 0.0


_realtime = False
_modest = False


def be_modest() -> None:
    """From now on `prefer` does nothing: other work on the machine comes first."""
    global _modest
    _modest = True


def use_realtime() -> None:
    """From now on `prefer` means the round-robin real-time scheduler: other work on the machine barely runs meanwhile."""
    global _realtime
    _realtime = True


def prefer(pid: int) -> None:
    """Puts each thread ahead of other work, by nice (its scheduling group too) or real time; as it is without the right to."""
    if _modest:
        return
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            if _realtime:
                os.sched_setscheduler(int(thread.name), os.SCHED_RR, os.sched_param(1))
            else:
                os.setpriority(os.PRIO_PROCESS, int(thread.name), NICE)
        if not _realtime:
            Path(f"/proc/{pid}/autogroup").write_text(str(NICE), encoding="ascii")


def free_port() -> int:
    """A port that nothing used a moment ago, for peers that cannot choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def read_line(pipe: IO[bytes]) -> bytes:
    """One line of a tool's answer; StartError if it ended instead."""
    line = pipe.readline()
    if not line:
        raise StartError("a bench tool ended before it answered")
    return line
