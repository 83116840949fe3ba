"""One journal's way into Postgres: read, fold, commit, release; from the committed offset on after any failure."""

import asyncio
from typing import Final

import msgspec
import structlog

from canary.courier.backoff import BackOff, wait
from canary.courier.books import Records
from canary.courier.cells import Cells
from canary.courier.fold import Fold
from canary.courier.rejected import Rejected
from canary.courier.tally import Tally
from canary.courier.watch import PlanWatch, ReplacedDatabase
from canary.errors import DataRefused, StaleRevision, StoreError
from canary.store.frames import Frame, Live, Open, Tick
from canary.store.framing import frame_bytes
from canary.store.rows import RecordBatch
from canary.store.spool import Batch, JournalDir, Offset

POLL_S: Final = 0.05  # while there is nothing
PAUSE_S: Final = 0.15  # after a commit that took all there was: each costs some milliseconds, however little it holds
MOST_FRAMES: Final = 2_048  # a batch is folded in one turn of the loop: some 40 ms

_log = structlog.get_logger("canary.courier")


class Context(msgspec.Struct, frozen=True):
    """What all tails share."""

    sidecar: str
    records: Records
    watch: PlanWatch
    rejected: Rejected
    tally: Tally


class _Pending(msgspec.Struct):
    """A batch on its way."""

    record: RecordBatch
    read: Batch
    failures: int = 0


class Tail:
    """Carries one journal until its writer is dead and all of it is committed."""

    def __init__(self, journal: JournalDir, context: Context) -> None:
        self.journal = journal
        self.finished = False
        self.tick_at_us = 0  # committed
        self.last_tick: Tick | None = None  # committed
        self._context = context
        self._fold: Fold | None = None
        self._offset = Offset()
        self._committed = 0  # highest offset known to be committed: a database that knows less is another one
        self._resumed_in = -1
        self._pending: _Pending | None = None
        self._limit = MOST_FRAMES
        self._suspect: int | None = None  # end of the one frame that Postgres refuses
        self._behind = False  # more stood there than the last batch took

    async def run(self, stop: asyncio.Event) -> None:
        """Steps until the journal is finished, or is read to its end after `stop`."""
        back_off = BackOff()
        while not self.finished:
            try:
                moved = await self.step()
                if moved and back_off.failures:
                    _log.info("recording goes on", journal=self.journal.name, after_failures=back_off.failures)
                    back_off.reset()
            except (StoreError, StaleRevision) as error:
                pause_s = back_off.next_s()
                if back_off.failures == 1:
                    _log.warning("recording waits; the journal keeps everything", journal=self.journal.name, reason=str(error))
                if stop.is_set():  # a short while is left to reach the end
                    await asyncio.sleep(0.2)
                else:
                    await wait(stop, pause_s)
                continue
            if stop.is_set() and not moved:
                return
            if not moved:
                await wait(stop, POLL_S)
            elif not self._behind:
                await wait(stop, PAUSE_S)

    async def step(self) -> bool:
        """One batch, from reading to release; False where there was nothing to do. Raises StoreError, StaleRevision."""
        if self._fold is None:
            await self._resume()
        if self.finished:
            return True
        if self._pending is None:
            self._pending = await self._next_batch()
            if self._pending is None:
                return False
        await self._commit(self._pending)
        return True

    async def _resume(self) -> None:
        """State as committed, and what was in flight there from the journal itself."""
        await self._context.watch.look()
        state = await self._context.records.load(self.journal.name)
        if state.offset < self._committed:
            raise ReplacedDatabase(
                f"journal {self.journal.name} was committed up to {self._committed}, the database knows {state.offset}",
                hint="Bring back the database that has it.",
            )
        if state.dead:  # committed to its end; only its folder is left
            self._finish()
            return
        offset = Offset.of(state.offset)
        fold = Fold(known=self._context.watch.known, cells=Cells.of(state), tally=self._context.tally)
        frames = list(self.journal.recall(offset))
        fold.known = await self._context.watch.find(_segments(frames))
        fold.recall(frames)
        fold.tick_at_us = max(fold.tick_at_us, state.tick_at_us)
        self._fold, self._offset, self._resumed_in = fold, offset, offset.segment
        self._committed, self.tick_at_us, self._pending = state.offset, state.tick_at_us, None

    async def _next_batch(self) -> _Pending | None:
        read = self.journal.read(self._offset, max_frames=self._limit)
        if not (read.frames or read.bad or read.finished or read.next_offset.segment != self._offset.segment):
            return None
        fold = self._fold
        assert fold is not None
        fold.known = await self._context.watch.find(_segments(read.frames))
        fold.fold(read.frames, carried_is_known=self._offset.segment == self._resumed_in)
        if read.finished:
            fold.lose()
        outcomes, pairs, bodies = fold.take()
        rejected = len(read.bad)
        for bad in read.bad:
            self._context.rejected.put(self.journal.name, bad.offset, raw=bad.raw, reason=bad.reason)
        if read.ends and read.ends[0] == self._suspect:  # its counts stay, its rows cannot be stored
            outcomes, pairs, bodies = [], [], []
            rejected += 1
        counters, profiles = fold.cells.take(fold.tick_at_us)
        record = RecordBatch(
            journal=self.journal.name,
            sidecar=self._context.sidecar,
            seen=self._committed,
            offset=read.next_offset.to_int(),
            tick_at_us=fold.tick_at_us,
            dead=read.finished,
            outcomes=outcomes,
            pairs=pairs,
            bodies=bodies,
            counters=counters,
            profiles=profiles,
            first_events=fold.units.take(),
            rejected=rejected,
        )
        return _Pending(record, read)

    async def _commit(self, pending: _Pending) -> None:
        try:
            await self._context.records.commit(pending.record)
        except StaleRevision:
            # an earlier answer was lost on the way, or another courier went on: what is committed says from where
            self._fold = self._pending = None
            raise
        except DataRefused as error:
            pending.failures += 1
            if pending.failures > 1:
                self._narrow(pending, error)
            return
        self._pending, self._behind = None, pending.read.more
        self._note(pending)
        if pending.record.dead:
            self._finish()
        else:
            self._offset = pending.read.next_offset
            self.journal.release(self._offset)

    def _note(self, pending: _Pending) -> None:
        record, tally = pending.record, self._context.tally
        self._committed, self.tick_at_us = record.offset, record.tick_at_us
        self._limit = min(MOST_FRAMES, self._limit * 2)
        tally.commits += 1
        tally.frames += len(pending.read.frames)
        tally.rejected += record.rejected
        for frame in reversed(pending.read.frames):
            if type(frame) is Tick:
                self.last_tick = frame
                break

    def _narrow(self, pending: _Pending, error: DataRefused) -> None:
        """Halves what is read until one frame is left; its bytes are set aside. Begins again from what is committed."""
        frames = pending.read.frames
        if len(frames) > 1:
            self._limit = max(1, len(frames) // 2)
        elif frames and self._suspect != pending.read.ends[0]:
            self._suspect = pending.read.ends[0]
            self._context.rejected.put(self.journal.name, self._offset, raw=frame_bytes(frames[0]), reason=str(error))
        else:
            raise StoreError(f"journal {self.journal.name}: Postgres refuses a batch without rows: {error}") from error
        self._fold = self._pending = None

    def _finish(self) -> None:
        self.finished = True
        self._pending = None
        try:
            self.journal.remove()
        except OSError as error:
            _log.warning("a committed journal could not be removed", journal=self.journal.name, error=str(error))


def _segments(frames: list[Frame]) -> set[int]:
    """Segments that the frames speak of; 0 is none."""
    found = {frame.segment for frame in frames if type(frame) is Open or type(frame) is Live}
    found.discard(0)
    return found
