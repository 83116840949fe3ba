"""Upgrade: a blind tunnel to stable, not mirrored, outside the statistics; its ends end together."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from canary.store.frames import Live
from canary.terms import Arm, AssignedBy, MirrorDrop
from tests.support.http_client import Client, Cut
from tests.support.upstreams import OK, Link, Upstream, answering
from tests.support.worker_process import WorkerProcess, a_route, a_snapshot, a_split, a_version, wait_for_frames

ASK = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: a\r\n\r\n"


def _echoing(link: Link) -> None:
    link.head()
    link.send(SWITCH + b"hello")
    while True:
        data = link.raw.recv(65536)
        if not data or data == b"end":
            link._upstream.closed_by_peer.set()
            return
        link.send(b"<" + data + b">")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Upstream, Upstream, WorkerProcess]]:
    with Upstream(_echoing) as stable, Upstream(answering(OK)) as candidate:
        split = a_split(weight_bp=10_000, shadow_bp=10_000)
        route = a_route(a_version("v1", stable.port), a_version("v2", candidate.port), split=split)
        with WorkerProcess(tmp_path, a_snapshot(route)) as worker:
            yield stable, candidate, worker


def test_bytes_pass_both_ways_and_only_to_stable(served: tuple[Upstream, Upstream, WorkerProcess]) -> None:
    stable, candidate, worker = served
    with Client(worker.port) as client:
        answer = client.send(ASK + b"early").answer()
        assert (answer.status, answer.value("upgrade"), answer.value("connection")) == (101, "websocket", "upgrade")
        assert client.exactly(12) == b"hello<early>"
        client.send(b"\x00\xff")
        assert client.exactly(4) == b"<\x00\xff>"
    assert stable.closed_by_peer.wait(5), "the upstream's end goes with the client's"
    assert stable.received[0].values(b"connection") == [b"upgrade"]
    assert stable.received[0].values(b"upgrade") == [b"websocket"]
    assert candidate.received == []
    live = wait_for_frames(Live, worker.state_dir)[0]
    assert (live.arm, live.assigned_by, live.segment, live.side.status) == (Arm.STABLE, AssignedBy.INELIGIBLE, 0, 101)
    assert live.mirror_drop in (MirrorDrop.NONE, MirrorDrop.UPGRADE)


def test_the_clients_end_goes_with_the_upstreams(served: tuple[Upstream, Upstream, WorkerProcess]) -> None:
    _, _, worker = served
    with Client(worker.port) as client:
        client.send(ASK).answer()
        client.exactly(5)
        client.send(b"end")
        assert client.rest() == b""


def test_an_upstream_may_decline(served: tuple[Upstream, Upstream, WorkerProcess]) -> None:
    stable, _, worker = served
    stable.script = answering(OK)
    with Client(worker.port) as client:
        assert client.send(ASK).answer().status == 200
        assert client.send(ASK).answer().status == 200


def test_large_streams_pass_whole(served: tuple[Upstream, Upstream, WorkerProcess]) -> None:
    stable, _, worker = served
    body = bytes(range(256)) * 20_000

    def script(link: Link) -> None:
        link.head()
        link.send(SWITCH)
        link.send(body)

    stable.script = script
    with Client(worker.port) as client:
        client.send(ASK).answer()
        try:
            assert client.exactly(len(body)) == body
        except Cut as cut:
            pytest.fail(str(cut))
