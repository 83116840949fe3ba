"""Chunked transfer coding, read strictly: where the body ends to the byte, and what it holds."""

import re
from typing import Final

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
_SIZE_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,15})(?:[ \t]*+;[ \t]*+" + _TOKEN + rb"(?:[ \t]*+=[ \t]*+(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?+)*+"
)
_PLAIN_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,5}")
_USUAL_BYTES: Final = 65_536
_TRAILER_LINE: Final = re.compile(_TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+")
_MAX_LINE: Final = 4_096
_MAX_OVERHEAD: Final = 16_384  # of extensions and trailers in one body: more is an attack on our time
_SIZE, _DATA, _DATA_END, _TRAILER, _DONE = range(5)


class BadFraming(Exception):
    """The bytes are not a chunked body."""


class ChunkReader:
    """Follows one chunked body through pieces cut anywhere."""

    __slots__ = ("_left", "_line", "_overhead", "_state")

    def __init__(self) -> None:
        self._state = _SIZE
        self._left = 0
        self._line = b""
        self._overhead = 0

    @property
    def done(self) -> bool:
        """True after the last byte of the trailer section."""
        return self._state == _DONE

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """The payload in `data`, and how many of its bytes belong to this body. Raises BadFraming."""
        at, size = 0, len(data)
        if self._state == _SIZE and not self._line and size < _USUAL_BYTES:  # the usual event: one chunk, whole, in one piece
            end = data.find(b"\r\n")
            match = _PLAIN_SIZE.fullmatch(data, 0, end) if end > 0 else None
            if match is not None:
                start, length = end + 2, int(match[0], 16)
                if length and start + length + 2 == size and data.endswith(b"\r\n"):
                    return data[start:-2], size
        payload: list[bytes] = []
        while at < size and self._state != _DONE:
            if self._state == _DATA:
                take = min(self._left, size - at)
                payload.append(data[at : at + take])
                self._left -= take
                at += take
                if not self._left:
                    self._state = _DATA_END
                continue
            end = data.find(b"\r\n", at) if not self._line.endswith(b"\r") else -1
            if end < 0:
                at = self._split_line(data, at)
                if at == size:
                    break
                continue
            line = self._line + data[at:end] if self._line else data[at:end]
            self._line = b""
            at = end + 2
            self._on_line(line)
        return (payload[0] if len(payload) == 1 else b"".join(payload)), at

    def _split_line(self, data: bytes, at: int) -> int:
        """A line that this piece does not end in one stretch: keeps the part, or ends the line whose CR came before."""
        if self._line.endswith(b"\r"):
            if data[at] != 0x0A:
                raise BadFraming("a carriage return without its line feed")
            line, self._line = self._line[:-1], b""
            self._on_line(line)
            return at + 1
        self._line += data[at:]
        line = self._line
        if len(line) > _MAX_LINE or b"\n" in line or b"\r" in line[:-1] or (self._state == _DATA_END and line != b"\r"):
            raise BadFraming("a chunk's line without its end")
        return len(data)

    def _on_line(self, line: bytes) -> None:
        if len(line) > _MAX_LINE:
            raise BadFraming("a chunk's line is too long")
        if self._state == _SIZE:
            match = _SIZE_LINE.fullmatch(line)
            if match is None:
                raise BadFraming("a chunk's size is not a hexadecimal number")
            self._count(len(line) - match.end(1))
            self._left = int(match[1], 16)
            self._state = _DATA if self._left else _TRAILER
        elif self._state == _DATA_END:
            if line:
                raise BadFraming("a chunk is longer than it says")
            self._state = _SIZE
        elif not line:
            self._state = _DONE
        else:
            if not _TRAILER_LINE.fullmatch(line):
                raise BadFraming("a trailer is not a header field")
            self._count(len(line))

    def _count(self, overhead: int) -> None:
        self._overhead += overhead
        if self._overhead > _MAX_OVERHEAD:
            raise BadFraming("too many chunk extensions or trailers")


def chunk(data: bytes) -> bytes:
    """One chunk around `data`, which is not empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK: Final = b"0\r\n\r\n"
