"""The shadow sink: bounded, droppable, never awaited by the client; a copy that was sent always ends in a pair."""

import time
from typing import Final

from canary.split.spec import MirrorSpec
from canary.store.frames import Live
from canary.terms import Ending, MirrorDrop
from canary.wire.answer_head import AnswerHead
from canary.wire.call import Call
from canary.wire.serving import Application

DOWN_S: Final = 0.5
"""After a refused connect none is tried for this long."""
FREE_BYTES: Final = 2_097_152
"""A copy's answer past this is read on slowly: an endless one must not take the time of clients."""
SLOW_PER_TICK: Final = 8
_NONE: Final = MirrorDrop.NONE
_WHOLE: Final = Ending.WHOLE


class PairBook(Application):
    """Where pairs go. An application too, because a compiled class has one base."""

    __slots__ = ()

    def pair(self, copy: "Copy", frame: Live) -> None:
        """Both answers of `copy` have ended."""
        raise NotImplementedError


class ShadowSink:
    """One route's copies under way: their slots, the bytes they and their live answers hold."""

    __slots__ = ("_down_until", "copies", "held_bytes", "held_limit", "slots", "slowed")

    def __init__(self, spec: MirrorSpec) -> None:
        self.copies: set[Copy] = set()
        self.slowed: list[Copy] = []
        self.held_bytes = 0
        self._down_until = 0.0
        self.bound(spec)

    def bound(self, spec: MirrorSpec) -> None:
        """Takes new bounds from a new snapshot."""
        self.slots = spec.slots
        self.held_limit = spec.held_bytes

    def refuses(self, size: int) -> MirrorDrop:
        """Why a copy of `size` bytes cannot be sent now; NONE where it can."""
        if self._down_until and time.monotonic() < self._down_until:
            return MirrorDrop.DOWN
        if len(self.copies) >= self.slots:
            return MirrorDrop.SLOTS
        if self.held_bytes + size > self.held_limit:
            return MirrorDrop.BYTES
        return _NONE

    def refused(self) -> None:
        """A connect failed: the next half second is not tried."""
        self._down_until = time.monotonic() + DOWN_S

    def check(self) -> None:
        """Called by the ticker: ends copies whose deadline passed."""
        late = [copy for copy in self.copies if copy.late()]
        for copy in late:
            copy.time_out()
        for copy in self.slowed[:SLOW_PER_TICK]:
            if copy.connection is not None:
                copy.connection.resume()
        del self.slowed[:SLOW_PER_TICK]

    def abort(self) -> None:
        """Ends every copy now: the worker stops."""
        for copy in list(self.copies):
            copy.time_out()


class Copy(Call):
    """A request's second life: sent to the candidate, its answer captured and thrown away."""

    __slots__ = ("_book", "_frame", "_live_over", "_sink", "idle_us", "live_held", "version")

    def __init__(self, sink: ShadowSink, call: Call, *, book: PairBook) -> None:
        """Takes times and bounds from the live `call`."""
        Call.__init__(self, call.method, call.start_ns)
        self.version = ""
        self.deadline_us = call.deadline_us
        self.connect_s = call.connect_s
        self.pattern = call.pattern
        self.idle_us = 0
        self.live_held = 0
        self._book = book
        self._sink = sink
        self._frame: Live | None = None
        self._live_over = False
        sink.copies.add(self)

    def late(self) -> bool:
        """True once its deadline, or the silence between pieces, is over."""
        if self.ended:
            return False
        age_us = self.age_us()
        return age_us > self.deadline_us or (self.first_byte_us >= 0 and age_us - self.touched_us > self.idle_us)

    def time_out(self) -> None:
        """Gives up waiting."""
        if not self.ended:
            connection, self.connection = self.connection, None
            if connection is not None:
                connection.drop()
            self.settle(Ending.TIMEOUT)

    def capture(self, payload: bytes, size: int) -> None:
        """As any call, and within the route's bytes."""
        sink = self._sink
        if sink.held_bytes + size > sink.held_limit:
            self.truncated = True
            return
        before = self.held
        if before + size <= self.cap:
            self.held = before + size
            self.body.append(payload)
            sink.held_bytes += size
            return
        super().capture(payload, size)
        sink.held_bytes += self.held - before

    def live_ended(self, frame: Live, held: int) -> None:
        """The client's side is over: `frame` waits for ours, or ours for it no longer."""
        self._frame = frame
        self._live_over = True
        self.live_held = held
        self._sink.held_bytes += held
        if self.ended:
            self._close()

    def live_failed(self) -> None:
        """What the client got could not be written down: no pair will come of us, and our end frees our slot all the same."""
        if not self._live_over:
            self._live_over = True
            if self.ended:
                self._close()

    def on_connect_failed(self, ending: Ending) -> None:
        """Counts against the next half second of copies too."""
        self._sink.refused()
        super().on_connect_failed(ending)

    def on_answer(self, head: AnswerHead, raw: bytes, payload: bytes, *, done: bool) -> None:
        """Nothing is passed on."""
        if done:
            self.on_whole(head, payload)

    def on_whole(self, head: AnswerHead, body: bytes) -> None:
        """Nothing is passed on."""
        self.ended = True
        self.ending = _WHOLE
        if self._live_over:
            self._close()

    def on_piece(self, raw: bytes, payload: bytes, *, done: bool) -> None:
        """Nothing is passed on."""
        if done:
            self.settle(_WHOLE)
        elif self.body_bytes > FREE_BYTES and self.connection is not None:
            self.connection.pause()
            self._sink.slowed.append(self)

    def on_end(self, ending: Ending) -> None:
        """Our side is over, whether it ended whole or not."""
        if self._live_over:
            self._close()

    def _close(self) -> None:
        frame, sink = self._frame, self._sink
        sink.copies.discard(self)
        sink.held_bytes -= len(self.request) + self.held + self.live_held
        if frame is None:
            self.body.clear()
            return
        self._frame = None
        self._book.pair(self, frame)
