"""The two ends of every measurement: the fake upstream and the load, both on the core that is not the proxy's."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.bench.process import StartError, cpu_s_by_thread, cpu_s_since, prefer, read_line


class Upstream:
    """Named sites in one process; see c/upstream.c for their options."""

    def __init__(self, tool: Path, sites: dict[str, str], *, core: int) -> None:
        before = os.sched_getaffinity(0)
        arguments = [f"{name},{options}".rstrip(",") for name, options in sites.items()]
        os.sched_setaffinity(0, {core})
        try:
            self._popen = subprocess.Popen(
                [str(tool), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
        finally:
            os.sched_setaffinity(0, before)
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._ask, self._answer = self._popen.stdin, self._popen.stdout
        self.ports: dict[str, int] = json.loads(read_line(self._answer))
        prefer(self._popen.pid)

    @property
    def pid(self) -> int:
        """Process id, for its CPU."""
        return self._popen.pid

    def counts(self) -> dict[str, dict[str, int]]:
        """Requests, failures, stalls and connections so far, by site."""
        self._ask.write(b"?\n")
        self._ask.flush()
        counts: dict[str, dict[str, int]] = json.loads(read_line(self._answer))
        return counts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ask.close()  # the end of its input ends it
        self._answer.close()
        try:
            self._popen.wait(5)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked of a proxy: closed loop at rate 0, else that many requests a second, due at fixed instants."""

    seconds: float
    rate: float = 0
    connections: int = 32
    body_bytes: int = 0
    patience_s: float = 10.0
    ids: bool = False  # each request's head is unlike any other

    def command(self, tool: Path, port: int) -> list[str]:
        """The generator's command line."""
        given = {
            "port": port,
            "seconds": self.seconds,
            "rate": self.rate,
            "connections": self.connections,
            "body": self.body_bytes,
            "patience": self.patience_s,
        }
        flags = ["--ids"] if self.ids else []
        return [str(tool), *flags, *(word for name, value in given.items() for word in (f"--{name}", str(value)))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What the generator and the fake upstream saw."""

    report: dict[str, Any]
    tools_cpu_s: float


def run_load(tool: Path, load: Load, *, port: int, upstream: Upstream, core: int) -> Answered:
    """Runs the load to its end; StartError where the generator could not connect."""
    upstream_before = cpu_s_by_thread([upstream.pid])
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        popen = subprocess.Popen(
            load.command(tool, port), stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
    finally:
        os.sched_setaffinity(0, before)
    prefer(popen.pid)
    try:
        output, error = popen.communicate(timeout=load.seconds + 3 * load.patience_s)
    finally:
        popen.kill()
    if popen.returncode:
        raise StartError(f"the load generator said: {error.decode(errors='replace').strip()}")
    report: dict[str, Any] = json.loads(output)
    return Answered(report=report, tools_cpu_s=report["cpu_s"] + cpu_s_since(upstream_before, [upstream.pid]))
