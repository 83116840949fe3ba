"""The store bench: every pair from the worker's journal through the courier into Postgres, counted row by row."""

import os
import socket
import sys
import time
from argparse import Namespace
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from canary.errors import SnapshotError
from canary.store.cluster import read_pid_file
from canary.store.snapshot import read_snapshot
from canary.store.spool import JournalDir, Offset
from tests.bench.figures import number, table
from tests.bench.machine import cores
from tests.bench.process import Process, StartError, cpu_s_by_thread, cpu_s_since, free_port, prefer, resident_mb, tree
from tests.bench.product import Worker
from tests.bench.stored_rollout import Rows, embedded, prepare
from tests.bench.traffic import Load, Upstream, run_load
from tests.support.deadline import TooLate, wait_for

SITES = {"stable": "delay_ms=2-18", "candidate": "delay_ms=2-18"}
CONNECTIONS = 128
STORED_WITHIN_S = 60.0
HEAP_S = 8.0  # as fast as it goes: some tens of thousands of pairs
TICKS = os.sysconf("SC_CLK_TCK")


class Leashed:
    """A courier or a controller as one process, on a leash as the supervisor holds it."""

    def __init__(self, role: str, home: tuple[Path, Path], url: str, *, core: int, folder: Path) -> None:
        """`role` is the process' module in `canary.app`; `home` its file and its state folder."""
        self._leash, theirs = socket.socketpair()
        config, state = home
        command = [sys.executable, "-m", f"canary.app.{role}", "--config", str(config), "--state-dir", str(state)]
        command += ["--control-fd", str(theirs.fileno())]
        with theirs:
            self.process = Process.start(
                role,
                command,
                core=core,
                folder=folder,
                environ={"CANARY_DATABASE_URL": url},
                pass_fds=(theirs.fileno(),),
            )
        self.process.prefer()

    def stop(self) -> None:
        """Lets go; it reads the journal to its end and leaves."""
        self._leash.close()
        self.process.stop()


class StoreBench:
    """Runs the parts; says what was stored and what it cost."""

    def __init__(self, tools: dict[str, Path], folder: Path, *, rate: float, seconds: float) -> None:
        self.tools = tools
        self.folder = folder
        self.rate = rate
        self.seconds = seconds
        self.state = folder / "state"

    def run(self) -> dict[str, Any]:
        """Stores pairs at the rate, then drains a heap of them."""
        proxy_core, tools_core = cores()
        self.state.mkdir(mode=0o700)
        with ExitStack() as stack:
            upstream = stack.enter_context(Upstream(self.tools["upstream"], SITES, core=tools_core))
            url = stack.enter_context(embedded(self.state, core=tools_core))
            for pid in self._postgres():
                prefer(pid)  # its later backends inherit it
            config = prepare(self.folder, url, ports=upstream.ports, sidecar_port=free_port())
            rows = stack.enter_context(closing(Rows(url)))
            courier = Leashed("courier", (config, self.state), url, core=tools_core, folder=self.folder)
            stack.callback(courier.stop)
            self._await_snapshot(courier)
            worker = Worker(self.state, name="worker", core=proxy_core, folder=self.folder)
            stack.callback(worker.stop)
            stored = self._store(upstream, worker, courier, rows)
            stored["postgres"] = rows.version()
            courier.stop()
            home = (config, self.state)
            drained = self._drain(
                upstream, worker, rows, lambda: Leashed("courier", home, url, core=proxy_core, folder=self.folder)
            )
            return {"stored": stored, "drained": drained}

    def _await_snapshot(self, courier: Leashed) -> None:
        def split_in_force() -> bool:
            if courier.process.popen.poll() is not None:
                raise StartError(f"the courier ended; its log ends: {courier.process.log_tail()}")
            try:
                return read_snapshot(self.state / "snapshot.json").routes[0].split is not None
            except SnapshotError:
                return False

        wait_for(split_in_force, 30, what="the courier's snapshot with the rollout's split")

    def _postgres(self) -> list[int]:
        found = next((read_pid_file(path) for path in self.state.glob("pg[0-9][0-9]")), None)
        return tree(found.pid) if found is not None else []

    def _store(self, upstream: Upstream, worker: Worker, courier: Leashed, rows: Rows) -> dict[str, Any]:
        """Load at the rate; afterwards every answered request must be one outcome and one pair."""
        worker.prefer()
        warm_up = self._load(upstream, worker, Load(seconds=1, rate=self.rate, connections=CONNECTIONS))
        self._await_pairs(rows, warm_up["answered"])
        groups = {"proxy": worker.pids(), "courier": courier.process.pids(), "postgres": self._postgres()}
        before = {name: cpu_s_by_thread(pids) for name, pids in groups.items()}
        ended_before = reaped_s(groups["postgres"])
        report = self._load(upstream, worker, Load(seconds=self.seconds, rate=self.rate, connections=CONNECTIONS))
        loaded_at = time.monotonic()
        answered = warm_up["answered"] + report["answered"]
        self._await_pairs(rows, answered)
        late_s = time.monotonic() - loaded_at
        spent = {name: cpu_s_since(before[name], groups[name] if name != "postgres" else self._postgres()) for name in groups}
        spent["postgres"] += reaped_s(groups["postgres"]) - ended_before
        counts, whole = rows.counts(), max(report["answered"], 1)
        return {
            "rate": self.rate,
            "seconds": self.seconds,
            "answered": answered,
            "load": report,
            "rows": counts,
            "every_pair_stored": is_complete(counts, answered) and not report["failed"] and not report["unsent"],
            "stored_after_s": late_s,
            "cpu_us_per_pair": {name: 1e6 * seconds / whole for name, seconds in spent.items()},
            "rss_mb": {name: resident_mb(pids) for name, pids in groups.items()},
            "database_bytes_per_pair": 1e6 * rows.database_mb() / max(answered, 1),
        }

    def _load(self, upstream: Upstream, worker: Worker, load: Load) -> dict[str, Any]:
        return run_load(self.tools["load"], load, port=worker.port, upstream=upstream, core=cores()[1]).report

    def _await_pairs(self, rows: Rows, wanted: int) -> None:
        try:
            wait_for(lambda: is_complete(rows.counts(), wanted), STORED_WITHIN_S, what=f"{wanted} pairs")
        except TooLate as late:
            sys.stderr.write(f"{late}; they hold {rows.counts()}\n")

    def _drain(self, upstream: Upstream, worker: Worker, rows: Rows, start: Any) -> dict[str, Any]:
        """Heaps up pairs without a courier, then starts one and times it from its first commit to its last."""
        before = rows.counts()["pairs"]
        load = Load(seconds=min(self.seconds, HEAP_S), connections=CONNECTIONS)
        report = self._load(upstream, worker, load)
        journal = JournalDir(worker.journals()[0])
        segment = journal.segments()[-1]
        end = Offset(segment, (journal.path / f"{segment:06d}.seg").stat().st_size).to_int()
        courier: Leashed = start()
        try:
            marks = self._marks(rows, end)
            cpu_s = sum(cpu_s_by_thread(courier.process.pids()).values())
        finally:
            courier.stop()
        self._await_pairs(rows, rows.counts()["outcomes"])
        pairs = rows.counts()["pairs"] - before
        (first_at, first), (last_at, last) = marks[0], marks[-1]
        return {
            "pairs": pairs,
            "answered": report["answered"],
            "seconds": last_at - first_at,
            "pairs_per_s": (last - first) / max(last_at - first_at, 1e-9),
            "courier_cpu_s_with_start": cpu_s,
        }

    @staticmethod
    def _marks(rows: Rows, end: int) -> list[tuple[float, int]]:
        """Instants with the pairs stored by then: after the first commit, and after the last."""
        began, marks = rows.offset(), []
        wait_for(lambda: rows.offset() > began, STORED_WITHIN_S, what="the drain's first commit")
        marks.append((time.monotonic(), rows.counts()["pairs"]))
        wait_for(lambda: rows.offset() >= end, STORED_WITHIN_S, what="the journal's end")
        marks.append((time.monotonic(), rows.counts()["pairs"]))
        return marks


def is_complete(counts: dict[str, int], wanted: int) -> bool:
    """One outcome and one pair for each of so many exchanges, none lost, dropped or set aside."""
    once = all(counts[name] == wanted for name in ("outcomes", "distinct_outcomes", "pairs", "distinct_pairs"))
    return once and not counts["lost"] and not counts["copies_dropped"] and not counts["rejected"]


def reaped_s(pids: list[int]) -> float:
    """CPU seconds of children that ended and were waited for: Postgres' short-lived workers."""
    if not pids:
        return 0.0
    fields = Path(f"/proc/{pids[0]}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / TICKS


def run_store(options: Namespace, tools: dict[str, Path], folder: Path) -> dict[str, Any]:
    """The whole bench with its report on the terminal."""
    seconds = 3.0 if options.quick else max(options.seconds, 15.0)
    result = StoreBench(tools, folder, rate=options.rate, seconds=seconds).run()
    print(render(result))
    return result


def render(result: dict[str, Any]) -> str:
    """For people."""
    stored, drained = result["stored"], result["drained"]
    cpu, rss, load = stored["cpu_us_per_pair"], stored["rss_mb"], stored["load"]
    rows = [[name, number(cpu[name]), number(cpu[name] * stored["rate"] / 1e4), number(rss[name])] for name in cpu]
    word = "every pair stored, none twice, nothing dropped" if stored["every_pair_stored"] else "NOT every pair is stored"
    sites = f"upstreams 2 to 18 ms, Postgres {stored['postgres']}"
    latency = f"client p50 {number(load['latency_us']['p50'])} us, p99 {number(load['latency_us']['p99'])} us"
    heap = f"{drained['pairs']:,} pairs heaped up without a courier"
    lines = [
        f"store: {load['rps']:,.0f} pairs a second for {stored['seconds']:g} s, {sites}",
        f"  {word}: {stored['answered']:,} answered, rows {stored['rows']}",
        f"  the last one {stored['stored_after_s']:.2f} s after the load's end; {latency}",
        table(["", "CPU us/pair", "% of a core", "RSS MB"], rows),
        f"drain: {heap}; {drained['pairs_per_s']:,.0f} a second, first to last commit ({drained['seconds']:.2f} s)",
    ]
    return "\n".join(lines)
