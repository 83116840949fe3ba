"""A client's connection: reads its requests one after the other, keeps limits and deadlines, writes answers."""

import asyncio
import socket
import struct
from typing import Final, cast

from canary.split.spec import Limits
from canary.wire.body import RequestBody, TooLarge
from canary.wire.framing import BadFraming
from canary.wire.head import BadRequest
from canary.wire.heads import RequestHead
from canary.wire.lines import worth_learning
from canary.wire.plain import RequestShape, read_plain, shape_of
from canary.wire.problem import problem
from canary.wire.serving import Client, Server, Story
from canary.wire.tunnel import Tunnel

_RESET: Final = struct.pack("ii", 1, 0)  # linger on, 0 s: close sends RST, which no reader takes for a clean end
_AHEAD_BYTES: Final = 65_536  # of pipelined requests read before their turn
_LINGER_S: Final = 2.0
_DRAIN_IDLE_S: Final = 1.0
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

IDLE, BODY, STREAM, BUSY, LINGER, TUNNEL, CLOSED = range(7)


class ClientConnection(Client):
    """Reads, in turn, head, body, and while the answer is under way nothing but the client's leaving."""

    __slots__ = (
        "_body",
        "_head",
        "_misses",
        "_paused",
        "_rest",
        "_server",
        "_shape",
        "_since",
        "_state",
        "_transport",
        "_tunnel",
    )

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._state = IDLE
        self._rest = b""  # bytes read before their turn
        self._since = 0.0  # coarse: when the present wait began
        self._paused = False
        self._head: RequestHead | None = None
        self._shape: RequestShape | None = None  # of the last head
        self._misses = 0  # heads in a row that had another shape
        self._body: RequestBody | None = None
        self._tunnel: Tunnel | None = None
        self.story: Story | None = None
        self.peer = b""

    # called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuses with 503 where there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        server = self._server
        self._shape = server.shape
        server.accepted += 1
        server.connections.add(self)
        self._since = -server.ticker.now  # negative: nothing was asked on it yet
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]).encode("latin-1") if isinstance(peer, tuple) else b"unknown"
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(server.connections) > server.limits.connections:
            self.refuse(503, "too many connections")

    def data_received(self, data: bytes) -> None:
        """Whatever the state says comes next."""
        state, server, shape = self._state, self._server, self._shape
        server.bytes_in += len(data)
        if state == IDLE and shape is not None and not self._rest and (found := shape.match(data)) is not None:
            self._misses = 0
            head, rest = shape.head_of(found[0]), data[found[1] :]
            if head.length == len(rest) <= server.limits.buffered_body_bytes:  # the usual request is whole
                self._head, self._state = head, BUSY
                server.application.begin(self, head, rest, whole=True)
            else:
                self._on_head(head, rest, server.limits, fresh=False)
        elif state == IDLE:
            self._on_head_bytes(self._rest + data if self._rest else data)
        elif state == BUSY:
            self._rest += data
            if len(self._rest) > _AHEAD_BYTES:
                self.pause()
        elif state == TUNNEL:
            assert self._tunnel is not None
            self._tunnel.from_client(data)
        elif state in (BODY, STREAM):
            self._on_body_bytes(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self.lose()

    def lose(self) -> None:
        """Lets go of everything, whoever was first to know."""
        self._server.connections.discard(self)
        self._state = CLOSED
        self._transport = None
        self._head = self._shape = None
        story, tunnel, self.story, self._tunnel = self.story, self._tunnel, None, None
        if tunnel is not None:
            tunnel.client_lost()
        if story is not None:
            story.client_left()

    def pause_writing(self) -> None:
        """Our buffer towards the client is full."""
        if self._tunnel is not None:
            self._tunnel.client_full()
        elif self.story is not None:
            self.story.client_full()

    def resume_writing(self) -> None:
        """It is no longer."""
        if self._tunnel is not None:
            self._tunnel.client_drained()
        elif self.story is not None:
            self.story.client_drained()

    # called by the exchange

    @property
    def is_open(self) -> bool:
        """False once the client is gone or the connection closes."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def complete(self) -> bool:
        """True where the request was read to its end."""
        return self._state == BUSY

    @property
    def may_persist(self) -> bool:
        """Whether another request may follow on this connection."""
        head = self._head
        return self._state == BUSY and self._server.draining_since is None and head is not None and head.keep_alive

    def write(self, data: bytes) -> None:
        """A part of the answer."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self._server.bytes_out += len(data)
            transport.write(data)

    def answer(self, data: bytes, keep: bool) -> None:
        """The answer, or its last part; then the next request's turn, or the end."""
        transport = self._transport
        if keep and transport is not None and not self._rest and not self._paused and not transport.is_closing():
            self.story = self._head = None
            self._server.bytes_out += len(data)
            transport.write(data)
            self._state = IDLE
            self._since = self._server.ticker.now
            return
        self.write(data)
        self.finish(keep=keep)

    def finish(self, *, keep: bool) -> None:
        """The answer is out; the next request's turn, or the end."""
        self.story = self._head = None
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if not keep:
            self._close_gently()
            return
        self._state = IDLE
        self._since = self._server.ticker.now
        self.resume()
        if self._rest:  # pipelined: its turn comes with the next turn of the loop
            asyncio.get_running_loop().call_soon(self._on_rest)

    def abort(self) -> None:
        """Resets the connection: what was sent so far is not a whole answer."""
        transport = self._transport
        if transport is not None:
            raw = transport.get_extra_info("socket")
            if raw is not None and raw.family != socket.AF_UNIX:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()

    def pause(self) -> None:
        """Reads no more for now."""
        if not self._paused and self.is_open:
            self._paused = True
            assert self._transport is not None
            self._transport.pause_reading()

    def resume(self) -> None:
        """Reads again."""
        if self._paused:
            self._paused = False
            if self.is_open:
                assert self._transport is not None
                self._transport.resume_reading()

    def refuse(self, status: int, detail: str, exchange_id: bytes = b"") -> None:
        """Answers with a problem and closes: what follows on this connection cannot be trusted."""
        server = self._server
        if not exchange_id:
            exchange_id = server.application.new_id()
            server.application.refused(status)
        to_head = self._head is not None and self._head.method == b"HEAD"
        self.write(problem(status, detail, exchange_id=exchange_id, keep_alive=False, to_head=to_head))
        self.finish(keep=False)

    def become_tunnel(self, tunnel: Tunnel) -> None:
        """After a 101: what was read ahead goes first."""
        self.story, self._tunnel, self._state = None, tunnel, TUNNEL
        rest, self._rest = self._rest, b""
        self.resume()
        if rest:
            tunnel.from_client(rest)

    def tunnel_write(self, data: bytes) -> None:
        """From the upstream to the client."""
        self.write(data)

    def tunnel_close(self) -> None:
        """The upstream went."""
        self._tunnel, self._since = None, self._server.ticker.now
        if self._transport is not None:
            self._transport.close()

    # deadlines

    def check(self, now: float) -> None:
        """Called by the ticker."""
        state, limits, transport = self._state, self._server.limits, self._transport
        if transport is not None and transport.is_closing():  # what is left goes out, or its client takes no more of it
            if now - abs(self._since) > 2 * limits.keep_alive_s:
                transport.abort()
        elif state == IDLE:
            self._check_idle(now, limits)
        elif state in (BODY, STREAM):
            if not self._paused and self._body is not None and self._body.owes(now, limits.body_idle_s):
                self._break_request(408, "the request's body did not come in time")
            elif self.story is not None:
                self.story.check(now)
        elif state == BUSY and self.story is not None:
            self.story.check(now)
        elif state == TUNNEL and self._tunnel is not None:
            if not self._tunnel.touch(now):
                self.tunnel_close()
        elif state == LINGER and now - self._since > _LINGER_S and self._transport is not None:
            self._transport.abort()

    def _check_idle(self, now: float, limits: Limits) -> None:
        waited = now - abs(self._since)
        if self._rest:
            if waited > limits.head_s:
                self.refuse(408, "the request's head did not come in time")
            return
        allowed = limits.head_s if self._since < 0 else limits.keep_alive_s
        if self._server.draining_since is not None:
            allowed = _DRAIN_IDLE_S
        if waited > allowed and self._transport is not None:
            self._transport.close()

    # reading

    def _on_rest(self) -> None:
        if self._state == IDLE and self._rest and self.is_open:
            self._on_head_bytes(self._rest)

    def _on_head_bytes(self, data: bytes) -> None:
        server = self._server
        limits = server.limits
        if data.startswith(b"\r\n"):  # one empty line before a request is forgiven (RFC 9112, 2.2)
            data = data[2:]
        end = data.find(b"\r\n\r\n")
        if end < 0 or end > limits.head_bytes:
            self._on_partial(data, limits)
            return
        raw = data[: end + 4]
        plain = read_plain(raw, limits.headers)
        try:
            head = plain or server.parser.parse(raw, limits.headers)
        except BadRequest as error:
            self.refuse(error.status, error.detail)
            return
        self._misses += 1
        self._shape = None
        if worth_learning(self._misses):
            self._shape = server.shape = shape_of(raw, head, plain=plain is not None)
        self._on_head(head, data[end + 4 :], limits, fresh=plain is None)

    def _on_head(self, head: RequestHead, rest: bytes, limits: Limits, *, fresh: bool) -> None:
        """A head came, with what followed it; `fresh`: the parser waits for its body."""
        server = self._server
        self._head = head
        whole = head.length == len(rest) <= limits.buffered_body_bytes
        if fresh and head.length:
            server.parser.pass_body(rest if whole else b"")
        if whole or not head.length:
            self._rest, self._state = b"" if whole else rest, BUSY
            server.application.begin(self, head, rest if whole else b"", whole=True)
        else:
            self._begin_body(head, rest, limits)

    def _on_partial(self, data: bytes, limits: Limits) -> None:
        """The head is not complete: it may be too large, or hopeless already."""
        if len(data) > limits.head_bytes:
            self.refuse(431, f"the request's head is larger than {limits.head_bytes} bytes")
            return
        line = data.find(b"\n")
        if data and not (65 <= data[0] <= 90 or data[:1] == b"\r"):
            self.refuse(400, "not an HTTP request")
        elif line >= 0 and not (line > 8 and data[line - 1] == 0x0D and data.startswith(b"HTTP/1.", line - 9)):
            try:  # the parser says best what is wrong with a first line
                self._server.parser.parse(data[: line + 1].rstrip(b"\r\n") + b"\r\n\r\n", limits.headers)
            except BadRequest as error:
                self.refuse(error.status if error.status != 431 else 400, error.detail)
            else:
                self.refuse(400, "the request line does not end in CRLF")
        else:
            if not self._rest:
                self._since = self._server.ticker.now
            self._rest = data

    def _begin_body(self, head: RequestHead, rest: bytes, limits: Limits) -> None:
        self._rest = b""
        try:
            self._body = RequestBody(head.length, limit=limits.body_bytes, now=self._server.ticker.now)
        except TooLarge:
            self._state = BUSY
            self.refuse(413, f"the request's body is larger than {limits.body_bytes} bytes")
            return
        if head.expects and not rest:
            self.write(_CONTINUE)
        if head.length > limits.buffered_body_bytes:
            self._state = STREAM
            self._server.application.begin(self, head, b"", whole=False)
        else:
            self._state = BODY
        if rest:
            self._on_body_bytes(rest)

    def _on_body_bytes(self, data: bytes) -> None:
        """A piece of a body; what follows its end waits for its turn."""
        body, head, limits = self._body, self._head, self._server.limits
        if body is None or head is None:
            return
        try:
            piece, self._rest, last = body.feed(data)
        except BadFraming as error:
            self._break_request(400, str(error))
            return
        except TooLarge:
            self._break_request(413, f"the request's body is larger than {limits.body_bytes} bytes")
            return
        if self._state == STREAM:
            if last:
                self._state = BUSY
            if self.story is not None:
                self.story.request_piece(piece, last=last)
            return
        body.pieces.append(piece)
        if last or body.size > limits.buffered_body_bytes:
            self._state = BUSY if last else STREAM
            self._server.application.begin(self, head, body.take(), whole=last)

    def _break_request(self, status: int, detail: str) -> None:
        """The body cannot be completed: refuse where nothing was answered yet, else cut."""
        story, self.story = self.story, None
        self._state = BUSY
        if story is not None:
            story.request_broken()
        if story is not None and story.answered:
            self.abort()
        else:
            self.refuse(status, detail)

    def _close_gently(self) -> None:
        """Says the end, then reads and throws away for a moment: closing with unread bytes would reset what we sent."""
        transport = self._transport
        assert transport is not None
        self._since = self._server.ticker.now
        if self._state == BUSY and not self._rest:
            transport.close()
            return
        self._state = LINGER
        self._rest = b""
        self.resume()
        if transport.can_write_eof():
            transport.write_eof()
