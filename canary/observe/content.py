"""An answer and its captured body as values are read from it: unpacked, decoded at most once, a document or a stream."""

import re
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, Protocol

import msgspec
import zstandard

from canary.observe.outcome import STREAM, Answered

MOST_BYTES: Final = 1_048_576  # of an unpacked body: a small one can unpack to any size
MOST_TRIED: Final = 64  # events that are decoded in search of a value, from the end
MOST_PIECES: Final = 256  # events whose text is put together: two answers that begin with as many equal ones count as equal
NOTHING: Final = object()
"""There is no document, or nothing at a pointer's end."""

_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")
_PLAIN: Final = frozenset({"", "identity"})
_decode: Final = msgspec.json.Decoder().decode


class Captured(Answered, Protocol):
    """What must have been kept of an answer for its values to be read."""

    @property
    def attempts(self) -> int: ...
    @property
    def headers(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def body_truncated(self) -> bool: ...


class Content:
    """One answer with its body; nothing is decoded before it is asked for."""

    __slots__ = ("_document", "_tried", "gone", "is_stream", "raw", "side", "tail")

    def __init__(self, side: Captured) -> None:
        self.side = side
        coding, kind = _field(side, "content-encoding"), _field(side, "content-type")
        self.is_stream = kind.startswith(STREAM)
        self.gone = side.body_truncated or (not side.body and side.response_bytes > 0)  # a part that nobody has any more
        self.raw, self.tail = side.body, side.tail
        if self.tail and len(self.raw) + len(self.tail) == side.response_bytes:  # the end begins where the rest was cut
            self.raw, self.tail, self.gone = self.raw + self.tail, b"", False
        if coding not in _PLAIN:
            unpacked = _unpacked(self.raw, coding) if self.raw else b""
            self.gone = self.gone or unpacked is None or len(unpacked) >= MOST_BYTES
            self.raw, self.tail = unpacked or b"", b""
        self._document: Any = None
        self._tried: dict[bytes, Any] = {}

    def document(self) -> Any:
        """The whole body as JSON; NOTHING where it is none, or not all here."""
        if self._document is None:
            self._document = NOTHING if self.gone else decoded(self.raw)
        return self._document

    def last(self, path: tuple[str, ...]) -> Any:
        """What stands at the pointer in the last event that has it, null passed over; NOTHING where none of the last has."""
        hint, tried = _hint(path), 0
        for part in (self.tail, self.raw):  # the first event of the end may be cut, which makes it no JSON
            for event in _backwards(part):
                if hint not in event:
                    continue
                document = self._tried.get(event)
                if document is None:
                    document = self._tried[event] = decoded(event)
                found = at(document, path)
                if found is not NOTHING and found is not None:
                    return found
                tried += 1
                if tried >= MOST_TRIED:
                    return NOTHING
        return NOTHING

    def text(self, paths: tuple[tuple[str, ...], ...]) -> str:
        """The pieces of text of a stream put together: of each event the first of the pointers that leads to some."""
        pieces: list[str] = []
        tried, usual = 0, paths[0]
        hint = _hint(usual)
        for event in _events(_lines(self.raw)):
            if hint and hint not in event and pieces:
                continue  # once it is known where the text stands, only that is looked at
            tried += 1
            if tried > MOST_PIECES:
                break
            document = decoded(event)
            piece = at(document, usual)
            if not isinstance(piece, str) and not pieces:
                usual = next((path for path in paths if isinstance(at(document, path), str)), usual)
                hint, piece = _hint(usual), at(document, usual)
            if isinstance(piece, str):
                pieces.append(piece)
        return "".join(pieces)


def _lines(body: bytes) -> bytes:
    """With one kind of line end, and without a byte order mark."""
    if b"\r" in body:
        body = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return body.removeprefix(b"\xef\xbb\xbf")


def _events(body: bytes) -> Iterator[bytes]:
    """The data of each server-sent event; a last one that is cut is one too."""
    for block in body.split(b"\n\n"):
        yield _data(block)


def _backwards(body: bytes) -> Iterator[bytes]:
    """The same from the end."""
    body = _lines(body)
    end = len(body)
    while end > 0:
        start = body.rfind(b"\n\n", 0, end)
        yield _data(body[start + 2 if start >= 0 else 0 : end])
        end = start


def _data(block: bytes) -> bytes:
    if block.startswith(b"data:") and b"\n" not in block:
        return block[5:]
    return b"\n".join([line[5:] for line in block.split(b"\n") if line.startswith(b"data:")])


def decoded(text: bytes) -> Any:
    """The JSON document; NOTHING where the text is none."""
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NOTHING


def at(document: Any, path: tuple[str, ...]) -> Any:
    """What stands at a pointer's end; NOTHING where nothing does."""
    here = document
    for name, index in _steps(path):
        kind = type(here)
        if kind is dict:
            here = here.get(name, NOTHING)
        elif kind is list:
            here = here[index] if 0 <= index < len(here) else NOTHING
        else:
            return NOTHING
    return here


@lru_cache(maxsize=1_024)
def _steps(path: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """Each name with the number that it is in a list; -1 where it is none."""
    return tuple((name, int(name) if _INDEX.fullmatch(name) else -1) for name in path)


def _hint(path: tuple[str, ...]) -> bytes:
    """A key that an event must hold to be worth decoding; empty where one may be written in several ways."""
    named = [name for name in path if not name.isdigit()]
    word = named[-1] if named else ""
    return word.encode() if word.isascii() and word.replace("_", "").isalnum() else b""


def _field(side: Captured, name: str) -> str:
    return next((value.strip().lower() for known, value in side.headers if known == name), "")


def _unpacked(body: bytes, coding: str) -> bytes | None:
    """What a compressed body holds, as far as it is here; None where the coding is not known or the bytes are not of it."""
    try:
        if coding in {"gzip", "x-gzip", "deflate"}:
            return zlib.decompressobj(wbits=47 if coding != "deflate" else _deflate_bits(body)).decompress(body, MOST_BYTES)
        if coding == "zstd":
            with zstandard.ZstdDecompressor().stream_reader(body) as reader:
                return reader.read(MOST_BYTES)
    except (zlib.error, zstandard.ZstdError):
        return None
    return None


def _deflate_bits(body: bytes) -> int:
    """With its header or, as some servers send it, without."""
    wrapped = len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    return zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS
