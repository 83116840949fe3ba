"""All journals of this sidecar and the tails that carry them; from them, how its workers are."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog

from canary.courier.backoff import wait
from canary.courier.exposition import Standing, exposition
from canary.courier.tail import Context, Tail
from canary.courier.tally import Tally
from canary.courier.workers import Workers
from canary.errors import SnapshotError
from canary.store.journal import spool_bytes
from canary.store.overlay import read_overlay
from canary.store.snapshot import read_snapshot
from canary.store.spool import journals, sweep

SCAN_S: Final = 0.2
DRAIN_S: Final = 10.0  # after the stop: to the journals' ends

_log = structlog.get_logger("canary.courier")


class _Supervised(msgspec.Struct):
    """What matters here of run/supervisor.json."""

    flapping: list[str] = []


class Roster:
    """Finds journals, keeps a tail for each, answers for the sidecar's health."""

    def __init__(self, state_dir: Path, tally: Tally) -> None:
        self.tally = tally
        self._spool = state_dir / "journal"
        self._snapshot = state_dir / "snapshot.json"
        self._overlay = state_dir / "overlay.json"
        self._supervisor = state_dir / "run" / "supervisor.json"
        self._workers = Workers(state_dir / "page")
        self._tails: dict[str, Tail] = {}

    async def follow(self, context: Context, stop: asyncio.Event) -> None:
        """Carries every journal; after `stop` to their ends, for at most 10 s."""
        running: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                self._begin(context, group, running=running, stop=stop)
                await wait(stop, SCAN_S)
            self._begin(context, group, running=running, stop=stop)
            if running:
                _, late = await asyncio.wait(running, timeout=DRAIN_S)
                for task in late:
                    task.cancel()
                if late:
                    _log.warning("stopped before the journals' ends; the next start goes on", journals=len(late))

    def shown(self) -> Sequence[int]:
        """The snapshot revision that each running worker has in force; 0 where it has none yet."""
        return [max(0, revision) for revision in self._workers.revisions()]

    def alive(self) -> str:
        """Empty where all workers turn, otherwise what is wrong."""
        try:
            supervised = msgspec.json.decode(self._supervisor.read_bytes(), type=_Supervised)
        except (OSError, msgspec.DecodeError):
            supervised = _Supervised()
        if supervised.flapping:
            return f"restarted too often: {', '.join(supervised.flapping)}"
        return self._workers.trouble()

    def ready(self) -> str:
        """Empty where a worker has a plan to serve by, otherwise what is missing."""
        if any(revision >= 0 for revision in self._workers.revisions()):
            return ""
        try:
            read_snapshot(self._snapshot)
        except SnapshotError as error:
            return str(error)
        return "no worker follows a snapshot"

    def notes(self) -> Sequence[str]:
        """For people who ask whether this sidecar is ready: what serves nobody worse, and should be looked at."""
        return (*self._behind(), *self._aside())

    def _behind(self) -> Sequence[str]:
        """Workers that serve, but not by the newest snapshot."""
        try:
            newest = read_snapshot(self._snapshot).revision
        except SnapshotError as error:
            return (f"the snapshot is not in force: {error}",)
        behind = sorted(worker for worker, revision in self._workers.following().items() if revision != newest)
        return (f"revision {newest} is not in force at {', '.join(behind)}: the log says why",) if behind else ()

    def _aside(self) -> Sequence[str]:
        """Frames that could not be recorded."""
        kept, unkept = self.tally.aside_files, sum(self.tally.unkept.values())
        if not kept and not unkept:
            return ()
        more = f", {unkept} more are gone: the folder or the disk is full" if unkept else ""
        return (f"{kept} frames that could not be recorded stand in rejected/{more}; the log says why",)

    def metrics(self) -> str:
        """Prometheus' text format."""
        living = self._living()
        ticks = [tail.tick_at_us for tail in living if tail.tick_at_us]
        try:
            revision = read_snapshot(self._snapshot).revision
        except SnapshotError:
            revision = None
        try:
            ordered = len(read_overlay(self._overlay).routes)
        except SnapshotError:
            ordered = 0  # the workers count it as a failure
        standing = Standing(
            spool_bytes=spool_bytes(self._spool) if self._spool.exists() else 0,
            lag_s=max(0.0, time.time() - min(ticks) / 1e6) if ticks else None,
            journals=len(journals(self._spool)),
            snapshot_revision=revision,
            local_orders=ordered,
            dropped_frames=sum(tail.last_tick.dropped_frames for tail in living if tail.last_tick is not None),
        )
        return exposition(self.tally, standing, pages=self._workers.samples())

    def _living(self) -> list[Tail]:
        return [tail for tail in self._tails.values() if not tail.finished and not tail.journal.is_dead()]

    def _begin(
        self, context: Context, group: asyncio.TaskGroup, *, running: set[asyncio.Task[None]], stop: asyncio.Event
    ) -> None:
        """A tail for each journal that has none; finished ones are forgotten."""
        sweep(self._spool, now_s=time.time())
        for name in [name for name, tail in self._tails.items() if tail.finished]:
            del self._tails[name]
        for journal in journals(self._spool):
            if journal.name not in self._tails:
                tail = self._tails[journal.name] = Tail(journal, context)
                task = group.create_task(tail.run(stop), name=f"tail {journal.name}")
                running.add(task)
                task.add_done_callback(running.discard)
