"""One request on its way through one upstream connection: the marks of its times, what was captured, one retry."""

import asyncio
import time
from typing import Final

from canary.terms import Ending
from canary.wire.answer import DEFAULT_PATTERN, Pattern
from canary.wire.answer_head import AnswerHead
from canary.wire.tunnel import Tunnel

TAIL: Final = 4_096  # bytes kept of the end of a body past its cap
MARKS: Final = 256  # the first marks are kept, then each 16th
_WHOLE: Final = Ending.WHOLE
_now_ns: Final = time.monotonic_ns
_IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})


# Seams that each request crosses are plain bases, with one implementation each: compiled, a call through a base is a jump by
# a table, one through a Protocol a look-up by name.


class Line:
    """The upstream connection that a call holds."""

    __slots__ = ()

    def send(self, call: "Call", data: bytes) -> None:
        """Begins an exchange: `call` gets all that comes."""
        raise NotImplementedError

    def send_more(self, data: bytes) -> None:
        """A further piece of the request's body."""
        raise NotImplementedError

    def drop(self) -> None:
        """Closes at once without a word to its call."""
        raise NotImplementedError

    def become_tunnel(self, tunnel: Tunnel) -> asyncio.Transport:
        """Gives what comes to `tunnel` from now on, and the transport with it."""
        raise NotImplementedError

    def pause(self) -> None:
        """Stops reading."""
        raise NotImplementedError

    def resume(self) -> None:
        """Reads again."""
        raise NotImplementedError


class Source:
    """Where a call gets its connection."""

    __slots__ = ()

    def acquire(self, call: "Call") -> None:
        """Now from the pool, or later."""
        raise NotImplementedError

    def connect(self, call: "Call") -> None:
        """A new one, later."""
        raise NotImplementedError


class Call:
    """Sends a request and tells its owner's story by `on_answer`, `on_piece`, `on_end` (see the subclasses).

    All durations are microseconds since its start on the monotonic clock; -1 means never.
    """

    __slots__ = (
        "answer",
        "attempts",
        "body",
        "body_bytes",
        "cap",
        "chunks",
        "connect_s",
        "connect_us",
        "connection",
        "deadline_us",
        "end_us",
        "ended",
        "ending",
        "first_byte_us",
        "held",
        "method",
        "open_ended",
        "pattern",
        "pieces",
        "request",
        "start_ns",
        "tail",
        "touched_us",
        "truncated",
        "upstream",
        "written_us",
    )

    def __init__(self, method: bytes, start_ns: int) -> None:
        self.method = method
        self.start_ns = start_ns
        self.touched_us = 0  # when something last came
        self.deadline_us = 0
        self.connect_s = 3.0
        self.request = b""
        self.open_ended = False  # the request's body is still coming: no retry
        self.pattern: Pattern = DEFAULT_PATTERN
        self.upstream: Source | None = None
        self.connection: Line | None = None
        self.attempts = 0
        self.connect_us = self.written_us = self.first_byte_us = self.end_us = -1
        self.answer: AnswerHead | None = None
        self.ending: Ending | None = None
        self.ended = False
        self.pieces = 0
        self.chunks: list[int] = []
        self.cap = 0  # bytes of the answer's body to capture
        self.held = 0
        self.truncated = False
        self.tail = b""
        self.body: list[bytes] = []
        self.body_bytes = 0

    def age_us(self) -> int:
        """Microseconds since the start."""
        return (_now_ns() - self.start_ns) // 1000

    def start(self, upstream: Source, request: bytes) -> None:
        """Takes a connection and sends `request` on it."""
        self.upstream = upstream
        self.request = request
        self.attempts = 1
        upstream.acquire(self)

    def on_connection(self, connection: Line) -> None:
        """A connection is ours."""
        self.connection = connection
        connection.send(self, self.request)
        self.connect_us = self.written_us = (_now_ns() - self.start_ns) // 1000
        if self.open_ended:
            self.on_upstream_drained()

    def on_connect_failed(self, ending: Ending) -> None:
        """No connection could be made: refused, or timed out."""
        self.connect_us = self.age_us()
        self.settle(ending)

    def on_lost(self, ending: Ending, *, untouched: bool, reused: bool) -> None:
        """The connection died. A pooled one may have been dead before we wrote: then once more, on a new one."""
        self.connection = None
        if untouched and reused and self.attempts == 1 and not self.open_ended and self.method in _IDEMPOTENT:
            self.attempts = 2
            assert self.upstream is not None
            self.upstream.connect(self)
            return
        self.settle(ending)

    def mark(self, payload: bytes) -> None:
        """Notes a piece of the answer's body and captures it up to the cap."""
        now = (_now_ns() - self.start_ns) // 1000
        self.touched_us = self.end_us = now
        if self.first_byte_us < 0:
            self.first_byte_us = now
        size = len(payload)
        if not size:
            return
        self.pieces = pieces = self.pieces + 1
        if pieces <= MARKS or not pieces % 16:
            self.chunks.append(now)
        self.body_bytes += size
        if self.cap:
            self.capture(payload, size)

    def mark_whole(self, payload: bytes) -> None:
        """The same where the answer came in one piece and none will follow."""
        self.first_byte_us = self.end_us = now = (_now_ns() - self.start_ns) // 1000
        if payload:
            self.chunks.append(now)
            self.body_bytes = size = len(payload)
            if self.cap:
                self.capture(payload, size)

    def capture(self, payload: bytes, size: int) -> None:
        """Keeps what the cap still allows, and of what is over it the end."""
        room = self.cap - self.held
        if size <= room:
            self.held += size
            self.body.append(payload)
        else:
            self.truncated = True
            if room > 0:
                self.held += room
                self.body.append(payload[:room])
                payload = payload[room:]
            self.tail = (self.tail + payload)[-TAIL:]

    def settle(self, ending: Ending) -> None:
        """The call is over, whichever way; tells the subclass once."""
        if self.ended:
            return
        self.ended = True
        self.ending = ending
        if self.end_us < 0 or ending is not _WHOLE:
            self.end_us = self.age_us()
        self.on_end(ending)

    def cancel(self) -> None:
        """Drops the upstream connection at once; no more events come."""
        self.ended = True
        connection = self.connection
        self.connection = None
        if connection is not None:
            connection.drop()

    # what a subclass tells

    def on_interim(self, head: AnswerHead) -> None:
        """A 1xx head that is not the answer."""

    def on_answer(self, head: AnswerHead, raw: bytes, payload: bytes, *, done: bool) -> None:
        """The head came, with what followed it in the same piece: as received, and without framing."""
        raise NotImplementedError

    def on_whole(self, head: AnswerHead, body: bytes) -> None:
        """The usual answer: head and body of the length it says, in one piece; `mark` was called."""
        self.on_answer(head, body, body, done=True)

    def on_piece(self, raw: bytes, payload: bytes, *, done: bool) -> None:
        """A further piece came; `mark` was called."""
        raise NotImplementedError

    def on_end(self, ending: Ending) -> None:
        """The answer ended in another way than whole, or never came."""
        raise NotImplementedError

    def on_upstream_full(self) -> None:
        """The upstream takes no more of the request for now."""

    def on_upstream_drained(self) -> None:
        """The upstream takes more of the request, for the first time or again."""
