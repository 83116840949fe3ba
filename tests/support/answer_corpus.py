"""Odd answers of an upstream, made systematically: those that must not be passed on as a success, and those that must."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from tests.support.request_corpus import EXTENSIONS_BAD, EXTENSIONS_GOOD, HEX, TEXT, TOKEN

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ENDS = (b"\n", b"\r", b"\n\r", b"\r\r\n", b"\x00\r\n")


class Answer(NamedTuple):
    """What an upstream says before it closes."""

    name: str
    head: bytes  # up to and with its empty line, where there is one
    rest: bytes = b""
    good: bool = False
    in_head: bool = True  # what is wrong is wrong in the head: never more than a 502


def _head(line: bytes = OK, fields: bytes = b"Content-Length: 2\r\n") -> bytes:
    return line + fields + b"\r\n"


def first_lines() -> Iterator[Answer]:
    """Versions, statuses and reasons."""
    for version in (
        b"HTTP/0.9",
        b"HTTP/1.2",
        b"HTTP/2.0",
        b"HTTP/3",
        b"http/1.1",
        b"HTTP/1",
        b"HTTP/01.1",
        b"HTTP/1.10",
        b"ICY",
        b"RTSP/1.0",
        b"",
    ):
        yield Answer(f"version {version!r}", _head(version + b" 200 OK\r\n"), b"ok")
    for status in (
        b"",
        b"2",
        b"20",
        b"2000",
        b"20x",
        b"+200",
        b"-200",
        b"0200",
        b" 200",
        b"000",
        b"099",
        b"600",
        b"999",
        b"\xb2\xb0\xb0",
        b"2 0",
    ):
        yield Answer(f"status {status!r}", _head(b"HTTP/1.1 " + status + b" OK\r\n"), b"ok")
    for line in (
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1\t200 OK",
        b"HTTP/1.1 200\tOK",
        b" HTTP/1.1 200 OK",
        b"HTTP/1.1200 OK",
        b"HTTP/1.1 200OK",
        b"200 OK",
    ):
        yield Answer(f"line {line!r}", _head(line + b"\r\n"), b"ok")


def reasons_and_beginnings() -> Iterator[Answer]:
    """Every byte in a reason; what breaks off in the head, and what stands before it."""
    for byte in range(256):
        if byte not in b"\r\n":
            reason = b"HTTP/1.1 200 O%cK\r\n" % byte
            yield Answer(f"reason with {byte:#x}", _head(reason), b"ok", byte in TEXT)
    for line in (b"HTTP/1.1 200 \r\n", b"HTTP/1.1 200\r\n", b"HTTP/1.1 200 \xe9\r\n", b"HTTP/1.0 200 OK\r\n"):
        yield Answer(f"line {line!r}", _head(line), b"ok", good=True)
    for said in (
        b"",
        b"H",
        b"HTTP/1.1 2",
        b"HTTP/1.1 200 OK",
        OK,
        OK + b"X: y",
        OK + b"X: y\r\n",
        b"SSH-2.0\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"<html>",
    ):
        yield Answer(f"breaks off {said!r}", said)
    for before in (b"\r\n", b"\n", b" ", b"\x00", b"x", b"\xef\xbb\xbf"):
        yield Answer(f"before it {before!r}", before + _head(), b"ok")


def fields() -> Iterator[Answer]:
    """Every byte in names and values; folds, other ends of lines, what is no field."""
    for byte in range(256):
        one = bytes((byte,))
        named = byte in TOKEN or one == b":"
        yield Answer(f"name with {byte:#x}", _head(fields=b"X" + one + b"Y: z\r\nContent-Length: 2\r\n"), b"ok", named)
        yield Answer(f"name begins with {byte:#x}", _head(fields=one + b"X: z\r\nContent-Length: 2\r\n"), b"ok", byte in TOKEN)
        yield Answer(f"value with {byte:#x}", _head(fields=b"X: y" + one + b"z\r\nContent-Length: 2\r\n"), b"ok", byte in TEXT)
    for line in (b"X", b": y", b" X: y", b"\tX: y", b"X : y", b"X: y\r\n z", b"X: y\r\n\tz", b"nonsense here"):
        yield Answer(f"line {line!r}", _head(fields=line + b"\r\nContent-Length: 2\r\n"), b"ok")
        yield Answer(f"last line {line!r}", _head(fields=b"Content-Length: 2\r\n" + line + b"\r\n"), b"ok")
    for place, end in itertools.product(range(3), ENDS):
        lines = [b"HTTP/1.1 200 OK", b"X: y", b"Content-Length: 2", b""]
        yield Answer(
            f"line {place} ends with {end!r}",
            b"".join(line + (end if n == place else b"\r\n") for n, line in enumerate(lines)),
            b"ok",
        )
    yield Answer("a head too large", _head(fields=b"X: " + b"y" * 140_000 + b"\r\nContent-Length: 2\r\n"), b"ok")


LENGTHS = (
    b"",
    b" ",
    b"+2",
    b"-2",
    b"0x2",
    b"2.0",
    b"2,2",
    b"2, 2",
    b"2 2",
    b"two",
    b"\xb2",
    b"2;",
    b'"2"',
    b"2_0",
    b"9" * 16,
    b"9" * 40,
    b"2\x0b",
)
CODINGS = (
    b"",
    b"identity",
    b"gzip",
    b"gzip, chunked",
    b"chunked, gzip",
    b"chunked, chunked",
    b",chunked",
    b"xchunked",
    b"chunked;q=1",
    b'"chunked"',
    b"\x0bchunked",
)


def framings() -> Iterator[Answer]:
    """Lengths and codings, alone, twice and together; bodies where none may be."""
    for length in LENGTHS:
        yield Answer(f"length {length!r}", _head(fields=b"Content-Length: " + length + b"\r\n"), b"ok")
    for one, two in itertools.product((b"2", b"02", b"3", b"x"), repeat=2):
        yield Answer(
            f"lengths {one!r} {two!r}", _head(fields=b"Content-Length: " + one + b"\r\nContent-Length: " + two + b"\r\n"), b"ok"
        )
    whole = b"2\r\nok\r\n0\r\n\r\n"
    for coding in CODINGS:
        yield Answer(f"coding {coding!r}", _head(fields=b"Transfer-Encoding: " + coding + b"\r\n"), whole)
    for one, two in itertools.product((b"chunked", b"gzip", b"identity"), repeat=2):
        yield Answer(
            f"codings {one!r} {two!r}",
            _head(fields=b"Transfer-Encoding: " + one + b"\r\nTransfer-Encoding: " + two + b"\r\n"),
            whole,
        )
    for length in (b"2", b"12", b"0"):
        both = (b"Transfer-Encoding: chunked\r\n", b"Content-Length: " + length + b"\r\n")
        yield Answer(f"coding with length {length!r}", _head(fields=both[0] + both[1]), whole)
        yield Answer(f"length {length!r} with coding", _head(fields=both[1] + both[0]), whole)
    yield Answer("coding in 1.0", _head(b"HTTP/1.0 200 OK\r\n", b"Transfer-Encoding: chunked\r\n"), whole)
    for status in (b"204 No Content", b"103 Early Hints", b"100 Continue"):
        yield Answer(f"body in {status!r}", _head(b"HTTP/1.1 " + status + b"\r\n"), b"ok" + _head() + b"ok")
        yield Answer(f"chunked {status!r}", _head(b"HTTP/1.1 " + status + b"\r\n", b"Transfer-Encoding: chunked\r\n"), whole)
    for field in (b"Content-Length: 2\r\n", b"Transfer-Encoding: chunked\r\n"):
        yield Answer(f"204 that says {field!r}", _head(b"HTTP/1.1 204 No Content\r\n", field))
    for protocol in (b"h2c", b"websocket"):
        yield Answer(
            f"switch to {protocol!r}",
            _head(b"HTTP/1.1 101 Switching\r\n", b"Upgrade: " + protocol + b"\r\nConnection: upgrade\r\n"),
            b"hello",
        )
    yield Answer("interim answers for ever", _head(b"HTTP/1.1 103 Early\r\n", b"") * 40 + _head(), b"ok")
    yield Answer("only interim", _head(b"HTTP/1.1 103 Early\r\n", b""))
    for count in (1, 5, 16):
        yield Answer(f"{count} interim", _head(b"HTTP/1.1 103 Early\r\n", b"") * count + _head(), b"ok", good=True)


def bodies() -> Iterator[Answer]:
    """Bodies that are shorter, longer or otherwise not what the head says."""
    for length, body in (
        (b"3", b"ok"),
        (b"100", b""),
        (b"1", b"ok"),
        (b"0", b"ok"),
        (b"2", b"ok\r\n"),
        (b"2", b"ok" + _head() + b"ok"),
        (b"999999999999999", b"o"),
    ):
        yield Answer(
            f"length {length!r} of {body[:9]!r}", _head(fields=b"Content-Length: " + length + b"\r\n"), body, in_head=False
        )
    for rest in (
        b"",
        b"2",
        b"2\r\n",
        b"2\r\no",
        b"2\r\nok",
        b"2\r\nok\r\n",
        b"2\r\nok\r\n0",
        b"2\r\nok\r\n0\r\n",
        b"2\r\nok\r\n0\r\nX: y\r\n",
        b"2\r\nok\r\n0\r\n\r",
    ):
        yield Answer(f"chunks break off {rest!r}", CHUNKED, rest, in_head=False)
    for rest in (
        b"0\r\n\r\njunk",
        b"2\r\nok\r\n0\r\n\r\n\r\n",
        b"0\r\n\r\n" + _head(),
        b"2\r\nokk\r\n0\r\n\r\n",
        b"3\r\nok\r\n0\r\n\r\n",
        b"2\nok\r\n0\r\n\r\n",
    ):
        yield Answer(f"chunks {rest!r}", CHUNKED, rest, in_head=False)
    for size in (b"", b" 2", b"2 ", b"+2", b"-2", b"0x2", b"2h", b"2.0", b"f" * 17, b"\xb2", b"0_2"):
        yield Answer(f"size {size!r}", CHUNKED, size + b"\r\nok\r\n0\r\n\r\n", in_head=False)
    for extension in EXTENSIONS_BAD:
        yield Answer(f"extension {extension!r}", CHUNKED, b"2" + extension + b"\r\nok\r\n0\r\n\r\n", in_head=False)
    for extension in EXTENSIONS_GOOD:
        yield Answer(f"extension {extension!r}", CHUNKED, b"2" + extension + b"\r\nok\r\n0\r\n\r\n", good=True)
    for byte in range(256):
        if byte not in HEX and byte not in b"\r":
            yield Answer(f"size then {byte:#x}", CHUNKED, b"2%c\r\nok\r\n0\r\n\r\n" % byte, in_head=False)
        yield Answer(f"trailer with {byte:#x}", CHUNKED, b"2\r\nok\r\n0\r\nX: %c\r\n\r\n" % byte, byte in TEXT, in_head=False)
    for trailer in (b"X", b": y", b" X: y", b"X : y", b"X: y\r\n z"):
        yield Answer(f"trailer {trailer!r}", CHUNKED, b"2\r\nok\r\n0\r\n" + trailer + b"\r\n\r\n", in_head=False)
    yield Answer("chunks", CHUNKED, b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n", good=True)
    yield Answer("until it closes", OK + b"\r\n", b"ok", good=True)
    yield Answer("by length", _head(), b"ok", good=True)


def answers() -> list[Answer]:
    """All of it."""
    return [answer for family in (first_lines(), reasons_and_beginnings(), fields(), framings(), bodies()) for answer in family]
