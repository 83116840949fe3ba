"""Heads that differ in nothing but ids: read by their shape they are what a full reading makes of them."""

import asyncio

import msgspec
import pytest

from canary.proxy.rewrite import Target
from canary.split.spec import HeaderRule, VersionSpec
from canary.wire.answer import AnswerHead, answer_shape, fields_pattern, parse_answer
from canary.wire.head import HeadParser, RequestHead
from canary.wire.lines import worth_learning
from canary.wire.plain import RequestShape, read_plain, shape_of
from canary.wire.resolver import Resolver
from canary.wire.ticker import Ticker
from canary.wire.upstream import Origin, Upstream

FIRST, UUID, KEY = b"0123456789abcdef", b"01234567-89ab-cdef-0123-456789abcdef", b"sk-0123456789abcdef"
REQUEST = (
    b"GET /v1/models?a=b HTTP/1.1\r\nHost: a:81\r\nX-Request-Id: %b\r\nAccept: */*\r\nX-Session: %b\r\nx-api-key: %b\r\n"
    b"X-Forwarded-For: 1.2.3.4\r\n\r\n"
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 19:15:00 GMT\r\nX-Request-Id: %b\r\nContent-Type: text/plain\r\n"
    b"X-Trace: %b\r\nContent-Length: 3\r\n\r\n"
)
PATTERN = fields_pattern(("x-request-id", "content-type"))


def _shape(raw: bytes) -> RequestShape:
    head = read_plain(raw, 64)
    assert head is not None
    return shape_of(raw, head, plain=True)


def _seen(head: RequestHead) -> dict[str, object]:
    return {name: value for name, value in msgspec.structs.asdict(head).items() if name not in ("shape", "ids")}


def _read(raw: bytes) -> dict[str, object]:
    head = read_plain(raw, 64)
    assert head is not None
    return _seen(head)


@pytest.mark.parametrize("ids", [(FIRST, UUID, KEY), (UUID, b"a", b"z" * 128), (b"A-1", FIRST[::-1], b"0")])
def test_a_head_of_a_known_shape_reads_like_any_other(ids: tuple[bytes, bytes, bytes]) -> None:
    shape = _shape(REQUEST % (FIRST, UUID, KEY))
    raw = REQUEST % ids
    found = shape.match(raw + b"GET /next")
    assert found == (list(ids), len(raw))
    assert _seen(shape.head_of(found[0])) == _read(raw)
    assert _shape(raw.replace(b"models", b"other")) is not shape
    assert _shape(REQUEST % (UUID, UUID, KEY)) is shape  # another connection's


@pytest.mark.parametrize("place", [b"4567-89ab", b"cdef\r\nAccept", b"models", b"Session", b"Host", b"\r\nX-Req", b"1.2.3"])
def test_any_byte_anywhere_reads_alike_or_is_left_to_a_full_reading(place: bytes) -> None:
    raw = REQUEST % (FIRST, UUID, KEY)
    shape, at, matched = _shape(raw), raw.find(place) + 1, 0
    for byte in range(256):
        for width in (0, 1):
            other = raw[:at] + bytes((byte,)) + raw[at + width :]
            found = shape.match(other)
            if found is not None:
                matched += 1
                assert found[1] == len(other)
                assert _seen(shape.head_of(found[0])) == _read(other)
    assert matched == (126 if place in (b"4567-89ab", b"cdef\r\nAccept") else 1)  # 26 + 26 letters, ten digits, a dash


@pytest.mark.parametrize("bad", [b"", b"-", b"a" * 129, b"a b", b"a\r", b"a\nb", b"\xe9", b"a\r\nX-Session: 1"])
def test_what_is_no_id_is_never_one(bad: bytes) -> None:
    shape = _shape(REQUEST % (FIRST, UUID, KEY))
    assert shape.match(REQUEST % (bad, UUID, KEY)) is None
    assert shape.match(REQUEST % (FIRST, UUID, bad)) is None


def test_a_head_without_its_end_has_no_shape_yet() -> None:
    raw = REQUEST % (FIRST, UUID, KEY)
    shape = _shape(raw)
    assert not any(shape.match(raw[:size]) for size in range(len(raw)))


def test_what_the_parser_read_stands_for_itself_alone() -> None:
    raw = (REQUEST % (FIRST, UUID, KEY)).replace(b"Accept:", b"Connection: x-session\r\nAccept:")
    assert read_plain(raw, 64) is None
    head = HeadParser().parse(raw, 64)
    shape = shape_of(raw, head, plain=False)
    assert shape.match(raw) == ([], len(raw))
    assert shape.head_of([]) is head
    assert shape.match(raw.replace(FIRST, FIRST[::-1])) is None


def test_shapes_and_what_is_made_of_them_are_bounded() -> None:
    shapes = [_shape(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number) for number in range(600)]
    assert len({id(shape) for shape in shapes}) == 600
    assert _shape(b"GET /599 HTTP/1.1\r\nHost: a\r\n\r\n") is shapes[599]
    assert _shape(b"GET /0 HTTP/1.1\r\nHost: a\r\n\r\n") is not shapes[0]
    for number in range(200):
        shapes[0].remember(number, number)
    assert len(shapes[0].memo) <= 16


async def test_each_version_gets_the_ids_of_its_own_request() -> None:
    loop = asyncio.get_running_loop()
    upstream = Upstream(Origin("b", 80), loop=loop, ticker=Ticker(loop), resolver=Resolver(loop))
    rules = (HeaderRule(name="X-Session", value=""),)
    version = VersionSpec(name="v2", hash="h", upstream="http://b", headers=rules)
    target = Target(version, upstream, trusted=False, env={})
    shape = _shape(REQUEST % (FIRST, UUID, KEY))
    for number in range(3):
        ids = [b"%016d" % number, b"%032d" % number, b"%020d" % number]
        for peer in (b"10.0.0.1", b"10.0.0.2"):
            for copy in (False, True):
                raw = REQUEST % tuple(ids)
                by_shape = target.request_head(shape.head_of(ids), (peer, 0, copy))
                plain = read_plain(raw, 64)
                assert plain is not None
                assert by_shape == target.request_head(plain, (peer, 0, copy))
                assert by_shape.count(ids[0]) == 1
                assert ids[2] not in by_shape  # a credential, which this version is not trusted with
                assert b"for: 1.2.3.4, " + peer in by_shape


def _answer(raw: bytes) -> AnswerHead:
    return parse_answer(raw, to_head=False, pattern=PATTERN)


def _without_fields(head: AnswerHead) -> dict[str, object]:
    return {name: value for name, value in msgspec.structs.asdict(head).items() if name != "fields"}


@pytest.mark.parametrize("place", [b"9abcdef\r\n", b"0123-4", b"200", b"Date", b"text", b"3\r\n\r\n"])
def test_answers_of_a_known_shape_read_like_any_other(place: bytes) -> None:
    raw = ANSWER % (FIRST, UUID)
    shape, at, matched = answer_shape(raw, _answer(raw), PATTERN), raw.find(place) + 1, 0
    assert shape is not None
    for byte in range(256):
        other = raw[:at] + bytes((byte,)) + raw[at + 1 :] + b"abc"
        found = shape.match(other)
        if found is not None:
            ids, end = found
            matched += 1
            assert end == len(raw)
            assert _without_fields(shape.head_of(ids, other[: end - 2])) == _without_fields(_answer(other[:end]))
    assert matched == (63 if place in (b"9abcdef\r\n", b"0123-4") else 1)


@pytest.mark.parametrize("line", [b"Transfer-Encoding: chunked", b"Connection: close", b"Keep-Alive: timeout=9", b"X: y"])
def test_only_answers_that_go_on_as_they_came_have_a_shape(line: bytes) -> None:
    length = b"" if line.startswith(b"Transfer") else b"Content-Length: 3\r\n"
    raw = b"HTTP/1.1 200 OK\r\n" + length + line + b"\r\n\r\n"
    assert (answer_shape(raw, _answer(raw), PATTERN) is not None) is (line == b"X: y")


def test_one_shape_serves_all_connections_until_there_are_too_many() -> None:
    pattern = fields_pattern()
    raws = [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: %d\r\n\r\n" % number for number in range(200)]
    shapes = [answer_shape(raw, parse_answer(raw, to_head=False, pattern=pattern), pattern) for raw in raws]
    assert answer_shape(raws[-1], parse_answer(raws[-1], to_head=False, pattern=pattern), pattern) is shapes[-1]
    assert len(pattern.shapes) <= 64


def test_few_shapes_are_made_of_heads_that_never_look_alike() -> None:
    assert worth_learning(1)
    assert 0 < sum(worth_learning(misses) for misses in range(1, 1_001)) < 25
    assert any(worth_learning(misses) for misses in range(900, 1_000))  # a peer may change its ways
