"""Forwarding through a real worker: bytes in are bytes out, both ways, however they are cut."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from canary.split.spec import HeaderRule, Limits, SecretRef
from canary.store.frames import Live
from canary.terms import Ending
from tests.support.http_client import Client, ask
from tests.support.upstreams import OK, Link, Upstream, answering, answering_once
from tests.support.worker_process import WorkerProcess, a_route, a_snapshot, a_version, frames_of

Served = tuple[Upstream, WorkerProcess]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """An upstream whose script a test sets, and a worker before it."""
    with Upstream(answering(OK)) as upstream:
        snapshot = a_snapshot(a_route(a_version("v1", upstream.port)), limits=Limits(buffered_body_bytes=65_536))
        with WorkerProcess(tmp_path, snapshot) as worker:
            yield upstream, worker


def test_a_request_goes_out_canonical_and_the_answer_comes_back(served: Served) -> None:
    upstream, worker = served
    with Client(worker.port) as client:
        client.send(
            b"GET /a%2Fb?x=%00&&y HTTP/1.1\r\nhost: me:1\r\nX-B: 1\r\nx-A:2\r\nX-B: 3\r\nx-forwarded-for: 9.9.9.9\r\n\r\n"
        )
        answer = client.answer()
    assert (answer.status, answer.body, answer.value("x-canary-route")) == (200, b"ok", "main")
    assert len(bytes.fromhex(answer.value("x-canary-id"))) == 16
    assert upstream.saw(1)[0].head == (
        b"GET /a%2Fb?x=%00&&y HTTP/1.1\r\nHost: 127.0.0.1:" + str(upstream.port).encode() + b"\r\n"
        b"X-B: 1\r\nx-A: 2\r\nX-B: 3\r\nx-forwarded-for: 9.9.9.9, 127.0.0.1\r\nx-forwarded-proto: http\r\n"
        b"x-forwarded-host: me:1\r\n\r\n"
    )


def test_connections_are_kept_on_both_sides(served: Served) -> None:
    upstream, worker = served
    with Client(worker.port) as client:
        for _ in range(5):
            assert client.ask("GET").status == 200
    assert upstream.connections == 1


def test_pipelined_requests_are_answered_in_turn(served: Served) -> None:
    upstream, worker = served
    upstream.script = _echo
    with Client(worker.port) as client:
        client.send(b"".join(b"POST /%d HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nb%02d" % (n, n) for n in range(20)))
        assert [client.answer().body for _ in range(20)] == [b"b%02d" % n for n in range(20)]


def _echo(link: Link) -> None:
    while (request := link.request()) is not None:
        link.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(request.body), request.body))


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 65_537, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_of_any_size_arrive_whole(served: Served, size: int, chunked: bool) -> None:
    upstream, worker = served
    upstream.script = _echo
    body = os.urandom(size)
    with Client(worker.port) as client:
        if chunked:
            client.send(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
            sender = threading.Thread(target=_send_chunks, args=(client, body))
        else:
            client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % size)
            sender = threading.Thread(target=client.send, args=(body,))
        sender.start()
        answer = client.answer()
        sender.join()
        assert answer.body == body
        assert client.ask("GET").status == 200


def _send_chunks(client: Client, body: bytes) -> None:
    for at in range(0, len(body), 40_000):
        piece = body[at : at + 40_000]
        client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    client.send(b"0\r\nX-Sum: 1\r\n\r\n")


def test_a_buffered_chunked_body_goes_out_with_its_own_length(served: Served) -> None:
    upstream, worker = served
    with Client(worker.port) as client:
        client.send(
            b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\nT: 1\r\n\r\n"
        )
        client.answer()
    received = upstream.saw(1)[0]
    assert received.values(b"content-length") == [b"3"]
    assert not received.values(b"transfer-encoding")
    assert received.body == b"abc"


def test_events_cut_at_every_byte_arrive_as_they_were(tmp_path: Path) -> None:
    events = b'data: {"a":"\xc3\xa9"}\n\ndata: b\r\n\r\ndata: [DONE]\n\n'
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (events[:7], events[7:20], events[20:])) + b"0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

    def script(link: Link) -> None:
        while (request := link.request()) is not None:
            cut = int(request.line.split()[1][1:])
            whole = head + framed
            link.send(whole[:cut], whole[cut:])

    with Upstream(script) as upstream, WorkerProcess(tmp_path, a_snapshot(a_route(a_version("v1", upstream.port)))) as worker:
        with Client(worker.port) as client:
            for cut in range(1, len(head + framed)):
                answer = client.ask("GET", f"/{cut}")
                assert (answer.body, answer.value("content-type")) == (events, "text/event-stream"), cut


def test_each_event_leaves_before_the_next_one_comes(served: Served) -> None:
    upstream, worker = served
    go_on = threading.Semaphore(0)

    def script(link: Link) -> None:
        link.request()
        link.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(5):
            link.send(b"7\r\ndata: %d\r\n" % number)
            assert go_on.acquire(timeout=10)
        link.send(b"0\r\n\r\n")

    upstream.script = script
    with Client(worker.port) as client:
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        client.until(b"\r\n\r\n")
        for number in range(5):
            assert client.until(b"%d\r\n" % number).endswith(b"data: %d\r\n" % number)
            go_on.release()
        assert client.exactly(5) == b"0\r\n\r\n"


def test_a_slow_reader_holds_the_upstream_back_and_gets_every_byte(served: Served) -> None:
    upstream, worker = served
    body = os.urandom(1 << 20) * 24
    sent = threading.Event()

    def script(link: Link) -> None:
        link.request()
        link.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        link.send(body)
        sent.set()

    upstream.script = script
    with Client(worker.port) as client:
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        head = client.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert not sent.wait(0.5), "24 MiB went into buffers although nobody read"
        assert client.exactly(len(body)) == body


@pytest.mark.parametrize(
    ("method", "answer", "status"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", 200),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 9\r\n\r\n", 304),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
    ],
)
def test_answers_without_body_end_at_their_head(served: Served, method: str, answer: bytes, status: int) -> None:
    upstream, worker = served
    upstream.script = answering(answer)
    with Client(worker.port) as client:
        for _ in range(3):
            got = client.ask(method)
            assert (got.status, got.body) == (status, b"")
    assert upstream.connections == 1


def test_an_answer_that_ends_with_its_connection_is_put_into_chunks(served: Served) -> None:
    upstream, worker = served
    upstream.script = answering_once(b"HTTP/1.0 200 OK\r\nX: y\r\n\r\n", b"some", b"thing")
    with Client(worker.port) as client:
        for _ in range(2):
            answer = client.ask("GET")
            assert (answer.body, answer.value("transfer-encoding")) == (b"something", "chunked")
            assert answer.head.startswith(b"HTTP/1.1 200 OK\r\n")


def test_an_http10_client_gets_no_chunks(served: Served) -> None:
    upstream, worker = served
    upstream.script = answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n")
    with Client(worker.port) as client:
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        head = client.until(b"\r\n\r\n").lower()
        assert b"transfer-encoding" not in head
        assert b"connection: close" in head
        assert client.rest() == b"abcde"


def test_an_http10_client_may_keep_its_connection(served: Served) -> None:
    _, worker = served
    with Client(worker.port) as client:
        for _ in range(2):
            client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            answer = client.answer()
            assert (answer.body, answer.value("connection")) == (b"ok", "keep-alive")


def test_hints_come_before_the_answer_and_100_is_ours(served: Served) -> None:
    upstream, worker = served
    upstream.script = answering(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK)
    with Client(worker.port) as client:
        answer = client.ask("GET")
    assert [head.split()[1] for head in answer.interim] == [b"103"]
    assert answer.body == b"ok"


def test_expect_is_answered_here_and_not_forwarded(served: Served) -> None:
    upstream, worker = served
    with Client(worker.port) as client:
        client.send(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"hi")
        assert client.answer().status == 200
    assert upstream.saw(1)[0].values(b"expect") == []


def test_compressed_and_binary_answers_pass_untouched(served: Served) -> None:
    upstream, worker = served
    body = bytes(range(256)) * 100
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nX-odd:  a\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n"
    upstream.script = answering(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    answer = ask(worker.port)
    assert answer.body == body
    assert answer.head.startswith(head)


def test_a_version_rewrites_target_headers_and_model(tmp_path: Path) -> None:
    rules = (
        HeaderRule(name="authorization", secret=SecretRef(env="V1_KEY")),
        HeaderRule(name="x-gone"),
        HeaderRule(name="x-new", value="1"),
    )
    with Upstream(answering(OK)) as upstream:
        version = a_version("v1", upstream.port, strip_prefix="/api", headers=rules, set_model="small")
        version = replace(version, upstream=f"http://127.0.0.1:{upstream.port}/base/")
        with WorkerProcess(tmp_path, a_snapshot(a_route(version)), env={"V1_KEY": "Bearer k"}) as worker:
            body = b'{ "model": "large", "seed": 1.0, "n": 12345678901234567890, "m": {"model": "x"} }'
            ask(worker.port, "POST", "/api/v1/x?y", body=body, headers="authorization: Bearer mine\r\nX-Gone: 1\r\n")
            received = upstream.saw(1)[0]
    assert received.line == b"POST /base/v1/x?y HTTP/1.1"
    assert received.values(b"authorization") == [b"Bearer k"]
    assert received.values(b"x-gone") == []
    assert received.values(b"x-new") == [b"1"]
    assert received.body == b'{"model":"small","seed":1.0,"n":12345678901234567890,"m":{"model": "x"}}'
    assert received.values(b"content-length") == [str(len(received.body)).encode()]


@pytest.mark.parametrize("body", [b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}", b"no JSON", b"\xff", b"[]"])
def test_a_body_whose_model_cannot_be_replaced_goes_on_as_it_is(tmp_path: Path, body: bytes) -> None:
    with Upstream(answering(OK)) as upstream:
        version = a_version("v1", upstream.port, set_model="small")
        with WorkerProcess(tmp_path, a_snapshot(a_route(version))) as worker:
            assert ask(worker.port, "POST", "/v1/x", body=body).status == 200
            assert upstream.saw(1)[0].body == body


def test_a_live_frame_is_down_before_the_client_has_its_answer(served: Served) -> None:
    _, worker = served
    answer = ask(worker.port, "POST", "/v1/x?secret", body=b"hello", headers="cookie: c=1\r\nuser-agent: me\r\n")
    frame = frames_of(Live, worker.state_dir)[0]  # at once: no waiting
    assert frame.exchange_id.hex() == answer.value("x-canary-id")
    assert (frame.method, frame.path, frame.side.status, frame.side.ending) == ("POST", "/v1/x", 200, Ending.WHOLE)
    assert (frame.side.request_bytes, frame.side.response_bytes, frame.side.body) == (5, 2, b"")
    assert frame.request_headers == (("user-agent", "me"),)
    assert 0 <= frame.side.connect_us <= frame.side.written_us <= frame.side.first_byte_us <= frame.side.end_us
