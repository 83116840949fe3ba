"""Real upstream servers on raw sockets whose every byte a test scripts; what arrived is kept as it came."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from tests.support.deadline import wait_for

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Received:
    """One request as it arrived."""

    head: bytes
    body: bytes = b""
    raw_body: bytes = b""

    @property
    def line(self) -> bytes:
        """The request line."""
        return self.head.partition(b"\r\n")[0]

    def values(self, name: bytes) -> list[bytes]:
        """All values of a field, in order."""
        lines = self.head.split(b"\r\n")[1:]
        pairs = [line.partition(b":") for line in lines]
        return [value.strip() for key, _, value in pairs if key.lower() == name.lower()]


class Link:
    """One accepted connection, in the hands of a script."""

    def __init__(self, raw: socket.socket, upstream: "Upstream") -> None:
        self.raw = raw
        self._upstream = upstream
        self._buffer = b""

    def _more(self) -> bool:
        try:
            data = self.raw.recv(65536)
        except OSError:
            return False
        self._buffer += data
        return bool(data)

    def _until(self, mark: bytes) -> bytes | None:
        while mark not in self._buffer:
            if not self._more():
                return None
        found, _, self._buffer = self._buffer.partition(mark)
        return found + mark

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not self._more():
                break
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def head(self) -> Received | None:
        """Reads a head only; None at the connection's end."""
        head = self._until(b"\r\n\r\n")
        if head is None:
            return None
        received = Received(head)
        self._upstream.received.append(received)
        return received

    def request(self) -> Received | None:
        """Reads a whole request; None at the connection's end."""
        received = self.head()
        if received is None:
            return None
        length, coding = received.values(b"content-length"), received.values(b"transfer-encoding")
        if coding:
            while True:
                line = self._until(b"\r\n") or b"0\r\n"
                chunk = self._exactly(int(line, 16) + 2)
                received.raw_body += line + chunk
                if len(chunk) <= 2:
                    break
                received.body += chunk[:-2]
        elif length:
            received.body = received.raw_body = self._exactly(int(length[0]))
        received_at = self._upstream.whole
        received_at.append(received)
        return received

    def send(self, *pieces: bytes) -> None:
        """Sends pieces, each with its own call."""
        for piece in pieces:
            self.raw.sendall(piece)

    def reset(self) -> None:
        """Ends with RST."""
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.raw.close()

    def wait_closed(self) -> None:
        """Until the other side closes; notes that it did."""
        while self._more():
            pass
        self._upstream.closed_by_peer.set()


Script = Callable[[Link], None]


def answering(*answer: bytes) -> Script:
    """Answers each request on a connection with the same bytes."""

    def script(link: Link) -> None:
        while link.request() is not None:
            link.send(*answer)

    return script


def answering_once(*answer: bytes) -> Script:
    """Answers one request, then closes."""

    def script(link: Link) -> None:
        if link.request() is not None:
            link.send(*answer)

    return script


@dataclass
class Upstream:
    """Runs a script for each connection, in a thread of its own."""

    script: Script
    tls: ssl.SSLContext | None = None
    port: int = 0
    received: list[Received] = field(default_factory=list)
    whole: list[Received] = field(default_factory=list)
    connections: int = 0
    closed_by_peer: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._listening = socket.socket()
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listening.bind(("127.0.0.1", self.port))
        self._listening.listen(512)
        self.port = self._listening.getsockname()[1]
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._listening.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listening.close()
        for raw in self._open:
            try:
                raw.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            raw.close()
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(raw)
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls is not None:
                raw = self.tls.wrap_socket(raw, server_side=True)
            self.script(Link(raw, self))
        except OSError:
            pass
        finally:
            try:
                raw.close()
            except OSError:
                pass

    def saw(self, count: int) -> list[Received]:
        """Waits until that many whole requests arrived."""
        wait_for(lambda: len(self.whole) >= count, what=f"{count} requests at the upstream")
        return self.whole


def a_closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
