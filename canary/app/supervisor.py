"""The supervisor: starts the processes, keeps them alive and their queues served, and stops them in order."""

import logging
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from canary.app.children import DRAIN, RELOAD, Child, Spec
from canary.app.keeping import Kept, Server
from canary.app.restarts import Queue, loans
from canary.app.slots import Slot
from canary.app.status import StatusFile
from canary.app.stopping import Role, Step, first_step, next_step

_LOG: Final = logging.getLogger("canary.supervisor")
_IDLE_S: Final = 1.0
_SOON_S: Final = 0.1
_Handler = Callable[[int, FrameType | None], object] | int | None


class Supervisor:
    """Runs children until it is told to stop. Signal handlers only set flags."""

    def __init__(
        self,
        specs: Sequence[Spec],
        listeners: Sequence[socket.socket],
        *,
        status: Path,
        drain_s: float = 30.0,
        server: Server | None = None,
        watch: Callable[[float, bool], bool] | None = None,
    ) -> None:
        """`watch` is called at each turn with the monotonic time and whether all children are ready; True: again soon."""
        workers = iter(listeners)
        self._slots = [Slot(spec, next(workers) if spec.role is Role.WORKER else None) for spec in specs]
        self._status = StatusFile(status)
        self._drain_s = drain_s
        self._server = Kept(server) if server is not None else None
        self._watch = watch
        self._hurried = False
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        self._asked = {signal.SIGTERM: 0, signal.SIGINT: 0, signal.SIGHUP: 0}
        self._stop: Step | None = None

    def run(self) -> int:
        """Returns the exit code: 0 after an ordered stop, 130 after one that was cut short."""
        before = self._take_signals()
        try:
            for slot in self._slots:
                self._start(slot)
            while self._turn():
                pass
            return 130 if self._cut_short else 0
        finally:
            self._end_all()
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            self._wake.close()
            self._waker.close()

    @property
    def _cut_short(self) -> bool:
        return self._asked[signal.SIGINT] > 1

    def _take_signals(self) -> dict[signal.Signals, _Handler]:
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._wake, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        before: dict[signal.Signals, _Handler] = {}
        for number in (*self._asked, signal.SIGCHLD):
            before[number] = signal.signal(number, self._flag)
        return before

    def _flag(self, number: int, _frame: FrameType | None) -> None:
        if number in self._asked:
            self._asked[signal.Signals(number)] += 1

    def _turn(self) -> bool:
        """One round: wait for something, then bring everything to where it belongs. False when all is over."""
        for key, _ in self._selector.select(self._pause_s()):
            if isinstance(key.data, Child):
                if not key.data.hear():
                    self._selector.unregister(key.data.control)
            else:
                self._swallow()
        now = time.monotonic()
        for slot in self._slots:
            self._bury(slot, now)
        goes_on = self._stopping(now) if self._should_stop() else self._keeping(now)
        self._status.write(self._slots, now)
        return goes_on

    def _swallow(self) -> None:
        try:
            while self._wake.recv(4096):
                pass
        except BlockingIOError:
            pass

    def _should_stop(self) -> bool:
        return self._stop is not None or bool(self._asked[signal.SIGTERM] or self._asked[signal.SIGINT])

    def _pause_s(self) -> float:
        """Until the next thing is due; events end it early."""
        now = time.monotonic()
        due = [slot.due_at - now for slot in self._slots if slot.child is None and self._stop is None]
        unready = self._hurried or any(slot.child is not None and not slot.child.ready for slot in self._slots)
        return max(0.0, min([_IDLE_S, *due, *([_SOON_S] if unready else [])]))

    def _start(self, slot: Slot) -> None:
        try:
            child = slot.start()
        except OSError as error:
            _LOG.error("a process cannot be started", extra={"child": slot.spec.name, "reason": str(error)})
            slot.died(time.monotonic(), alone=self._alone(slot))
            return
        self._selector.register(child.control, selectors.EVENT_READ, child)

    def _bury(self, slot: Slot, now: float) -> None:
        """Takes a dead child out; its restart becomes due."""
        child = slot.child
        if child is None or (code := child.exit_code()) is None:
            return
        if child.control in self._selector.get_map():
            self._selector.unregister(child.control)
        for other in self._slots:
            other.lent_to.discard(slot.spec.name)
        slot.died(now, alone=self._alone(slot))
        if self._stop is None:
            _LOG.warning(
                "a process ended and starts again",
                extra={
                    "child": slot.spec.name,
                    "pid": child.pid,
                    "exit_code": code,
                    "restart_in_s": round(slot.due_at - now, 2),
                },
            )

    def _alone(self, slot: Slot) -> bool:
        return slot.listener is not None and not any(o.serves for o in self._slots if o is not slot)

    def _keeping(self, now: float) -> bool:
        if self._asked[signal.SIGHUP]:
            self._asked[signal.SIGHUP] = 0
            for slot in self._slots:
                if slot.child is not None and slot.spec.role is not Role.WORKER:
                    slot.child.ask(RELOAD)
        for slot in self._slots:
            if slot.child is None and now >= slot.due_at:
                self._start(slot)
        self._lend(now)
        if self._server is not None:
            self._server.look(now)
        if self._watch is not None:
            self._hurried = self._watch(now, all(slot.ready for slot in self._slots))
        return True

    def _lend(self, now: float) -> None:
        """Gives the queue of a worker that does not come back to one that lives."""
        queues: dict[str, Queue] = {slot.spec.name: slot.queue() for slot in self._slots if slot.listener is not None}
        by_name = {slot.spec.name: slot for slot in self._slots}
        for name, taker in loans(queues, [n for n in queues if by_name[n].serves], now):
            listener, child = by_name[name].listener, by_name[taker].child
            assert listener is not None
            if child is not None and child.lend(listener):
                by_name[name].lent_to.add(taker)
                _LOG.warning("a queue is served by another worker", extra={"queue": name, "child": taker})

    def _stopping(self, now: float) -> bool:
        if self._cut_short:
            return False
        living = {slot.spec.role for slot in self._slots if slot.child is not None}
        before = self._stop
        self._stop = first_step(now=now, drain_s=self._drain_s) if before is None else next_step(before, now=now, living=living)
        if before is None:
            _LOG.info("stopping: workers drain", extra={"drain_s": self._drain_s})
            for slot in self._slots:
                slot.close_queue()
        for slot in self._slots:
            if slot.child is not None and slot.spec.role is self._stop.role:
                if self._stop.ask:
                    slot.child.ask(DRAIN)
                elif self._stop.kill:
                    _LOG.warning("killed: it did not stop in time", extra={"child": slot.spec.name})
                    slot.child.kill()
        return self._stop.role is not None

    def _end_all(self) -> None:
        """Whatever still runs is killed: after an ordered stop nothing does."""
        for slot in self._slots:
            if slot.child is not None:
                slot.child.kill()
                slot.child.wait()
                slot.child.close()
        if self._server is not None:
            self._server.stop()
        self._status.write([], time.monotonic())
