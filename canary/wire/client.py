"""One connection to an upstream: sends one request at a time, reads its answer, goes back to its pool."""

import asyncio
from typing import cast

from canary.terms import Ending
from canary.wire.answer import AnswerReader, AnswerShape, BadAnswer, Pattern, answer_shape, parse_answer
from canary.wire.answer_head import AnswerHead
from canary.wire.call import Call, Line, Source
from canary.wire.heads import BY_LENGTH, TUNNEL
from canary.wire.lines import worth_learning
from canary.wire.tunnel import Tunnel


class Pool(Source):
    """Where a connection comes from, and goes back to."""

    __slots__ = ("stray",)

    stray: int

    def release(self, connection: "UpstreamConnection", keep_alive_s: int) -> None:
        """Takes an idle connection back."""
        raise NotImplementedError

    def forget(self, connection: "UpstreamConnection") -> None:
        """The connection closed."""
        raise NotImplementedError


class UpstreamConnection(Line):
    """Owned by its upstream's pool while idle, by a call while busy. An asyncio.Protocol in all but name."""

    __slots__ = (
        "_call",
        "_misses",
        "_pattern",
        "_paused",
        "_reader",
        "_shape",
        "_streams",
        "_tunnel",
        "_upstream",
        "idle_until",
        "sends",
        "transport",
    )

    def __init__(self, upstream: Pool) -> None:
        self._upstream = upstream
        self.transport: asyncio.Transport | None = None
        self._call: Call | None = None
        self._reader: AnswerReader | None = None
        self._tunnel: Tunnel | None = None
        self._paused = False
        self._shape: AnswerShape | None = None  # of the last answer
        self._pattern: Pattern | None = None  # the shape's
        self._misses = 0  # answers in a row that had another shape
        self._streams = False  # the last answer's length was not said
        self.sends = 0
        self.idle_until = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self.transport = cast("asyncio.Transport", transport)

    @property
    def usable(self) -> bool:
        """False once it is closing."""
        return self.transport is not None and not self.transport.is_closing()

    def send(self, call: Call, data: bytes) -> None:
        """Begins an exchange: `call` gets all that comes."""
        self._call = call
        self.sends += 1
        assert self.transport is not None
        self.transport.write(data)

    def send_more(self, data: bytes) -> None:
        """A further piece of the request's body."""
        if self.usable:
            assert self.transport is not None
            self.transport.write(data)

    def drop(self) -> None:
        """Closes at once without a word to its call."""
        self._call = None
        self._reader = None
        if self.transport is not None:
            self.transport.abort()

    def close(self) -> None:
        """Closes a connection that nobody uses; one whose upstream did not take its request is cut: it might never take it."""
        transport = self.transport
        if transport is not None:
            transport.abort() if transport.get_write_buffer_size() else transport.close()

    def pause(self) -> None:
        """Stops reading: the client is slow."""
        if not self._paused and self.usable:
            self._paused = True
            assert self.transport is not None
            self.transport.pause_reading()

    def resume(self) -> None:
        """Reads again."""
        if self._paused:
            self._paused = False
            if self.usable:
                assert self.transport is not None
                self.transport.resume_reading()

    def become_tunnel(self, tunnel: Tunnel) -> asyncio.Transport:
        """Gives what comes to `tunnel` from now on, and the transport with it."""
        self._tunnel = tunnel
        self._call = None
        assert self.transport is not None
        return self.transport

    # called by the loop

    def data_received(self, data: bytes) -> None:
        """The usual answer has a known shape and comes in one piece: passed on at once."""
        call, shape = self._call, self._shape
        if shape is None or call is None or self._reader is not None:
            self._read(data, known=False)
            return
        found = shape.match(data) if self._pattern is call.pattern and call.method != b"HEAD" else None
        if found is None:
            self._read(data, known=False)
            return
        self._misses = 0
        end = found[1]
        head = shape.head_of(found[0], data[: end - 2])
        if head.length != len(data) - end or call.open_ended or self._paused:
            self._read(data, known=True)
            return
        self._call = call.connection = None
        self._upstream.release(self, -1)
        call.answer = head
        body = data[end:]
        call.mark_whole(body)
        call.on_whole(head, body)

    def _read(self, data: bytes, *, known: bool) -> None:
        """Feed first, forward after: junk behind an answer must not leave as a success. `known`: by its shape."""
        call, reader = self._call, self._reader
        if call is None:
            self._stray(data)
            return
        try:
            if reader is None:
                reader = self._first(call, data, known=known)
                if reader is None:
                    return
            else:
                had_head = reader.head is not None
                reader.feed(data)
                if had_head:
                    self._next(call, reader)
                    return
        except BadAnswer:
            self._call = self._reader = call.connection = None
            assert self.transport is not None
            self.transport.abort()
            call.settle(Ending.MALFORMED)
            return
        self._begin(call, reader)

    def _first(self, call: Call, data: bytes, *, known: bool) -> AnswerReader | None:
        """An answer in one piece is passed on at once. Any other gets a reader."""
        to_head, end = call.method == b"HEAD", 0
        if not (known or self._streams or to_head):
            end = data.find(b"\r\n\r\n") + 4
            if end > 3:
                raw = data[:end]
                head = parse_answer(raw, to_head=to_head, pattern=call.pattern)
                self._misses += 1
                self._pattern = call.pattern
                self._shape = answer_shape(raw, head, call.pattern) if worth_learning(self._misses) else None
        if end > 3 and head.framing == BY_LENGTH and head.length == len(data) - end:
            self._call = call.connection = None
            if head.reusable and not call.open_ended and not self._paused:
                self._upstream.release(self, head.keep_alive_s)
            else:
                self._release(reusable=head.reusable and not call.open_ended, keep_alive_s=head.keep_alive_s)
            body = data[end:]
            call.answer = head
            call.mark(body)
            call.on_whole(head, body)
            return None
        self._reader = reader = AnswerReader(to_head=to_head, pattern=call.pattern)
        reader.feed(data)
        return reader

    def _begin(self, call: Call, reader: AnswerReader) -> None:
        """Something of a head came."""
        if reader.interim:
            for interim in reader.interim:
                call.on_interim(interim)
            reader.interim.clear()
        head = reader.head
        if head is None or call.ended:
            return
        done = reader.done
        self._streams = head.framing != BY_LENGTH
        if done and head.framing != TUNNEL:
            self._done(call, head)
        call.answer = head
        if reader.payload or done:
            call.mark(reader.payload)
        call.on_answer(head, reader.raw, reader.junk or reader.payload, done=done)

    def _next(self, call: Call, reader: AnswerReader) -> None:
        """A further piece of the body came."""
        done, head = reader.done, reader.head
        assert head is not None
        if done:
            self._done(call, head)
        call.mark(reader.payload)
        call.on_piece(reader.raw, reader.payload, done=done)

    def _done(self, call: Call, head: AnswerHead) -> None:
        self._call = self._reader = call.connection = None
        self._release(reusable=head.reusable and not call.open_ended, keep_alive_s=head.keep_alive_s)

    def eof_received(self) -> bool:
        """A clean end: it may be how the answer ends."""
        call, reader = self._call, self._reader
        if call is not None and reader is not None and reader.end():
            self._call = self._reader = call.connection = None
            call.mark(b"")
            call.on_piece(b"", b"", done=True)
        elif self._tunnel is not None:
            return self._tunnel.upstream_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; a call that still waits hears of it."""
        self._upstream.forget(self)
        self.transport = None
        call, reader = self._call, self._reader
        self._call = self._reader = None
        if self._tunnel is not None:
            self._tunnel.upstream_lost()
            self._tunnel = None
        if call is not None:
            ending = Ending.CUT if reader is not None and reader.head is not None else Ending.RESET
            call.on_lost(ending, untouched=reader is None, reused=self.sends > 1)

    def pause_writing(self) -> None:
        """The upstream's buffer is full."""
        if self._tunnel is not None:
            self._tunnel.upstream_full()
        elif self._call is not None:
            self._call.on_upstream_full()

    def resume_writing(self) -> None:
        """The upstream takes more again."""
        if self._tunnel is not None:
            self._tunnel.upstream_drained()
        elif self._call is not None:
            self._call.on_upstream_drained()

    def _release(self, *, reusable: bool, keep_alive_s: int) -> None:
        if self._paused:
            self.resume()
        if reusable:
            self._upstream.release(self, keep_alive_s)
        else:
            self.close()

    def _stray(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.from_upstream(data)
        elif self.transport is not None:  # bytes that nobody asked for: this connection is not to be trusted
            self._upstream.stray += 1
            self._upstream.forget(self)
            self.transport.abort()
