"""More of the corpus: field lines, ends of lines, sizes at their limits, requests behind one another."""

import itertools
from collections.abc import Iterator

from tests.support.odd_requests import MAY_PASS, MUST_REFUSE
from tests.support.request_corpus import (
    BAD,
    BODY_BYTES,
    BUFFERED,
    CHUNKED,
    FIELDS,
    FORWARD,
    HEAD_BYTES,
    HOST,
    LARGE,
    LONG,
    TEXT,
    TOKEN,
    UNKNOWN,
    VERSION,
    Case,
    chunked,
    families,
    get,
    post,
)


def fields() -> Iterator[Case]:
    """Every byte in every place of a name and of a value."""
    for byte in range(256):
        one = bytes((byte,))
        named, valued = byte in TOKEN, byte in TEXT
        yield Case(f"name begins with {byte:#x}", get(one + b"X: y\r\n"), FORWARD if named else BAD)
        yield Case(f"name with {byte:#x}", get(b"X" + one + b"Y: z\r\n"), FORWARD if named or one == b":" else BAD)
        yield Case(f"name ends with {byte:#x}", get(b"X" + one + b": y\r\n"), FORWARD if named or one == b":" else BAD)
        yield Case(f"value begins with {byte:#x}", get(b"X: " + one + b"y\r\n"), FORWARD if valued else BAD)
        yield Case(f"value with {byte:#x}", get(b"X: y" + one + b"z\r\n"), FORWARD if valued else BAD)
        yield Case(f"value ends with {byte:#x}", get(b"X: y" + one + b"\r\n"), FORWARD if valued else BAD)
        yield Case(f"value is {byte:#x}", get(b"X: " + one + b"\r\n"), FORWARD if valued else BAD)
        option = named or one in (b" ", b"\t", b",")
        good = FORWARD if named or one == b"," else BAD
        yield Case(f"connection option with {byte:#x}", get(b"Connection: a" + one + b"b\r\n"), good)
        yield Case(f"connection option ends with {byte:#x}", get(b"Connection: a" + one + b"\r\n"), FORWARD if option else BAD)
    for line in (
        b"X",
        b"X y",
        b":",
        b": y",
        b" X: y",
        b"\tX: y",
        b"X :y",
        b"X\t:y",
        b"\x00",
        b"X\x00: y",
        b"(: y",
        b"{}: y",
        b"\xc3\xa9: y",
    ):
        yield Case(f"line {line!r}", get(line + b"\r\n"), BAD)
        yield Case(f"first line {line!r}", get(HOST, host=line + b"\r\n"), BAD)
    for value in (b"100-continue", b"100-Continue", b" 100-continue "):
        yield Case(f"expect {value!r}", post(b"Expect:" + value + b"\r\nContent-Length: 2\r\n", b"ab"), body=b"ab")
    for value in (b"", b"200", b"100", b"100-continue, x", b"x", b"100-continue;q=1"):
        yield Case(f"expect {value!r}", post(b"Expect: " + value + b"\r\nContent-Length: 2\r\n", b"ab"), frozenset((417,)))


ENDS = (b"\n", b"\r", b"\n\r", b"\r\r\n", b"\x00\r\n", b"\x0b\r\n", b"\x0c\r\n", b"\xc2\x85", b"\r\x00\n", b"\\r\\n")


def line_ends() -> Iterator[Case]:
    """Each end of a line in turn is another one; blank lines before and between."""
    lines = (b"POST / HTTP/1.1", b"Host: a", b"X: y", b"Content-Length: 2", b"")
    for place, end in itertools.product(range(len(lines) - 1), ENDS):
        data = b"".join(line + (end if number == place else b"\r\n") for number, line in enumerate(lines)) + b"ab\r\n\r\n"
        yield Case(f"line {place} ends with {end!r}", data, BAD | VERSION)
    for end in (b" \r\n", b"\t\r\n", b" \t \r\n"):
        yield Case(f"request line ends with {end!r}", b"GET / HTTP/1.1" + end + HOST + b"\r\n", BAD)
        yield Case(f"field ends with {end!r}", b"GET / HTTP/1.1\r\nHost: a" + end + b"\r\n")
    for fold in (b"\r\n ", b"\r\n\t", b"\r\n  \t", b"\n ", b"\r "):
        for name in (b"X", b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection"):
            yield Case(f"{name!r} folded by {fold!r}", post(name + b": a" + fold + b"b\r\n"), BAD | UNKNOWN)
    for before in (b"", b"\r\n"):
        yield Case(f"before it {before!r}", before + get())
    for before in (b"\n", b"\r", b" ", b"\t", b"\r\n\r\n", b"\r\n ", b"\x00", b"\xef\xbb\xbf", b"\r\n\n", b"x\r\n", b"\r\r\n"):
        yield Case(f"before it {before!r}", before + get(), BAD)


def sizes() -> Iterator[Case]:
    """Up to each limit, and one over it."""
    bare = len(get(b"X: \r\n")) - 4
    for over in (-1, 0):
        yield Case(f"head at its limit {over}", get(b"X: " + b"y" * (HEAD_BYTES - bare + over) + b"\r\n"))
    for over in (1, 2, 3, 4, 5, 100, 10_000):
        yield Case(f"head over its limit {over}", get(b"X: " + b"y" * (HEAD_BYTES - bare + over) + b"\r\n"), LONG)
        yield Case(f"target over its limit {over}", get(line=b"GET /" + b"y" * (HEAD_BYTES + over) + b" HTTP/1.1"), LONG)
        yield Case(f"name over its limit {over}", get(b"y" * (HEAD_BYTES + over) + b": z\r\n"), LONG)
    for count in (1, FIELDS - 2, FIELDS - 1):
        yield Case(f"{count} fields", get(b"".join(b"X%d: y\r\n" % number for number in range(count))))
    for count in (FIELDS, FIELDS + 1, FIELDS * 2, 500):
        yield Case(f"{count} fields", get(b"".join(b"X%d: y\r\n" % number for number in range(count))), LONG)
    for size in (0, 1, BUFFERED - 1, BUFFERED, BUFFERED + 1, BODY_BYTES - 1, BODY_BYTES):
        body = b"z" * size
        yield Case(f"body of {size}", post(b"Content-Length: %d\r\n" % size, body), body=body)
        wrapped = (b"%x\r\n%b\r\n" % (size, body) if size else b"") + b"0\r\n\r\n"
        yield Case(f"chunked body of {size}", chunked(wrapped), body=body)
    for size in (BODY_BYTES + 1, BODY_BYTES * 10, 2**31, 2**32, 2**32 + 2, 2**33):
        yield Case(f"body of {size}", post(b"Content-Length: %d\r\n" % size, b"ab"), LARGE)
    many = b"2000\r\n" + b"z" * 8_192 + b"\r\n"
    yield Case("chunks over the limit", chunked(many * 13 + b"0\r\n\r\n"), LARGE | BAD, forwarded=0)
    for count in (5_000, 100_000):
        yield Case(f"extension of {count}", chunked(b"2;" + b"a" * count + b"\r\nab\r\n0\r\n\r\n"), BAD)
        yield Case(f"trailer of {count}", chunked(b"2\r\nab\r\n0\r\nX: " + b"a" * count + b"\r\n\r\n"), BAD)


def pipelines() -> Iterator[Case]:
    """A request behind others: forwarded where it is good, and the end of everything where it is not."""
    good = (
        get(),
        get(b"X: y\r\n"),
        post(b"Content-Length: 2\r\n", b"ab"),
        post(CHUNKED, b"2\r\nab\r\n0\r\n\r\n"),
        get(line=b"HEAD / HTTP/1.1"),
    )
    for number, (one, two, three) in enumerate(itertools.product(good, repeat=3)):
        yield Case(f"three good ones {number}", one + two + three, forwarded=3)
    for number, one in enumerate(good):
        for name, wrong in MUST_REFUSE.items():
            if name != "two blank lines first":
                yield Case(f"{name} behind {number}", one + wrong, BAD | LARGE | LONG | UNKNOWN | VERSION | {417}, forwarded=1)
        yield Case(f"after the last word {number}", get(b"Connection: close\r\n") + one)
        yield Case(f"after 1.0 {number}", get(line=b"GET / HTTP/1.0") + one)
    for junk in (b"0\r\n\r\n", b"\x00", b"ab", b"GET", b"\r\nx"):
        yield Case(
            f"junk {junk!r} behind a body", post(b"Content-Length: 2\r\n", b"ab" + junk), FORWARD if junk == b"GET" else BAD
        )


def corpus() -> list[Case]:
    """All of it."""
    cases = [case for family in (*families(), fields(), line_ends(), sizes(), pipelines()) for case in family]
    every = BAD | LARGE | LONG | UNKNOWN | VERSION | {417}
    cases += [Case(name, data, every) for name, data in MUST_REFUSE.items()]
    cases += [Case(name, data) for name, data in MAY_PASS.items() if name != "OPTIONS asterisk"]
    return cases
