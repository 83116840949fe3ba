"""A raw client: sends the bytes it is given, reads answers by their framing, tells a reset from a clean end."""

import socket
from dataclasses import dataclass, field
from typing import Self


class Cut(AssertionError):
    """The answer ended before its end; `so_far` came."""

    def __init__(self, so_far: bytes) -> None:
        super().__init__(f"the answer was cut after {len(so_far)} bytes")
        self.so_far = so_far


@dataclass
class Answer:
    """A whole answer."""

    head: bytes
    body: bytes = b""
    interim: list[bytes] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.head[9:12])

    def values(self, name: str) -> list[str]:
        """All values of a field."""
        pairs = [line.partition(b":") for line in self.head.split(b"\r\n")[1:]]
        return [value.strip().decode("latin-1") for key, _, value in pairs if key.lower() == name.lower().encode()]

    def value(self, name: str) -> str:
        """The only value of a field; empty where there is none."""
        found = self.values(name)
        assert len(found) <= 1, found
        return found[0] if found else ""


class Client:
    """One connection."""

    def __init__(self, port: int, timeout_s: float = 15.0) -> None:
        self.raw = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.close()

    def send(self, *pieces: bytes) -> Self:
        """Sends pieces, each with its own call."""
        for piece in pieces:
            self.raw.sendall(piece)
        return self

    def _more(self, so_far: bytes = b"") -> None:
        try:
            data = self.raw.recv(65536)
        except ConnectionError as error:
            raise Cut(so_far + self._buffer) from error
        if not data:
            raise Cut(so_far + self._buffer)
        self._buffer += data

    def until(self, mark: bytes) -> bytes:
        """Reads up to and with `mark`."""
        while mark not in self._buffer:
            self._more()
        found, _, self._buffer = self._buffer.partition(mark)
        return found + mark

    def exactly(self, size: int) -> bytes:
        """Reads that many bytes."""
        while len(self._buffer) < size:
            self._more()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def rest(self) -> bytes:
        """Reads to a clean end; raises Cut at a reset."""
        while True:
            try:
                data = self.raw.recv(65536)
            except ConnectionError as error:
                raise Cut(self._buffer) from error
            if not data:
                found, self._buffer = self._buffer, b""
                return found
            self._buffer += data

    def answer(self, *, to_head: bool = False) -> Answer:
        """Reads one whole answer; raises Cut."""
        interim: list[bytes] = []
        answer = Answer(self.until(b"\r\n\r\n"))
        while answer.status < 200 and answer.status != 101:
            interim.append(answer.head)
            answer = Answer(self.until(b"\r\n\r\n"))
        answer.interim = interim
        if to_head or answer.status in (101, 204, 304):
            return answer
        if "chunked" in answer.values("transfer-encoding"):
            while True:
                size = int(self.until(b"\r\n").split(b";")[0], 16)
                if not size:
                    while self.until(b"\r\n") != b"\r\n":
                        pass
                    return answer
                answer.body += self.exactly(size)
                assert self.exactly(2) == b"\r\n"
        length = answer.value("content-length")
        answer.body = self.exactly(int(length)) if length else self.rest()
        return answer

    def ask(self, method: str, target: str = "/", *, body: bytes = b"", headers: str = "") -> Answer:
        """Sends a plain request and reads its answer."""
        length = f"content-length: {len(body)}\r\n" if body else ""
        head = f"{method} {target} HTTP/1.1\r\nhost: test\r\n{length}{headers}\r\n"
        self.send(head.encode("latin-1") + body)
        return self.answer(to_head=method == "HEAD")


def ask(port: int, method: str = "GET", target: str = "/", *, body: bytes = b"", headers: str = "") -> Answer:
    """One request on a connection of its own."""
    with Client(port) as client:
        return client.ask(method, target, body=body, headers=headers)
