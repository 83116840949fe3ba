"""Upstream answers: framing by RFC 9112, one strip of hop-by-hop, junk never taken for success."""

import pytest

from canary.wire.answer import DEFAULT_PATTERN, AnswerReader, BadAnswer, fields_pattern
from canary.wire.heads import BY_LENGTH, CHUNKED, NO_BODY, UNTIL_CLOSE


def _read(data: bytes, *, to_head: bool = False) -> AnswerReader:
    reader = AnswerReader(to_head=to_head, pattern=DEFAULT_PATTERN)
    reader.feed(data)
    return reader


def _read_by_bytes(data: bytes) -> None:
    reader = AnswerReader(to_head=False, pattern=DEFAULT_PATTERN)
    for at in range(len(data)):
        reader.feed(data[at : at + 1])


BAD = {
    "not HTTP": b"SSH-2.0-x\r\n\r\n",
    "other version": b"HTTP/2.0 200 OK\r\n\r\n",
    "version 1.2": b"HTTP/1.2 200 OK\r\n\r\n",
    "no status": b"HTTP/1.1 \r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status 600": b"HTTP/1.1 600 X\r\n\r\n",
    "control in reason": b"HTTP/1.1 200 O\x01K\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    "blank before colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "folded": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    "no colon": b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
    "NUL": b"HTTP/1.1 200 OK\r\nX: a\x00\r\n\r\n",
    "bare CR": b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
    "length list": b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na",
    "length negative": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "length not a number": b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding unknown": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "coding list": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bytes after length": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
    "bytes after nought": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nab",
    "bytes after chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n",
    "bytes after 204": b"HTTP/1.1 204 No\r\n\r\nab",
    "length in 204": b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n",
    "chunked 204": b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n",
    "bytes after 304": b"HTTP/1.1 304 N\r\nContent-Length: 2\r\n\r\nab",
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    "endless interim": b"HTTP/1.1 103 E\r\n\r\n" * 20,
    "huge head": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000,
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_answer_is_refused(name: str) -> None:
    with pytest.raises(BadAnswer):
        _read(BAD[name])


@pytest.mark.parametrize("name", [name for name in BAD if name != "huge head"])
def test_it_is_refused_however_it_is_cut(name: str) -> None:
    with pytest.raises(BadAnswer):
        _read_by_bytes(BAD[name])


def test_a_body_of_known_length_ends_at_it() -> None:
    reader = _read(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab")
    assert reader.head is not None
    assert (reader.head.framing, reader.payload, reader.done) == (BY_LENGTH, b"ab", False)
    reader.feed(b"c")
    assert (reader.payload, reader.done) == (b"c", True)


def test_hop_by_hop_fields_go_once_and_only_they() -> None:
    head = _read(
        b"HTTP/1.0 200 Fine\r\nX-A: 1\r\nConnection: keep-alive, X-B\r\nX-B: 2\r\nKeep-Alive: timeout=7, max=3\r\n"
        b"x-a: 3\r\nContent-Length: 0\r\nProxy-Connection: x\r\nUpgrade: h2\r\n\r\n"
    ).head
    assert head is not None
    assert head.lines == b"HTTP/1.1 200 Fine\r\nX-A: 1\r\nx-a: 3\r\nContent-Length: 0\r\n"
    assert (head.reusable, head.keep_alive_s) == (True, 7)


def test_a_plain_head_passes_byte_for_byte() -> None:
    raw = b"HTTP/1.1 200\r\nx-odd-CASE:  v \r\nContent-Length: 0\r\nX: \xe9\r\n"
    head = _read(raw + b"\r\n").head
    assert head is not None
    assert head.lines == raw


@pytest.mark.parametrize(
    ("raw", "to_head", "framing"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", False, UNTIL_CLOSE),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", False, CHUNKED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", True, NO_BODY),
        (b"HTTP/1.1 304 NM\r\nContent-Length: 9\r\n\r\n", False, NO_BODY),
        (b"HTTP/1.1 204 NC\r\nContent-Length: 0\r\n\r\n", False, NO_BODY),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", True, NO_BODY),
    ],
)
def test_framing_follows_status_method_and_fields(raw: bytes, to_head: bool, framing: int) -> None:
    head = _read(raw, to_head=to_head).head
    assert head is not None
    assert head.framing == framing


@pytest.mark.parametrize(
    ("raw", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
    ],
)
def test_a_connection_is_used_again_where_the_server_lets_it(raw: bytes, reusable: bool) -> None:
    head = _read(raw).head
    assert head is not None
    assert head.reusable is reusable


def test_interim_answers_come_before_the_answer() -> None:
    reader = _read(b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert [head.status for head in reader.interim] == [100, 103]
    assert reader.head is not None
    assert reader.done


def test_a_clean_end_is_an_answers_end_only_where_nothing_else_says_it() -> None:
    assert _read(b"HTTP/1.1 200 OK\r\n\r\nab").end()
    assert not _read(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab").end()
    assert not _read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").end()
    assert not _read(b"HTTP/1.1 200").end()


def test_the_pattern_finds_named_fields_in_any_case() -> None:
    reader = AnswerReader(to_head=False, pattern=fields_pattern(("x-request-id",)))
    reader.feed(b"HTTP/1.1 200 OK\r\nX-Request-ID: 7\r\nContent-Length: 0\r\n\r\n")
    assert reader.head is not None
    assert (b"X-Request-ID", b"7") in reader.head.fields
