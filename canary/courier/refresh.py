"""Plans down: committed decisions to the snapshot file, and this sidecar's word of what its workers follow."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from canary.courier.assemble import assemble
from canary.courier.backoff import BackOff, wait
from canary.courier.books import Books
from canary.courier.local import LocalOrders
from canary.courier.watch import PlanWatch
from canary.errors import SnapshotError, StoreError
from canary.ports import PlanInForce
from canary.store.snapshot import keep_good, read_snapshot, write_snapshot

POLL_S: Final = 1.0
EAGER_S: Final = 0.1  # while the workers have not yet taken the newest snapshot

_log = structlog.get_logger("canary.courier")


class Refresher:
    """Polls each second; a NOTIFY is only a hint to look at once."""

    def __init__(
        self,
        state_dir: Path,
        books: Books,
        *,
        watch: PlanWatch,
        orders: LocalOrders,
        sidecar: str,
        shown: Callable[[], Sequence[int]],
    ) -> None:
        """`shown` says which snapshot revision each worker has in force."""
        self._path = state_dir / "snapshot.json"
        self._books = books
        self._watch = watch
        self._orders = orders
        self._sidecar = sidecar
        self._shown = shown
        self._written: int | None = self._found()
        self._file = _file(self._path)
        self._good: int | None = None  # the revision kept for workers that cannot read the newest
        self._hint = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Looks until `stop` is set; failures are waited out."""
        back_off = BackOff()
        while not stop.is_set():
            pause_s = POLL_S
            try:
                followed = await self.step()
                pause_s = POLL_S if followed else EAGER_S
                if back_off.failures:
                    _log.info("the plan is read again")
                back_off.reset()
            except (StoreError, OSError) as error:
                pause_s = back_off.next_s()
                if back_off.failures == 1:
                    hint = getattr(error, "hint", "")
                    _log.warning("the plan cannot be read; the last one stays in force", reason=str(error), hint=hint)
            await self._pause(stop, pause_s)

    async def hear(self, stop: asyncio.Event) -> None:
        """Turns notifications into hints, for as long as Postgres speaks."""
        back_off = BackOff()
        while not stop.is_set():
            try:
                async for _ in self._books.hearing.hear():
                    back_off.reset()
                    self._hint.set()
            except StoreError:
                pass  # the poll says so, once
            await wait(stop, back_off.next_s())

    async def step(self) -> bool:
        """One look; True where all workers follow the plan. Raises StoreError."""
        plan = await self._watch.look()
        self._write(plan)
        await self._orders.report(plan, self._books.rollouts, now=datetime.now(tz=UTC))
        await self._orders.settle(plan)
        return await self._acknowledge(plan)

    def _write(self, plan: PlanInForce) -> None:
        if plan.plan_revision == self._written and self._file is not None and _file(self._path) == self._file:
            return
        snapshot = assemble(plan, made_at_us=time.time_ns() // 1000)
        if snapshot is None:
            return
        if self._written is not None and snapshot.revision < self._written:
            _log.warning("the plan went back: was the database restored?", had=self._written, now=snapshot.revision)
        write_snapshot(self._path, snapshot)
        self._written, self._file = snapshot.revision, _file(self._path)

    async def _acknowledge(self, plan: PlanInForce) -> bool:
        shown = self._shown()
        if not shown:
            return True  # no worker: nothing to say, and nothing to wait for
        await self._books.plans.acknowledge(self._sidecar, min(shown), len(shown))
        followed = min(shown) >= plan.plan_revision
        if followed and self._good != plan.plan_revision and self._path.exists():
            self._keep_good(plan.plan_revision)
        return followed

    def _keep_good(self, revision: int) -> None:
        """For workers that cannot read the newest; serving does not hang on it."""
        try:
            keep_good(self._path)
        except SnapshotError as error:
            _log.warning("the snapshot could not be kept as the last good one", reason=str(error))
        self._good = revision

    def _found(self) -> int | None:
        try:
            return read_snapshot(self._path).revision
        except SnapshotError:
            return None

    async def _pause(self, stop: asyncio.Event, seconds: float) -> None:
        """Until the next look: time, a hint or the stop."""
        waits = {asyncio.ensure_future(stop.wait()), asyncio.ensure_future(self._hint.wait())}
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        self._hint.clear()


def _file(path: Path) -> tuple[int, int, int] | None:
    """What changes where somebody else writes, cuts or replaces the file; None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_ino, stat.st_mtime_ns, stat.st_size)
