"""How exchanges end when somebody fails: problems before the head, aborts after it, a row in every case."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from canary.observe.outcome import observe
from canary.split.spec import Deadlines, RecordSpec
from canary.store.frames import Live
from canary.terms import Ending, RouteKind
from tests.support.deadline import wait_for
from tests.support.http_client import Client, Cut, ask
from tests.support.upstreams import OK, Link, Upstream, a_closed_port, answering
from tests.support.worker_process import WorkerProcess, a_route, a_snapshot, a_version, wait_for_frames

Served = tuple[Upstream, WorkerProcess]
SHORT = Deadlines(connect_s=0.5, answer_s=1.0, idle_s=0.4)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Upstream(answering(OK)) as upstream:
        snapshot = a_snapshot(a_route(a_version("v1", upstream.port), deadlines=SHORT))
        with WorkerProcess(tmp_path, snapshot) as worker:
            yield upstream, worker


def _silent(link: Link) -> None:
    link.request()
    link.wait_closed()


def _deaf(link: Link) -> None:
    link.head()
    link.wait_closed()


def _last(worker: WorkerProcess, count: int = 1) -> Live:
    return wait_for_frames(Live, worker.state_dir, count)[-1]


def test_an_upstream_that_is_down_is_502_with_a_problem(tmp_path: Path) -> None:
    snapshot = a_snapshot(a_route(a_version("v1", a_closed_port())))
    with WorkerProcess(tmp_path, snapshot) as worker:
        with Client(worker.port) as client:
            for _ in range(2):
                answer = client.ask("GET")
                problem = json.loads(answer.body)
                assert (answer.status, problem["status"]) == (502, 502)
                assert answer.value("content-type") == "application/problem+json"
                assert problem["exchange"] == answer.value("x-canary-id") != ""
            assert client.ask("HEAD").status == 502
        frame = _last(worker, 3)
    assert (frame.side.ending, frame.side.status, frame.side.written_us) == (Ending.REFUSED, 0, -1)


def test_an_upstream_that_never_answers_is_504(served: Served) -> None:
    upstream, worker = served
    upstream.script = _silent
    answer = ask(worker.port)
    assert (answer.status, answer.value("content-type")) == (504, "application/problem+json")
    frame = _last(worker)
    assert (frame.side.ending, frame.side.status, frame.exchange_id.hex()) == (Ending.TIMEOUT, 0, answer.value("x-canary-id"))
    assert frame.side.end_us >= 1_000_000
    assert upstream.closed_by_peer.wait(5)


@pytest.mark.parametrize(
    ("answer", "ending"),
    [
        (b"", Ending.RESET),
        (b"HTTP/1.1 2", Ending.RESET),
        (b"SSH-2.0\r\n\r\n", Ending.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", Ending.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", Ending.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", Ending.MALFORMED),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", Ending.MALFORMED),
    ],
)
def test_what_is_no_answer_is_502(served: Served, answer: bytes, ending: Ending) -> None:
    upstream, worker = served

    def script(link: Link) -> None:
        link.request()
        link.send(answer)

    upstream.script = script
    with Client(worker.port) as client:
        assert client.ask("POST", body=b"x").status == 502
        assert client.ask("POST", body=b"x").status == 502
    assert _last(worker, 2).side.ending is ending


@pytest.mark.parametrize(
    "parts",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"abc"),
        (CHUNKED + b"3\r\nabc\r\n", b""),
        (CHUNKED + b"3\r\nabc\r\n", b"3\r\nde"),
        (CHUNKED + b"3\r\nabc\r\n", b"x\r\n"),
        (CHUNKED + b"3\r\nabc\r\n", b"0\r\n\r\njunk"),
    ],
)
def test_an_answer_that_breaks_off_is_an_abort_never_a_clean_end(served: Served, parts: tuple[bytes, bytes]) -> None:
    upstream, worker = served
    seen = threading.Event()

    def script(link: Link) -> None:
        link.request()
        link.send(parts[0])
        assert seen.wait(5)
        link.send(parts[1])

    upstream.script = script
    with Client(worker.port) as client:
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        client.until(b"\r\n\r\n")
        seen.set()
        with pytest.raises(Cut) as caught:
            client.exactly(1_000)
    assert b"HTTP/1.1" not in caught.value.so_far
    assert not caught.value.so_far.endswith(b"0\r\n\r\n")
    frame = _last(worker)
    assert frame.side.ending in (Ending.CUT, Ending.MALFORMED)
    assert frame.side.status == 200


def test_a_reset_ends_a_body_that_only_a_close_would_end(served: Served) -> None:
    upstream, worker = served

    def script(link: Link) -> None:
        link.request()
        link.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        assert seen.wait(5)
        link.reset()

    seen = threading.Event()
    upstream.script = script
    with Client(worker.port) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        client.until(b"abc")
        seen.set()
        with pytest.raises(Cut):
            client.rest()
    assert _last(worker).side.ending is Ending.CUT


def test_silence_between_chunks_is_cut(served: Served) -> None:
    upstream, worker = served

    def script(link: Link) -> None:
        link.request()
        link.send(CHUNKED + b"3\r\nabc\r\n")
        link.wait_closed()

    upstream.script = script
    with Client(worker.port) as client, pytest.raises(Cut):
        client.ask("GET")
    frame = _last(worker)
    assert (frame.side.ending, frame.side.status, frame.side.response_bytes) == (Ending.TIMEOUT, 200, 3)
    assert frame.side.end_us < 1_000_000, "the silence was over before the deadline"


@pytest.mark.parametrize("begun", [False, True])
def test_a_client_that_leaves_cancels_its_upstream(served: Served, begun: bool) -> None:
    upstream, worker = served

    def script(link: Link) -> None:
        link.request()
        if begun:
            link.send(CHUNKED + b"3\r\nabc\r\n")
        link.wait_closed()

    upstream.script = script
    with Client(worker.port) as client:
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        client.until(b"abc") if begun else upstream.saw(1)
    assert upstream.closed_by_peer.wait(0.5)
    frame = _last(worker)
    assert (frame.side.ending, frame.side.status) == (Ending.CLIENT_LEFT, 200 if begun else 0)


def test_a_client_that_leaves_in_mid_upload_leaves_nothing_behind(served: Served) -> None:
    upstream, worker = served
    upstream.script = _deaf
    with Client(worker.port) as client:
        client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5000000\r\n\r\n" + b"x" * 100_000)
        wait_for(lambda: upstream.received)
    assert upstream.closed_by_peer.wait(5)
    assert _last(worker).side.ending is Ending.CLIENT_LEFT


def test_a_dead_pooled_connection_is_replaced_for_idempotent_requests(served: Served) -> None:
    upstream, worker = served

    def script(link: Link) -> None:
        link.request()
        link.send(OK)
        if link.request() is not None:
            link.reset()

    upstream.script = script
    with Client(worker.port) as client:
        assert client.ask("GET").status == 200
        assert client.ask("GET").status == 200
        assert client.ask("POST", body=b"x").status == 502
    frames = wait_for_frames(Live, worker.state_dir, 3)
    assert [frame.side.attempts for frame in frames] == [1, 2, 1]
    assert frames[2].side.ending is Ending.RESET


def test_junk_on_an_idle_connection_costs_only_that_connection(served: Served) -> None:
    upstream, worker = served
    go_on = threading.Event()

    def script(link: Link) -> None:
        link.request()
        link.send(OK)
        if upstream.connections == 1:
            assert go_on.wait(5)
            link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        link.wait_closed()

    upstream.script = script
    with Client(worker.port) as client:
        assert client.ask("GET").body == b"ok"
        go_on.set()
        assert upstream.closed_by_peer.wait(5)
        assert client.ask("GET").body == b"ok"
    assert upstream.connections == 2


def test_an_early_answer_to_an_unfinished_upload_ends_the_connection(served: Served) -> None:
    upstream, worker = served

    def script(link: Link) -> None:
        link.head()
        link.send(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno")
        link.wait_closed()

    upstream.script = script
    with Client(worker.port) as client:
        client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5000000\r\n\r\n" + b"x" * 100_000)
        answer = client.answer()
        assert (answer.status, answer.body, answer.value("connection")) == (401, b"no", "close")
    assert _last(worker).side.ending is Ending.WHOLE


def test_idle_connections_close_before_the_server_would(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=2\r\nContent-Length: 2\r\n\r\nok"

    def script(link: Link) -> None:
        link.request()
        link.send(answer)
        link.wait_closed()

    with Upstream(script) as upstream, WorkerProcess(tmp_path, a_snapshot(a_route(a_version("v1", upstream.port)))) as worker:
        assert ask(worker.port).status == 200
        assert upstream.closed_by_peer.wait(1.9)


def test_a_long_stream_of_a_language_model_that_fails_at_its_end_is_a_failure(tmp_path: Path) -> None:
    tokens = b'data: {"choices": [{"delta": {"content": "word"}}]}\n\n' * 200
    stream = tokens + b'data: {"error": {"message": "overloaded"}}\n\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(stream)
    with Upstream(answering(head + stream)) as upstream:
        route = a_route(a_version("v1", upstream.port), kind=RouteKind.LLM, record=RecordSpec(body_cap_bytes=1_000))
        with WorkerProcess(tmp_path, a_snapshot(route)) as worker:
            assert ask(worker.port).body == stream
            side = _last(worker).side
    assert (len(side.body), side.body_truncated, stream.endswith(side.tail)) == (1_000, True, True)
    assert observe(side, kind=RouteKind.LLM, content_type="text/event-stream").error_event
