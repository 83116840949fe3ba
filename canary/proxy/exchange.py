"""The story of one request: one call upstream, the answer to the client as it comes, one live frame before its last byte."""

from typing import Final

from canary.proxy.record import Recorded
from canary.proxy.route import Route
from canary.proxy.shadow import Copy, PairBook
from canary.store.frames import Live
from canary.telemetry.guard import guarded
from canary.terms import Arm, Ending
from canary.wire.answer_head import AnswerHead
from canary.wire.framing import LAST_CHUNK, chunk
from canary.wire.heads import BY_LENGTH, NO_BODY, TUNNEL, UNTIL_CLOSE, RequestHead
from canary.wire.problem import problem
from canary.wire.serving import Client
from canary.wire.tunnel import Tunnel

_STATUS: Final = {Ending.TIMEOUT: 504}
_WHOLE: Final = Ending.WHOLE
_STABLE: Final = Arm.STABLE
_RECORDING: Final = guarded("record an exchange")
_SAYS: Final = {
    Ending.REFUSED: "no connection to the upstream could be made",
    Ending.RESET: "the upstream closed the connection without an answer",
    Ending.TIMEOUT: "the upstream did not answer in time",
    Ending.MALFORMED: "the upstream's answer is not valid HTTP",
}


class Desk(PairBook):
    """Where an exchange's end goes: the journal first, then the client."""

    __slots__ = ()

    def write_down(self, frame: Live) -> None:
        """Takes the live frame; it is written before any `hand_over` that follows."""
        raise NotImplementedError

    def hand_over(self, client: Client, data: bytes, keep: bool) -> None:
        """The answer's last bytes: they go at the end of this turn, behind the frame."""
        raise NotImplementedError


class Exchange(Recorded):
    """Joins a client's connection and the call to the upstream; both let go of it when it ends."""

    __slots__ = (
        "_chunked",
        "_desk",
        "_keep",
        "_rechunk",
        "_stuck",
        "answered",
        "client",
        "copy",
        "extra",
    )

    def __init__(self, client: Client, route: Route, head: RequestHead, body: bytes, start_ns: int, desk: Desk) -> None:
        Recorded.__init__(self, route, head, body, start_ns)
        self.deadline_us = route.answer_us
        self.connect_s = route.connect_s
        self.pattern = route.pattern
        self.cap = route.body_cap if route.keeps_bodies else 0
        self.client: Client | None = client
        self.extra = b""
        self.copy: Copy | None = None
        self.answered = False
        self._desk = desk
        self._keep = True
        self._chunked = False  # the streamed request goes out in chunks of ours
        self._rechunk = 0  # 1: the answer is put into chunks; 2: it is taken out of them
        self._stuck = False  # we read no more because the client is slow

    def run(self, body: bytes) -> None:
        """Sends a whole request."""
        head, target = self.head, self.target
        client = self.client
        assert client is not None
        if target.rewrites_body:
            body = target.body(body)
        data = target.request_head(head, (client.peer, len(body), False))
        self.start(target.upstream, data + body if body else data)

    def stream(self, prefix: bytes) -> None:
        """Sends a request whose body is still coming; not retried, not mirrored."""
        head, target, client = self.head, self.target, self.client
        assert client is not None
        self.open_ended = True
        self._chunked = head.chunked
        data = target.request_head(head, (client.peer, head.length, False))
        if prefix:
            data += chunk(prefix) if self._chunked else prefix
        client.pause()  # until there is a connection to write to
        self.start(target.upstream, data)

    # from the client's connection

    def request_piece(self, data: bytes, *, last: bool) -> None:
        """More of the body of a streamed request."""
        self.request_bytes += len(data)
        self.touched_us = self.age_us()
        if self._chunked:
            data = _chunked(data, last=last)
        if last:
            self.open_ended = False
        if self.connection is not None:
            self.connection.send_more(data)
        elif not self.ended:
            self.request += data

    def request_broken(self) -> None:
        """The client broke its request: the upstream is left, the client refused or cut by its connection."""
        if self.ended:
            return
        self.client = None
        self.cancel()
        self._close(Ending.REJECTED, None)

    def client_left(self) -> None:
        """Money is being spent: the upstream is left at once. A copy goes on."""
        self.client = None
        if self.ended:
            return
        self.cancel()
        self._close(Ending.CLIENT_LEFT, None)

    def client_full(self) -> None:
        """Reads no more from the upstream."""
        self._stuck = True
        if self.connection is not None:
            self.connection.pause()

    def client_drained(self) -> None:
        """Reads on."""
        self._stuck = False
        self.touched_us = self.age_us()
        if self.connection is not None:
            self.connection.resume()

    def check(self, now: float) -> None:
        """Ends what is over its deadline, or silent for too long."""
        age_us = self.age_us()
        silent = self.first_byte_us >= 0 and not self._stuck and age_us - self.touched_us > self.route.idle_us
        if (silent or age_us > self.deadline_us) and not self.ended:
            connection, self.connection = self.connection, None
            if connection is not None:
                connection.drop()
            self.settle(Ending.TIMEOUT)

    # from the upstream's connection

    def on_upstream_full(self) -> None:
        """Backpressure towards the client."""
        if self.open_ended and self.client is not None:
            self.client.pause()

    def on_upstream_drained(self) -> None:
        """A streamed request goes on as fast as the upstream takes it."""
        if self.client is not None:
            self.client.resume()

    def on_interim(self, head: AnswerHead) -> None:
        """Early hints go on to clients that know them; 100 was answered by us."""
        if head.status != 100 and self.client is not None and not self.head.http10:
            self.client.write(head.lines + b"\r\n")

    def on_answer(self, head: AnswerHead, raw: bytes, payload: bytes, *, done: bool) -> None:
        """The head goes out at once, with what came behind it."""
        client = self.client
        if client is None:
            return
        if head.framing == TUNNEL:
            self._on_switch(head, client, payload)
            return
        keep = client.may_persist
        framing = head.framing
        http10 = self.head.http10
        tail = b"\r\n"
        if framing != BY_LENGTH and framing != NO_BODY:
            if not http10:
                tail = b"transfer-encoding: chunked\r\n\r\n"
                self._rechunk = 1 if framing == UNTIL_CLOSE else 0
            else:
                keep = False
                self._rechunk = 0 if framing == UNTIL_CLOSE else 2
        if not keep:
            tail = b"connection: close\r\n" + tail
        elif http10:
            tail = b"connection: keep-alive\r\n" + tail
        self._keep = keep
        if self._rechunk:
            raw = payload if self._rechunk == 2 else _chunked(payload, last=done)
        self.answered = True
        data = b"%b%b%b%b" % (head.lines, self.extra, tail, raw)
        if done:
            self._end_whole(client, data)
        else:
            client.write(data)

    def on_whole(self, head: AnswerHead, body: bytes) -> None:
        """The usual answer, whole and with its length: out at once, as it came."""
        client = self.client
        if client is None:
            return
        keep = self._keep = client.may_persist
        self.answered = self.ended = True
        self.client = None
        if keep and not self.head.http10:
            data = b"%b%b\r\n%b" % (head.lines, self.extra, body)
        else:
            word = b"keep-alive" if keep else b"close"
            data = b"%b%bconnection: %b\r\n\r\n%b" % (head.lines, self.extra, word, body)
        self._close(_WHOLE, None)
        self._desk.hand_over(client, data, keep)

    def on_piece(self, raw: bytes, payload: bytes, *, done: bool) -> None:
        """Goes out in the loop's turn in which it came."""
        client = self.client
        if client is None:
            return
        if self._rechunk == 1:
            raw = _chunked(payload, last=done)
        elif self._rechunk == 2:
            raw = payload
        if done:
            self._end_whole(client, raw)
        elif raw:
            client.write(raw)

    def on_end(self, ending: Ending) -> None:
        """Not whole: a problem where nothing went out yet, else the client's transfer is cut, never ended cleanly."""
        client, self.client = self.client, None
        if client is None:
            return
        keep = client.may_persist and not self.answered
        own = _STATUS.get(ending, 502) if not self.answered else 0
        self._close(ending, None if self.answered else own)
        if self.answered:
            client.story = None
            client.abort()
            return
        to_head = self.method == b"HEAD"
        detail = _SAYS.get(ending, "the upstream failed")
        answer = problem(own, detail, exchange_id=self.exchange_id, keep_alive=keep, to_head=to_head)
        self._desk.hand_over(client, answer, keep)

    # endings

    def _end_whole(self, client: Client, data: bytes) -> None:
        self.ended = True
        self.client = None
        self._close(_WHOLE, None)
        self._desk.hand_over(client, data, self._keep)

    def _on_switch(self, head: AnswerHead, client: Client, first: bytes) -> None:
        """101: a blind tunnel where one was asked for, otherwise no answer we know."""
        connection, self.connection = self.connection, None
        if connection is None or not self.head.upgrade:
            if connection is not None:
                connection.drop()
            self.settle(Ending.MALFORMED)
            return
        self.ended = self.answered = True
        self.client = None
        self.mark(b"")
        self._close(_WHOLE, None)
        tunnel = Tunnel(client, connection, idle_s=self.route.idle_us / 1e6, now=-1.0)
        upgrade = b"connection: upgrade\r\nupgrade: %b\r\n" % self.head.upgrade
        client.write(b"%b%b%b\r\n%b" % (head.lines, self.extra, upgrade, first))
        client.become_tunnel(tunnel)

    def _close(self, ending: Ending, own_status: int | None) -> None:
        """The live frame, on its way before the client's last bytes; the copy hears of it."""
        self.ending = ending
        if ending is not _WHOLE:
            self.ended = True
            self.end_us = self.age_us()
        try:
            self._write_down(own_status)
        except Exception:
            if self.copy is not None:
                self.copy.live_failed()
            with _RECORDING:
                raise
        self.body.clear()
        self.copy = None

    def _write_down(self, own_status: int | None) -> None:
        copy = self.copy
        frame, full = self.frames()
        self._desk.write_down(frame)
        if copy is not None:
            copy.live_ended(full, self.held)
        answer = self.answer
        status = own_status or (answer.status if answer is not None else 0)
        self.route.cells.exchange(0 if self.assignment.arm is _STABLE else 1, status, self.end_us)


def _chunked(payload: bytes, *, last: bool) -> bytes:
    """The payload in a chunk of ours, and the end where it is the last."""
    return (chunk(payload) if payload else b"") + (LAST_CHUNK if last else b"")
