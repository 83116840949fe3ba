"""Heads that differ in ids, lengths and the like: read by their shape they are what a full reading makes of them."""

import asyncio
from collections.abc import Iterator

import msgspec
import pytest

from canary.proxy.rewrite import Target
from canary.split.spec import HeaderRule, VersionSpec
from canary.wire.answer import AnswerShape, BadAnswer, answer_shape, fields_pattern, parse_answer
from canary.wire.answer_head import AnswerHead
from canary.wire.head import BadRequest, HeadParser
from canary.wire.heads import BY_LENGTH, RequestHead
from canary.wire.lines import worth_learning
from canary.wire.origin import Origin
from canary.wire.plain import RequestShape, read_plain, shape_of
from canary.wire.resolver import Resolver
from canary.wire.ticker import Ticker
from canary.wire.upstream import Upstream

FIRST, UUID, KEY = b"0123456789abcdef", b"01234567-89ab-cdef-0123-456789abcdef", b"sk-0123456789abcdef"
REQUEST = (
    b"GET /v1/models?a=b HTTP/1.1\r\nHost: a:81\r\nX-Request-Id: %b\r\nAccept: */*\r\nX-Session: %b\r\nx-api-key: %b\r\n"
    b"X-Forwarded-For: 1.2.3.4\r\n\r\n"
)
POSTED = b"POST /v1/chat?100%%25 HTTP/1.1\r\nHost: a\r\ncontent-length: %b\r\nX-Request-Id: %b\r\nAccept: a%%b\r\n\r\n"
ANSWER = (
    b"HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 19:15:00 GMT\r\nX-Request-Id: %b\r\nContent-Type: text/plain\r\n"
    b'X-Trace: %b\r\nAge: 7\r\nETag: W/"a-b"\r\nX-Took: 8.64s\r\nX-Own: plain\r\nContent-Length: 3\r\n\r\n'
)
BARE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\n"
PATTERN = fields_pattern(("x-request-id", "content-type", "age"))
COMPILED = 40  # uses after which a shape is one expression


def _shape(raw: bytes, *, uses: int = 0) -> RequestShape:
    head = read_plain(raw, 64)
    assert head is not None
    shape = shape_of(raw, head, plain=True)
    assert shape is not None
    for _ in range(uses):
        assert shape.match(raw) is not None
    return shape


def _seen(head: RequestHead) -> dict[str, object]:
    told = {name: value for name, value in msgspec.structs.asdict(head).items() if name not in ("listed", "form", "values")}
    return {**told, "fields": head.fields}


def _read(raw: bytes) -> dict[str, object]:
    """What the parser makes of it."""
    return _seen(HeadParser().parse(raw, 64))


@pytest.mark.parametrize("uses", [0, COMPILED])
@pytest.mark.parametrize("ids", [(FIRST, UUID, KEY), (UUID, b"a", b"z" * 128), (b"A-1_.", FIRST[::-1], b"0")])
def test_a_head_of_a_known_shape_reads_like_any_other(ids: tuple[bytes, bytes, bytes], uses: int) -> None:
    shape = _shape(REQUEST % (FIRST, UUID, KEY), uses=uses)
    raw = REQUEST % ids
    found = shape.match(raw + b"GET /next")
    assert found == (ids, len(raw))
    assert _seen(shape.head_of(found[0])) == _read(raw)
    assert _shape(raw.replace(b"models", b"other")) is not shape
    assert _shape(REQUEST % (UUID, UUID, KEY)) is shape  # another connection's


def _every_byte(raw: bytes, at: int) -> Iterator[bytes]:
    """The head with each byte at that place: put in, and in place of what stands there; and without that place."""
    for byte in range(256):
        yield raw[:at] + bytes((byte,)) + raw[at:]
        yield raw[:at] + bytes((byte,)) + raw[at + 1 :]
    yield raw[:at] + raw[at + 1 :]


@pytest.mark.parametrize("uses", [0, COMPILED])
@pytest.mark.parametrize("raw", [REQUEST % (FIRST, UUID, KEY), POSTED % (b"120", FIRST)], ids=["get", "post"])
def test_any_byte_at_any_place_reads_alike_or_is_left_to_a_full_reading(raw: bytes, uses: int) -> None:
    shape, matched = _shape(raw, uses=uses), 0
    for at in range(len(raw) + 1):
        for other in _every_byte(raw, at):
            found = shape.match(other)
            if found is None:
                continue
            matched += 1
            whole = other[: found[1]]
            assert found[1] == other.find(b"\r\n\r\n") + 4
            assert _seen(shape.head_of(found[0])) == _read(whole), other
    assert matched > 500


@pytest.mark.parametrize("place", [b"4567-89ab", b"cdef\r\nAccept", b"models", b"Session", b"Host", b"\r\nX-Req", b"1.2.3"])
def test_ids_alone_are_open(place: bytes) -> None:
    raw = REQUEST % (FIRST, UUID, KEY)
    shape, at = _shape(raw), raw.find(place) + 1
    others = [raw[:at] + bytes((byte,)) + raw[at + 1 :] for byte in range(256)]
    matched = sum(shape.match(other) is not None for other in others)
    assert matched == (65 if place in (b"4567-89ab", b"cdef\r\nAccept") else 1)  # 26 + 26 letters, ten digits, three signs


@pytest.mark.parametrize("bad", [b"", b"-", b"a" * 129, b"a b", b"a ", b"a\r", b"a\nb", b"\xe9", b"a\r\nX-Session: 1", b"a%"])
@pytest.mark.parametrize("uses", [0, COMPILED])
def test_what_is_no_id_is_never_one(bad: bytes, uses: int) -> None:
    shape = _shape(REQUEST % (FIRST, UUID, KEY), uses=uses)
    assert shape.match(REQUEST % (bad, UUID, KEY)) is None
    assert shape.match(REQUEST % (FIRST, UUID, bad)) is None


@pytest.mark.parametrize("uses", [0, COMPILED])
@pytest.mark.parametrize("length", [b"0", b"7", b"007", b"999999999999999"])
def test_a_length_is_read_anew_each_time(length: bytes, uses: int) -> None:
    shape, raw = _shape(POSTED % (b"120", FIRST), uses=uses), POSTED % (length, UUID)
    found = shape.match(raw + b"body")
    assert found == ((length, UUID), len(raw))
    head = shape.head_of(found[0])
    assert head.length == int(length)
    assert _seen(head) == _read(raw)


NO_LENGTHS = [
    b"",
    b"+7",
    b"-7",
    b" 7",
    b"7 ",
    b"\t7",
    b"7, 7",
    b"0x7",
    b"7_0",
    b"7.0",
    b"1e3",
    b"\xb2",
    b"9" * 16,
    b"7\r",
    b"7\n",
]
NO_LENGTHS += [b"7\r\nContent-Length: 7", b"7\r\nTransfer-Encoding: chunked", b"7;a", b"seven", b'"7"', b"\x00", b"7\x00"]


@pytest.mark.parametrize("uses", [0, COMPILED])
@pytest.mark.parametrize("bad", NO_LENGTHS)
def test_what_is_no_plain_length_takes_the_full_reading(bad: bytes, uses: int) -> None:
    assert _shape(POSTED % (b"120", FIRST), uses=uses).match(POSTED % (bad, FIRST)) is None
    raw = ANSWER % (FIRST, UUID)
    shape = _known(raw, uses=uses)
    assert shape.match(raw.replace(b"Length: 3", b"Length: " + bad)) is None


def test_a_second_length_is_refused_before_any_shape() -> None:
    raw = (POSTED % (b"120", FIRST)).replace(b"Accept: a%b", b"Content-Length: 120")
    assert read_plain(raw, 64) is None
    with pytest.raises(BadRequest):
        HeadParser().parse(raw, 64)


def test_a_head_without_its_end_has_no_shape_yet() -> None:
    raw = REQUEST % (FIRST, UUID, KEY)
    for uses in (0, COMPILED):
        shape = _shape(raw, uses=uses)
        assert not any(shape.match(raw[:size]) for size in range(len(raw)))


def test_what_the_parser_read_stands_for_itself_alone() -> None:
    raw = (REQUEST % (FIRST, UUID, KEY)).replace(b"Accept:", b"Connection: x-session\r\nAccept:")
    assert read_plain(raw, 64) is None
    head = HeadParser().parse(raw, 64)
    shape = shape_of(raw, head, plain=False)
    assert shape is not None
    assert shape.match(raw) == ((), len(raw))
    assert _seen(shape.head_of(())) == _seen(head)
    assert shape.match(raw.replace(FIRST, FIRST[::-1])) is None


def _target() -> Target:
    loop = asyncio.get_running_loop()
    upstream = Upstream(Origin("b", 80), loop=loop, ticker=Ticker(loop), resolver=Resolver(loop))
    rules = (HeaderRule(name="X-Session", value=""), HeaderRule(name="X-Rate", value="5%d%%b"))
    return Target(VersionSpec(name="v2", hash="h", upstream="http://b", headers=rules), upstream, trusted=False, env={})


async def test_each_version_gets_the_ids_of_its_own_request() -> None:
    target = _target()
    shape = _shape(REQUEST % (FIRST, UUID, KEY))
    for number in range(3):
        ids = (b"%016d" % number, b"%032d" % number, b"%020d" % number)
        for peer in (b"10.0.0.1", b"10.0.0.2"):
            for copy in (False, True):
                raw = REQUEST % ids
                by_shape = target.request_head(shape.head_of(ids), (peer, 0, copy))
                plain = read_plain(raw, 64)
                assert plain is not None
                assert by_shape == target.request_head(plain, (peer, 0, copy))
                assert by_shape.count(ids[0]) == 1
                assert ids[2] not in by_shape  # a credential, which this version is not trusted with
                assert b"for: 1.2.3.4, " + peer in by_shape


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_each_version_gets_one_length_that_is_its_own_bodys(method: bytes) -> None:
    """Whatever the client wrote: the length that goes on is that of the bytes that do (they may be rewritten)."""
    target, form = _target(), POSTED.replace(b"POST", method)
    shape = _shape(form % (b"120", FIRST))
    for length in (0, 7, 120, -1):
        for copy in (False, True):
            raw = form % (b"0%d" % abs(length), UUID)
            plain, found = read_plain(raw, 64), shape.match(raw)
            assert plain is not None
            assert found is not None
            sent = target.request_head(shape.head_of(found[0]), (b"10.0.0.1", length, copy))
            assert sent == target.request_head(plain, (b"10.0.0.1", length, copy))
            assert sent.lower().count(b"content-length") + sent.count(b"transfer-encoding") == (
                method == b"POST" or length != 0
            )
            assert b"X-Rate: 5%d%%b\r\n" in sent


def _answer(raw: bytes) -> AnswerHead:
    return parse_answer(raw, to_head=False, pattern=PATTERN)


def _without_fields(head: AnswerHead) -> dict[str, object]:
    told = ("status", "noted", "lines", "framing", "length", "reusable", "keep_alive_s")
    return {name: getattr(head, name) for name in told}


def _known(raw: bytes, *, uses: int = 0) -> AnswerShape:
    shape = answer_shape(raw, _answer(raw), PATTERN)
    assert shape is not None
    for _ in range(uses):
        assert shape.match(raw) is not None
    return shape


@pytest.mark.parametrize("uses", [0, COMPILED])
@pytest.mark.parametrize("raw", [ANSWER % (FIRST, UUID), BARE], ids=["much open", "the length alone"])
def test_answers_of_a_known_shape_read_like_any_other(raw: bytes, uses: int) -> None:
    shape, matched = _known(raw, uses=uses), 0
    for at in range(len(raw) + 1):
        for other in _every_byte(raw, at):
            found = shape.match(other)
            if found is None:
                continue
            matched += 1
            values, end = found
            assert end == other.find(b"\r\n\r\n") + 4
            head = shape.head_of(values, other[: end - 2])
            assert head.framing == BY_LENGTH
            assert _without_fields(head) == _without_fields(_answer(other[:end])), other
    assert matched > (30 if raw == BARE else 1_000)


def test_a_length_alone_is_open_and_changes_back_and_forth() -> None:
    shape = answer_shape(BARE, _answer(BARE), fields_pattern())  # its own: it is forgotten at the end
    assert shape is not None
    for length in (b"3", b"3", b"7", b"3", b"03", b"7", b"7"):
        raw = BARE.replace(b"3\r", length + b"\r")
        found = shape.match(raw + b"abc")
        assert found == ((length,), len(raw))
        head = shape.head_of(found[0], raw[:-2])
        assert (head.length, head.lines) == (int(length), raw[:-2])
    shape.retire()
    assert shape.match(BARE.replace(b"3\r", b"7\r")) is None


def test_numbers_dates_tags_and_ids_of_answers_are_open() -> None:
    raw = ANSWER % (FIRST, UUID)
    shape = _known(raw)
    for before, after in (
        (b"19:15:00", b"23:59:60"),
        (b"Age: 7", b"Age: 31536000"),
        (b'W/"a-b"', b'"x"'),
        (b"8.64s", b"12ms"),
        (FIRST, b"req_1"),
        (b"Length: 3", b"Length: 123456"),
    ):
        found = shape.match(raw.replace(before, after))
        assert found is not None
        assert shape.head_of(found[0], b"").noted[0] == ("x-request-id", "req_1" if before == FIRST else FIRST.decode())
    assert shape.match(raw.replace(b"X-Own: plain", b"X-Own: other")) is None
    with pytest.raises(BadAnswer):
        _answer(raw.replace(b"Length: 3", b"Length: 3\r\nContent-Length: 3"))


@pytest.mark.parametrize("line", [b"Transfer-Encoding: chunked", b"Connection: close", b"Keep-Alive: timeout=9", b"X: y"])
def test_only_answers_that_go_on_as_they_came_have_a_shape(line: bytes) -> None:
    length = b"" if line.startswith(b"Transfer") else b"Content-Length: 3\r\n"
    raw = b"HTTP/1.1 200 OK\r\n" + length + line + b"\r\n\r\n"
    assert (answer_shape(raw, _answer(raw), PATTERN) is not None) is (line == b"X: y")


def test_one_shape_serves_all_connections_until_there_are_too_many() -> None:
    pattern = fields_pattern()
    raws = [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: x%d\r\n\r\n" % number for number in range(200)]
    shapes = [answer_shape(raw, parse_answer(raw, to_head=False, pattern=pattern), pattern) for raw in raws]
    assert answer_shape(raws[-1], parse_answer(raws[-1], to_head=False, pattern=pattern), pattern) is shapes[-1]
    assert len(pattern.shapes) <= 64


def test_few_shapes_are_made_of_heads_that_never_look_alike() -> None:
    assert worth_learning(1)
    assert 0 < sum(worth_learning(misses) for misses in range(1, 1_001)) < 25
    assert any(worth_learning(misses) for misses in range(900, 1_000))  # a peer may change its ways
