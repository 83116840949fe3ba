"""Plain request heads: what is read without the parser reads as the parser has it, and nothing bad is ever plain."""

import random

import msgspec
import pytest

from canary.wire.head import BadRequest, HeadParser
from canary.wire.plain import read_plain
from tests.support.odd_requests import MAY_PASS, MUST_REFUSE

CORPUS = [data[: data.find(b"\r\n\r\n") + 4] for data in (*MUST_REFUSE.values(), *MAY_PASS.values()) if b"\r\n\r\n" in data]
USUAL = (
    b"POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: api.example:81\r\nUser-Agent: x/1 (y)\r\nAccept: */*\r\n"
    b"Connection: keep-alive\r\nX-Forwarded-For: 1.2.3.4\r\nx-canary-force: v\r\nContent-Length: 12\r\n\r\n"
)


def _agrees(raw: bytes) -> bool:
    """Whether the head is plain; where it is, the parser must have it alike."""
    plain = read_plain(raw, 64)
    if plain is not None:
        assert msgspec.structs.asdict(HeadParser().parse(raw, 64)) == msgspec.structs.asdict(plain), raw
        assert msgspec.structs.asdict(read_plain(raw, 64) or plain) == msgspec.structs.asdict(plain)  # remembered by now
    return plain is not None


def test_the_usual_head_is_plain() -> None:
    assert _agrees(USUAL)
    assert _agrees(USUAL.replace(b"keep-alive", b"Close"))
    assert not _agrees(USUAL.replace(b"HTTP/1.1", b"HTTP/1.0"))


@pytest.mark.parametrize("name", MUST_REFUSE)
def test_what_the_parser_refuses_is_never_plain(name: str) -> None:
    raw = MUST_REFUSE[name].partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    try:
        HeadParser().parse(raw, 64)
    except BadRequest:
        assert read_plain(raw, 64) is None


@pytest.mark.parametrize("place", [b"/v1", b"api", b"x/1", b"User-A", b"12\r\n", b"1.2.3", b"keep-", b"POST"])
def test_any_byte_anywhere_reads_alike(place: bytes) -> None:
    at = USUAL.find(place) + 2
    for byte in range(256):
        for width in (0, 1):
            raw = USUAL[:at] + bytes((byte,)) + USUAL[at + width :]
            if raw.find(b"\r\n\r\n") == len(raw) - 4:
                _agrees(raw)


def test_mutated_heads_read_alike() -> None:
    chance = random.Random(7)
    lines = sorted({line for raw in (*CORPUS, USUAL) for line in raw[:-4].split(b"\r\n")[1:] if len(line) < 500})
    firsts = sorted({raw.partition(b"\r\n")[0] for raw in (*CORPUS, USUAL)})
    plain = 0
    for _ in range(6_000):
        first = USUAL.partition(b"\r\n")[0] if chance.random() < 0.7 else chance.choice(firsts)
        fields = [b"Host: a", *chance.choices(lines, k=chance.randint(0, 3))]
        data = bytearray(b"\r\n".join((first, *fields)))
        if chance.random() < 0.4:
            at = chance.randrange(len(data))
            data[at : at + chance.randint(0, 2)] = bytes((chance.randrange(256),))
        raw = bytes(data) + b"\r\n\r\n"
        if raw.find(b"\r\n\r\n") == len(raw) - 4:
            plain += _agrees(raw)
    assert plain > 500


def test_more_fields_than_allowed_are_not_plain() -> None:
    raw = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 64 + b"\r\n"
    assert read_plain(raw, 64) is None
    assert read_plain(raw, 65) is not None
