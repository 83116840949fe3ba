"""Bad requests are refused and never forwarded; what is forwarded is one canonical request."""

import json
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from canary.split.spec import Limits
from canary.store.frames import Live
from tests.support.deadline import wait_for
from tests.support.http_client import Client, Cut, ask
from tests.support.odd_requests import MAY_PASS, MUST_REFUSE
from tests.support.upstreams import OK, Upstream, answering
from tests.support.worker_process import WorkerProcess, a_route, a_snapshot, a_version, frames_of

LIMITS = Limits(
    head_bytes=8_192, headers=64, body_bytes=100_000, buffered_body_bytes=10_000, connections=20, head_s=1.0, body_idle_s=1.0
)
CANONICAL = re.compile(
    rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH) (?:/[!$-;=?-~]*|\*) HTTP/1\.1\r\nHost: [!-~]+\r\n"
    rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t\x20-\x7e\x80-\xff]*\r\n)*\r\n"
)
Served = tuple[Upstream, WorkerProcess]


@contextmanager
def _serving(folder: Path) -> Iterator[Served]:
    with Upstream(answering(OK)) as upstream:
        snapshot = a_snapshot(a_route(a_version("v1", upstream.port)), limits=LIMITS)
        with WorkerProcess(folder, snapshot) as worker:
            yield upstream, worker


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with _serving(tmp_path_factory.mktemp("bad")) as found:
        yield found


@pytest.fixture
def served_alone(tmp_path: Path) -> Iterator[Served]:
    """For requests that are cut in the middle: what came of them may arrive while others count."""
    with _serving(tmp_path) as found:
        yield found


@pytest.mark.parametrize("name", MUST_REFUSE)
def test_what_must_be_refused_is_refused_and_not_forwarded(served: Served, name: str) -> None:
    upstream, worker = served
    before = len(upstream.received)
    with Client(worker.port) as client:
        client.send(MUST_REFUSE[name])
        answer = client.answer()
        assert answer.status in (400, 413, 417, 431, 501, 505), answer.head
        problem = json.loads(answer.body)
        assert (problem["status"], problem["exchange"]) == (answer.status, answer.value("x-canary-id"))
        assert answer.value("connection") == "close"
        assert client.rest() == b""
    assert len(upstream.received) == before


def _check(head: bytes, raw_body: bytes) -> None:
    """A strict reading of what arrived."""
    assert CANONICAL.fullmatch(head), head
    names = [line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:-2]]
    assert names.count(b"host") == 1
    hop = {b"connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"expect", b"proxy-connection"} & set(names)
    assert not hop or head.count(b"\r\nconnection: upgrade\r\nupgrade: ") == 1, head
    framing = [name for name in names if name in (b"content-length", b"transfer-encoding")]
    assert len(framing) <= 1, head
    if framing == [b"content-length"]:
        assert re.search(rb"\r\ncontent-length: (?:0|[1-9][0-9]*)\r\n", head), head


@pytest.mark.parametrize("name", MAY_PASS)
def test_what_passes_arrives_as_one_canonical_request(served: Served, name: str) -> None:
    upstream, worker = served
    before = len(upstream.whole)
    with Client(worker.port) as client:
        answer = client.send(MAY_PASS[name]).answer()
    if name == "OPTIONS asterisk":
        assert answer.status == 404
        return
    assert answer.status == 200, answer
    wait_for(lambda: len(upstream.whole) > before)
    received = upstream.whole[before]
    assert len(upstream.whole) == before + 1
    _check(received.head, received.raw_body)


def test_mutated_requests_never_arrive_in_another_form(served_alone: Served) -> None:
    """Bytes removed, doubled, swapped, spliced: whatever arrives is canonical, and the worker lives."""
    upstream, worker = served_alone
    chance = random.Random(1)
    corpus = [*MUST_REFUSE.values(), *MAY_PASS.values()]
    corpus = [one for one in corpus if len(one) < 1_000]
    spice = [
        b"\r",
        b"\n",
        b"\r\n",
        b" ",
        b"\t",
        b"\0",
        b":",
        b",",
        b";",
        b"0",
        b"\xff",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 1\r\n",
    ]
    for _ in range(600):
        data = bytearray(chance.choice(corpus))
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(4):
                case 0:
                    data[at : at + chance.randint(1, 4)] = b""
                case 1:
                    data[at:at] = chance.choice(spice)
                case 2:
                    data[at : at + 1] = bytes((chance.randrange(256),))
                case _:
                    other = chance.choice(corpus)
                    data[at:] = other[chance.randrange(len(other)) :]
            if not data:
                data += b"x"
        _try(worker.port, bytes(data))
    for received in upstream.received:
        _check(received.head, received.raw_body)
    assert ask(worker.port).status == 200


def _try(port: int, data: bytes) -> None:
    with Client(port) as client:
        try:
            client.send(data)
            client.raw.shutdown(1)
            client.rest()
        except (Cut, OSError):
            pass


def test_a_head_over_its_limit_is_431_even_unfinished(served: Served) -> None:
    _, worker = served
    with Client(worker.port) as client:
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 10_000)
        assert client.answer().status == 431


@pytest.mark.parametrize(
    "head", [b"content-length: 100001\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n" + b"2710\r\n" + b"x" * 10_000 + b"\r\n"]
)
def test_a_body_over_its_limit_is_413(served_alone: Served, head: bytes) -> None:
    _, worker = served_alone
    with Client(worker.port) as client:
        client.send(b"POST / HTTP/1.1\r\nhost: a\r\n" + head)
        if b"chunked" in head:
            for _ in range(10):
                client.send(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
        answer = client.answer()
        assert (answer.status, answer.value("content-type")) == (413, "application/problem+json")


def test_slow_clients_of_three_kinds_are_closed_while_others_are_served(served: Served) -> None:
    _, worker = served
    slow = [Client(worker.port) for _ in range(9)]
    for number, client in enumerate(slow):
        kind = (b"", b"GET / HTTP/1.1\r\nhost: a\r\n", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\na")[number % 3]
        client.send(kind)
    assert ask(worker.port).status == 200
    for number, client in enumerate(slow):
        with client:
            said = client.rest()
            assert said == b"" if not number % 3 else said.startswith(b"HTTP/1.1 408 "), said


def test_too_many_connections_are_refused_with_503(served: Served) -> None:
    _, worker = served
    held: list[Client] = []
    try:
        for _ in range(LIMITS.connections):
            held.append(Client(worker.port))
            held[-1].send(b"G")
        with Client(worker.port) as one_more:
            assert one_more.answer().status == 503
    finally:
        for client in held:
            client.raw.close()
    wait_for(lambda: _status(worker.port) == 200, what="a free place")


def _status(port: int) -> int:
    try:
        return ask(port).status
    except (Cut, OSError):
        return 0


def test_what_has_no_route_is_404_and_keeps_its_connection(tmp_path: Path) -> None:
    with Upstream(answering(OK)) as upstream:
        snapshot = a_snapshot(a_route(a_version("v1", upstream.port), prefix="/v1"))
        with WorkerProcess(tmp_path, snapshot) as worker, Client(worker.port) as client:
            assert client.ask("GET", "/other").status == 404
            assert client.ask("GET", "/v1").status == 200
        assert [frame.path for frame in frames_of(Live, tmp_path)] == ["/v1"]


def test_without_a_plan_everything_is_503_until_one_comes(tmp_path: Path) -> None:
    with Upstream(answering(OK)) as upstream, WorkerProcess(tmp_path, None) as worker:
        assert ask(worker.port).status == 503
        worker.publish(a_snapshot(a_route(a_version("v1", upstream.port))))
        wait_for(lambda: ask(worker.port).status == 200, 2.0)
