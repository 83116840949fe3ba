"""Request heads: strict where the parser underneath is lenient, canonical in what they keep."""

import pytest

from canary.wire.head import BadRequest, HeadParser


def _refused(*lines: bytes) -> int:
    with pytest.raises(BadRequest) as caught:
        HeadParser().parse(b"\r\n".join((*lines, b"", b"")), 128)
    return caught.value.status


def test_fields_keep_order_case_and_duplicates() -> None:
    head = HeadParser().parse(b"GET /a?b HTTP/1.1\r\nHost: x\r\nB: 1 \r\na:2\r\nB: 3\r\n\r\n", 128)
    assert [line for _, _, line in head.fields] == [b"B: 1\r\n", b"a: 2\r\n", b"B: 3\r\n"]
    assert (head.method, head.target, head.path, head.authority) == (b"GET", b"/a?b", b"/a", b"x")
    assert head.keep_alive


def test_the_authority_of_an_absolute_target_stands_over_the_host_field() -> None:
    head = HeadParser().parse(b"GET http://B.example:81?q HTTP/1.1\r\nHost: a\r\n\r\n", 128)
    assert (head.authority, head.host, head.target, head.path) == (b"B.example:81", b"b.example", b"/?q", b"/")


def test_what_connection_names_is_hop_by_hop() -> None:
    head = HeadParser().parse(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nConnection: X-a, keep-alive\r\nX-B: 2\r\n\r\n", 128)
    assert [low for low, _, _ in head.fields] == [b"x-b"]


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [(b"1.1", b"", True), (b"1.1", b"close", False), (b"1.0", b"", False), (b"1.0", b"Keep-Alive", True)],
)
def test_persistence_follows_version_and_connection(version: bytes, connection: bytes, kept: bool) -> None:
    field = b"Connection: " + connection + b"\r\n" if connection else b""
    head = HeadParser().parse(b"GET / HTTP/" + version + b"\r\nHost: a\r\n" + field + b"\r\n", 128)
    assert head.keep_alive is kept


def test_statuses_say_what_is_wrong() -> None:
    assert _refused(b"BREW / HTTP/1.1", b"Host: a") == 501
    assert _refused(b"GET / HTTP/2.0", b"Host: a") == 505
    assert _refused(b"CONNECT a:1 HTTP/1.1", b"Host: a") == 501
    assert _refused(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: gzip") == 501
    assert _refused(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 9999999999999999") == 413
    assert _refused(b"POST / HTTP/1.1", b"Host: a", b"Expect: x") == 417
    assert _refused(b"GET / HTTP/1.1", b"Host: a", *[b"X: y"] * 128) == 431
    assert _refused(b"GET / HTTP/1.1") == 400


def test_a_refusal_leaves_the_parser_fit_for_the_next_head() -> None:
    parser = HeadParser()
    good = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    bad = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"X",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ]
    for raw in bad:
        try:
            head = parser.parse(raw, 128)
        except BadRequest:
            pass
        else:
            if head.length:
                parser.pass_body(b"")
        assert parser.parse(good, 128).target == b"/"


def test_an_upgrade_is_one_only_where_it_may_be() -> None:
    asked = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    assert HeadParser().parse(b"GET / HTTP/1.1\r\nHost: a\r\n" + asked + b"\r\n", 128).upgrade == b"websocket"
    for line, extra in ((b"POST / HTTP/1.1", b""), (b"GET / HTTP/1.0", b""), (b"GET / HTTP/1.1", b"Content-Length: 2\r\n")):
        assert HeadParser().parse(line + b"\r\nHost: a\r\n" + asked + extra + b"\r\n", 128).upgrade == b""
    h2c = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert HeadParser().parse(h2c, 128).upgrade == b""


@pytest.mark.parametrize("line", [b"HTTP/1.0\r\nHost: a", b"HTTP/1.1\r\nHost: a\r\nConnection: close, x"])
def test_the_body_of_a_connections_last_request_is_not_read_as_the_next_head(line: bytes) -> None:
    parser = HeadParser()
    assert parser.parse(b"POST / " + line + b"\r\nContent-Length: 2\r\n\r\n", 64).length == 2
    parser.pass_body(b"ab")
    assert parser.parse(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n", 64).target == b"/next"
