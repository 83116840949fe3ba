"""Thousands of odd requests, made systematically, each with its word: forwarded as one canonical request, or refused."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

ANY_BYTE = range(256)
TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
HEX = frozenset(b"0123456789abcdefABCDEF")
DIGIT = frozenset(b"0123456789")
TEXT = frozenset((9, *range(0x20, 0x7F), *range(0x80, 0x100)))  # field values
TARGET = frozenset(range(0x21, 0x7F)) - frozenset(b'"#<>')  # RFC 3986, and what browsers send raw in queries
NAME = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~!$&'()*+,;=%-")  # of hosts
HEAD_BYTES, FIELDS, BUFFERED, BODY_BYTES = 8_192, 64, 10_000, 100_000
FORWARD = frozenset[int]()
BAD = frozenset((400,))
LARGE, LONG, UNKNOWN, VERSION = frozenset((413,)), frozenset((431,)), frozenset((501,)), frozenset((505,))
HOST = b"Host: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


class Case(NamedTuple):
    """Bytes of one client."""

    name: str
    data: bytes
    refused: frozenset[int] = FORWARD  # with one of these; none: forwarded
    body: bytes | None = None  # of what is forwarded; None: any
    forwarded: int = 1  # requests, where they are forwarded; before the refused one, where one is


def get(fields: bytes = b"", *, line: bytes = b"GET / HTTP/1.1", host: bytes = HOST) -> bytes:
    """A request without a body."""
    return line + b"\r\n" + host + fields + b"\r\n"


def post(fields: bytes, body: bytes = b"", *, version: bytes = b"1.1") -> bytes:
    """A request with a body, framed by its fields."""
    return b"POST / HTTP/" + version + b"\r\n" + HOST + fields + b"\r\n" + body


def chunked(body: bytes) -> bytes:
    """A request in chunks that are written by hand."""
    return post(CHUNKED, body)


def _case(name: str, data: bytes, good: bool, *, body: bytes | None = None, bad: frozenset[int] = BAD) -> Case:
    return Case(name, data, FORWARD if good else bad, body=body)


def methods() -> Iterator[Case]:
    """Known, unknown, in the wrong case, with every byte in them."""
    for method in (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"):
        yield Case(f"method {method!r}", get(line=method + b" / HTTP/1.1"))
        for wrong in (method.lower(), method.title(), method + b"X", b"X" + method, method[:-1]):
            yield Case(f"method {wrong!r}", get(line=wrong + b" / HTTP/1.1"), BAD | UNKNOWN)
        for wrong in (b" " + method, method + b" ", method + b"\t", b"\t" + method, b'"' + method + b'"', method + b":"):
            yield Case(f"method {wrong!r}", get(line=wrong + b" / HTTP/1.1"), BAD)
    for target in (b"a:443", b"/", b"a", b"http://a/", b"*"):
        yield Case(f"CONNECT {target!r}", get(line=b"CONNECT " + target + b" HTTP/1.1"), BAD | UNKNOWN)
    for byte in ANY_BYTE:
        if byte != ord("E"):
            refused = BAD | UNKNOWN if byte in TOKEN else BAD
            yield Case(f"method with {byte:#x}", get(line=b"G%cT / HTTP/1.1" % byte), refused)


def targets() -> Iterator[Case]:
    """Every byte in path and query and first; absolute, with every byte in the authority; asterisk and nonsense."""
    for byte in ANY_BYTE:
        one = bytes((byte,))
        yield _case(f"path with {byte:#x}", get(line=b"GET /a" + one + b"c HTTP/1.1"), byte in TARGET)
        yield _case(f"query with {byte:#x}", get(line=b"GET /a?b" + one + b"c HTTP/1.1"), byte in TARGET)
        yield _case(f"target {byte:#x}", get(line=b"GET " + one + b" HTTP/1.1"), byte == ord("/"), bad=BAD | VERSION)
        yield _case(f"target ends with {byte:#x}", get(line=b"GET /a" + one + b" HTTP/1.1"), byte in TARGET)
        absolute = get(line=b"GET http://h" + one + b"st/x HTTP/1.1")
        yield _case(f"authority with {byte:#x}", absolute, byte in NAME or one in b"/?")
    for scheme in (b"http", b"https", b"HTTP", b"hTTps", b"ftp", b"file", b"ws", b"javascript", b"", b"1http"):
        good = scheme.lower() in (b"http", b"https")
        for rest in (b"//h/", b"//h", b"//h:80/x?y", b"//h?y", b"//[::1]/", b"//u@h/", b"//u:p@h/", b"///x", b"/h", b"h", b""):
            fine = good and rest.startswith(b"//") and b"@" not in rest and rest != b"///x"
            yield _case(f"absolute {scheme!r} {rest!r}", get(line=b"GET " + scheme + b":" + rest + b" HTTP/1.1"), fine)
    for target in (
        b"**",
        b"*/",
        b"/*",
        b"//",
        b"//a",
        b"/%",
        b"/%zz",
        b"/..",
        b"/../..",
        b"/.",
        b"/;",
        b"/?",
        b"/??",
        b"a",
        b".",
        b"?",
    ):
        yield _case(f"target {target!r}", get(line=b"GET " + target + b" HTTP/1.1"), target.startswith(b"/"))


def versions() -> Iterator[Case]:
    """All digits, and what is no version."""
    for major, minor in itertools.product(range(10), range(10)):
        good = (major, minor) in ((1, 0), (1, 1))
        yield _case(f"HTTP/{major}.{minor}", get(line=b"GET / HTTP/%d.%d" % (major, minor)), good, bad=BAD | VERSION)
    wrong = (
        b"HTTP/1",
        b"HTTP/1.",
        b"HTTP/.1",
        b"HTTP/11",
        b"HTTP/1.1.1",
        b"HTTP/1.11",
        b"HTTP/01.1",
        b"HTTP/1.01",
        b"HTTP/1,1",
    )
    wrong += (
        b"http/1.1",
        b"Http/1.1",
        b"HTTP 1.1",
        b"HTTP\\1.1",
        b"HTTP/1.1 ",
        b" HTTP/1.1",
        b"HTTP/ 1.1",
        b"HTTP/1 .1",
        b"HTTP/-1.1",
    )
    wrong += (
        b"HTTP/1.a",
        b"HTTP/a.1",
        b"HTTPS/1.1",
        b"XHTTP/1.1",
        b"HTTP/1.1x",
        b"HTTP/1.1\t",
        b"RTSP/1.0",
        b"ICE/1.0",
        b"HTTP/+1.1",
    )
    for version in (*wrong, b"", b"HTTP", b"HTTP/", b"1.1", b"\xef\xbc\xa8TTP/1.1", b"HTTP/1.\xb1"):
        yield Case(f"version {version!r}", get(line=b"GET / " + version), BAD | VERSION)
    for byte in ANY_BYTE:
        if byte not in b"01":
            yield Case(f"version with {byte:#x}", get(line=b"GET / HTTP/1.%c" % byte), BAD | VERSION)


def hosts() -> Iterator[Case]:
    """Every byte in a host's name; ports, addresses, absence, repetition."""
    for byte in ANY_BYTE:
        yield _case(f"host with {byte:#x}", get(host=b"Host: h%cst\r\n" % byte), byte in NAME)
        blank = byte in b" \t"
        yield _case(f"host begins with {byte:#x}", get(host=b"Host: %chost\r\n" % byte), byte in NAME or blank)
        yield _case(
            f"host ends with {byte:#x}", get(host=b"Host: host%c\r\n" % byte), byte in NAME or blank or byte == ord(":")
        )
    for port in (b"0", b"1", b"80", b"65535", b"99999", b""):
        yield Case(f"port {port!r}", get(host=b"Host: a:" + port + b"\r\n"))
    for port in (b"100000", b"-1", b"+1", b"8 0", b"80:80", b"http", b"0x50", b"8,0", b"80/", b"\xb2", b"80?", b"80#", b"80@a"):
        yield Case(f"port {port!r}", get(host=b"Host: a:" + port + b"\r\n"), BAD)
    for address in (b"[::1]", b"[::]:80", b"[fe80::1]", b"[::ffff:1.2.3.4]:443", b"1.2.3.4", b"1.2.3.4:5"):
        yield Case(f"host {address!r}", get(host=b"Host: " + address + b"\r\n"))
    for address in (
        b"[::1",
        b"::1]",
        b"[]",
        b"[gg]",
        b"[::1]x",
        b"[::1]:x",
        b"x[::1]",
        b"[::1%25eth0]",
        b"[[::1]]",
        b"a,b:c",
        b"a b",
        b"a\tb",
    ):
        yield Case(f"host {address!r}", get(host=b"Host: " + address + b"\r\n"), BAD)
    for again in (b"Host: a\r\n", b"Host: b\r\n", b"HOST: a\r\n", b"host:\r\n", b"X: y\r\nhOST: a\r\n"):
        yield Case(f"host twice {again!r}", get(again), BAD)
    yield Case("no host", get(host=b""), BAD)
    yield Case("no host in 1.0", get(line=b"GET / HTTP/1.0", host=b""))
    yield Case("two hosts in 1.0", get(HOST, line=b"GET / HTTP/1.0"), BAD)


LENGTHS_GOOD = (b"2", b"02", b"0000000002", b" 2", b"2 ", b"\t2\t")
LENGTHS_BAD = (
    b"",
    b" ",
    b"+2",
    b"-2",
    b"0x2",
    b"2.0",
    b"2e0",
    b"2,2",
    b"2, 2",
    b"2;2",
    b"2 2",
    b"two",
    b"\xb2",
    b"2\x0b",
    b'"2"',
    b"2_0",
    b"NaN",
)
LENGTHS_HUGE = (b"9" * 15, b"1" + b"0" * 14, b"18446744073709551615", b"18446744073709551618", b"9" * 100)
CODINGS_GOOD = (b"chunked", b"Chunked", b"CHUNKED", b" chunked", b"\tchunked ")
CODINGS_BAD = (
    b"",
    b"identity",
    b"gzip",
    b"gzip, chunked",
    b"chunked, gzip",
    b"chunked, chunked",
    b"chunked,",
    b",chunked",
    b"identity, chunked",
)
CODINGS_BAD += (
    b"xchunked",
    b"chunkedx",
    b"chunke",
    b"chunked;q=1",
    b'"chunked"',
    b"'chunked'",
    b"chunked chunked",
    b"\x0bchunked",
    b"chunked\x0b",
)
CODINGS_BAD += (
    b"chunked\t",
    b"chunk\xc3\xa9d",
    b"\xefchunked",
    b"c hunked",
    b"chun\tked",
    b"chunked/1",
    b"cow",
    b"chunked,identity",
    b"chunked\x00",
)
WHOLE = b"2\r\nab\r\n0\r\n\r\n"


def framings() -> Iterator[Case]:
    """Every combination of a length and a coding, in either order, in both versions, alone and twice."""
    for version in (b"1.1", b"1.0"):
        for length in (*LENGTHS_GOOD, *LENGTHS_BAD, *LENGTHS_HUGE):
            refused = FORWARD if length in LENGTHS_GOOD else LARGE | BAD if length in LENGTHS_HUGE else BAD
            yield Case(
                f"{version!r} length {length!r}",
                post(b"Content-Length:" + length + b"\r\n", b"ab", version=version),
                refused,
                b"ab",
            )
        for coding in (*CODINGS_GOOD, *CODINGS_BAD):
            good = coding in CODINGS_GOOD and version == b"1.1"
            field = b"Transfer-Encoding:" + coding + b"\r\n"
            yield _case(
                f"{version!r} coding {coding!r}", post(field, WHOLE, version=version), good, body=b"ab", bad=BAD | UNKNOWN
            )
            for length in (*LENGTHS_GOOD, *LENGTHS_BAD, *LENGTHS_HUGE, b"0", b"12"):
                other = b"Content-Length:" + length + b"\r\n"
                both, name = BAD | UNKNOWN | LARGE, f"{version!r} {coding!r} with {length!r}"
                yield Case(name, post(field + other, WHOLE, version=version), both)
                yield Case(name + " first", post(other + field, WHOLE, version=version), both)
        for one, two in itertools.product((b"2", b"02", b"3", b"0", b""), repeat=2):
            fields = b"Content-Length: " + one + b"\r\nX: y\r\nContent-Length: " + two + b"\r\n"
            yield Case(f"{version!r} lengths {one!r} {two!r}", post(fields, b"ab", version=version), BAD)
    for one, two in itertools.product((b"chunked", b"identity", b"gzip", b""), repeat=2):
        fields = b"Transfer-Encoding: " + one + b"\r\nTransfer-Encoding: " + two + b"\r\n"
        yield Case(f"codings {one!r} {two!r}", post(fields, WHOLE), BAD | UNKNOWN)
    for byte in ANY_BYTE:
        blank = byte in b" \t"
        for name, value in (("before", b"%cchunked" % byte), ("after", b"chunked%c" % byte)):
            field = b"Transfer-Encoding: " + value + b"\r\n"
            good = blank and value != b"chunked\t"  # the parser takes no tab there: refused is safe
            yield _case(f"coding {name} {byte:#x}", post(field, WHOLE), good, body=b"ab", bad=BAD | UNKNOWN)
        if byte not in DIGIT:
            for name, value in (("before", b"%c2" % byte), ("after", b"2%c" % byte)):
                field = b"Content-Length: " + value + b"\r\n"
                yield _case(f"length {name} {byte:#x}", post(field, b"ab"), blank, body=b"ab")
    for name in (
        b"Transfer_Encoding",
        b"Transfer-Encodings",
        b"X-Transfer-Encoding",
        b"Content_Length",
        b"Content-Lengths",
        b"ContentLength",
    ):
        yield Case(f"no framing {name!r}", get(name + b": 5\r\n"))
    for name in (
        b"Transfer-Encoding ",
        b"Transfer-Encoding\t",
        b" Transfer-Encoding",
        b"Content-Length ",
        b"\x0bContent-Length",
    ):
        yield Case(f"bad framing {name!r}", post(name + b": 2\r\n", b"ab"), BAD)


SEPARATORS = frozenset(b" \t")
EXTENSIONS_GOOD = (b";a", b";a=b", b" ;a", b";\ta", b";a = b", b';a="b c"', b';a="\\""', b";a;b=c;d", b';a="b";c')
EXTENSIONS_BAD = (
    b";",
    b";;a",
    b";a=",
    b";=b",
    b';a="',
    b";a=b c",
    b" ",
    b"\t",
    b";a\x00",
    b';a="\x01"',
    b";a=\xff",
    b",a",
    b"a b",
    b";a=b;",
)


def chunks() -> Iterator[Case]:
    """Sizes, extensions, ends of data and trailers, with every byte in every place."""
    for size in (b"2", b"02", b"0000000002"):
        yield Case(f"size {size!r}", chunked(size + b"\r\nab\r\n0\r\n\r\n"), body=b"ab")
    for size in (
        b"",
        b" 2",
        b"2 ",
        b"+2",
        b"-2",
        b"0x2",
        b"2h",
        b"h2",
        b"2,0",
        b"2.0",
        b"0_2",
        b"\xb2",
        b"f" * 16,
        b"f" * 17,
        b"1" * 100,
    ):
        yield Case(f"size {size!r}", chunked(size + b"\r\nab\r\n0\r\n\r\n"), BAD | LARGE)
    for byte in ANY_BYTE:
        one = bytes((byte,))
        if byte not in HEX:
            yield Case(f"size then {byte:#x}", chunked(b"2" + one + b"\r\nab\r\n0\r\n\r\n"), BAD)
            yield Case(f"size after {byte:#x}", chunked(one + b"2\r\nab\r\n0\r\n\r\n"), BAD)
        yield _case(
            f"extension with {byte:#x}",
            chunked(b"2;a" + one + b"b\r\nab\r\n0\r\n\r\n"),
            byte in TOKEN or one in b"=;",
            body=b"ab",
        )
        quoted = (byte in TEXT and one not in b'"\\') or one == b"\\"
        yield _case(f"quoted with {byte:#x}", chunked(b'2;a="' + one + b'b"\r\nab\r\n0\r\n\r\n'), quoted, body=b"ab")
        yield _case(
            f"trailer named {byte:#x}",
            chunked(b"2\r\nab\r\n0\r\nX" + one + b"Y: z\r\n\r\n"),
            byte in TOKEN or one == b":",
            body=b"ab",
        )
        yield _case(f"trailer with {byte:#x}", chunked(b"2\r\nab\r\n0\r\nX: y" + one + b"z\r\n\r\n"), byte in TEXT, body=b"ab")
        if one != b"\r":
            yield Case(f"data ends with {byte:#x}", chunked(b"2\r\nab" + one + b"\n0\r\n\r\n"), BAD)
        if one != b"\n":
            yield Case(f"data ends with CR {byte:#x}", chunked(b"2\r\nab\r" + one + b"0\r\n\r\n"), BAD)
            yield Case(f"size ends with CR {byte:#x}", chunked(b"2\r" + one + b"ab\r\n0\r\n\r\n"), BAD)
    for extension in EXTENSIONS_GOOD:
        yield Case(f"extension {extension!r}", chunked(b"2" + extension + b"\r\nab\r\n0" + extension + b"\r\n\r\n"), body=b"ab")
    for extension in EXTENSIONS_BAD:
        yield Case(f"extension {extension!r}", chunked(b"2" + extension + b"\r\nab\r\n0\r\n\r\n"), BAD)
        yield Case(f"last extension {extension!r}", chunked(b"2\r\nab\r\n0" + extension + b"\r\n\r\n"), BAD)
    for end in (b"\n", b"\r", b"\n\r", b"\r\r\n", b" \r\n", b""):
        yield Case(f"data end {end!r}", chunked(b"2\r\nab" + end + b"0\r\n\r\n"), BAD)
        yield Case(f"size end {end!r}", chunked(b"2" + end + b"xy\r\n0\r\n\r\n"), BAD)
    for trailer in (b"X", b": y", b" X: y", b"X : y", b"X: y\r\n z", b"\tX: y", b"X\ty", b"X: \x7f"):
        yield Case(f"trailer {trailer!r}", chunked(b"2\r\nab\r\n0\r\n" + trailer + b"\r\n\r\n"), BAD)
    for count in (1, 2, 16, 100):
        yield Case(f"{count} chunks", chunked(b"1\r\nx\r\n" * count + b"0\r\n\r\n"), body=b"x" * count)


def families() -> tuple[Iterator[Case], ...]:
    """All of this file."""
    return (methods(), targets(), versions(), hosts(), framings(), chunks())
