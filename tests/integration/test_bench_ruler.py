"""The bench's own tools tell the truth: what the load counts is what the fake upstream counts. Nothing is timed here."""

import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.bench.figures import ratio, spread
from tests.bench.machine import Unfit, build_tools, cores
from tests.bench.peers import FORWARD, FULL, MIRROR, PEERS, Mix, Order, Running, Skipped
from tests.bench.process import StartError
from tests.bench.traffic import Load, Upstream, run_load
from tests.support.deadline import wait_for


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The C tools, built once."""
    try:
        return build_tools(tmp_path_factory.mktemp("tools"))
    except Unfit as reason:
        pytest.skip(str(reason))


def load(tools: dict[str, Path], upstream: Upstream, port: int, **given: Any) -> dict[str, Any]:
    """The generator's report of a short load."""
    return run_load(tools["load"], Load(**given), port=port, upstream=upstream, core=cores()[1]).report


@contextmanager
def peer(name: str, mix: Mix, upstream: Upstream, tools: dict[str, Path], folder: Path) -> Iterator[Running]:
    """A started peer between the sites `stable` and `candidate`."""
    order = Order(
        label=name,
        mix=mix,
        stable_port=upstream.ports["stable"],
        candidate_port=upstream.ports["candidate"],
        core=cores()[0],
        folder=folder,
        tools=tools,
    )
    try:
        proxy = PEERS[name](order)
    except Skipped as reason:
        pytest.skip(str(reason))
    with ExitStack() as stack:
        stack.callback(proxy.stop)
        yield proxy


def test_a_rate_sends_each_request_once_and_counts_planned_failures(tools: dict[str, Path]) -> None:
    with Upstream(tools["upstream"], {"stable": "fail=10"}, core=cores()[1]) as upstream:
        report = load(tools, upstream, upstream.ports["stable"], seconds=0.4, rate=500, connections=8)
        assert (report["answered"], report["failed"], report["unsent"], report["not_2xx"]) == (200, 0, 0, 20)
        assert upstream.counts()["stable"] == {"requests": 200, "failures": 20, "stalls": 0, "connections": 8}


def test_a_delay_is_in_the_latency_and_so_is_waiting_for_a_connection(tools: dict[str, Path]) -> None:
    with Upstream(tools["upstream"], {"stable": "delay_ms=20"}, core=cores()[1]) as upstream:
        report = load(tools, upstream, upstream.ports["stable"], seconds=0.2, rate=100, connections=1)
    assert report["answered"] == 20
    assert report["latency_us"]["p50"] > 100_000  # one connection answers 50 a second, 100 are due: the queue grows


def test_what_is_never_answered_is_counted_and_left_out_of_the_latency(tools: dict[str, Path]) -> None:
    with Upstream(tools["upstream"], {"stable": "stall=50"}, core=cores()[1]) as upstream:
        report = load(tools, upstream, upstream.ports["stable"], seconds=0.2, rate=100, connections=32, patience_s=0.3)
    assert (report["answered"], report["late"], report["failed"]) == (10, 10, 10)
    assert report["latency_us"]["count"] == 10


def test_events_arrive_whole_with_the_instant_they_were_sent(tools: dict[str, Path]) -> None:
    with Upstream(tools["upstream"], {"stable": "events=5,gap_ms=1"}, core=cores()[1]) as upstream:
        report = load(tools, upstream, upstream.ports["stable"], seconds=0.2, rate=50, connections=4)
    assert (report["answered"], report["failed"], report["event_lag_us"]["count"]) == (10, 0, 50)


def heads_of(port: int) -> set[bytes]:
    """The heads of three answers to the same request."""
    found = set()
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            found.add(client.recv(65_536).partition(b"\r\n\r\n")[0])
    return found


def test_with_ids_no_two_answers_are_alike(tools: dict[str, Path]) -> None:
    with Upstream(tools["upstream"], {"stable": "ids=1", "candidate": ""}, core=cores()[1]) as upstream:
        assert len(heads_of(upstream.ports["stable"])) == 3
        assert len(heads_of(upstream.ports["candidate"])) == 1


def test_with_ids_no_two_requests_are_alike(tools: dict[str, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as beside:
        listener.settimeout(10)
        command = Load(seconds=0.05, rate=40, connections=1, patience_s=5, ids=True).command(
            tools["load"], listener.getsockname()[1]
        )
        running = beside.submit(subprocess.run, command, capture_output=True, timeout=20, check=True)
        client, _ = listener.accept()
        client.settimeout(10)
        with client:
            heads = set()
            for _ in range(2):
                heads.add(client.recv(65_536))
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            assert running.result().returncode == 0
    assert len(heads) == 2
    assert all(head.count(b"X-Request-Id: ") == 1 for head in heads)


def test_a_body_is_sent_whole(tools: dict[str, Path]) -> None:
    with Upstream(tools["upstream"], {"stable": "size=3000"}, core=cores()[1]) as upstream:
        report = load(tools, upstream, upstream.ports["stable"], seconds=0.1, rate=200, body_bytes=200_000)
    assert (report["answered"], report["failed"], report["body_bytes"]) == (20, 0, 20 * 3000)


@pytest.mark.parametrize("mix", [FORWARD, MIRROR, FULL], ids=lambda mix: mix.name)
@pytest.mark.parametrize("name", ["floor", "aiohttp", "nginx", "envoy"])
def test_every_peer_does_the_same_work(name: str, mix: Mix, tools: dict[str, Path], tmp_path: Path) -> None:
    with (
        Upstream(tools["upstream"], {"stable": "", "candidate": ""}, core=cores()[1]) as upstream,
        peer(name, mix, upstream, tools, tmp_path) as proxy,
    ):
        report = load(tools, upstream, proxy.port, seconds=0.5, rate=800, connections=8)
        drawn = 60 if name == "envoy" and mix is FULL else 0  # Envoy draws which requests it copies
        copied = 400 if mix.mirrors else 0  # those that go live to the candidate arrive there too
        arrived = wait_for(lambda: at_least(copied - drawn, upstream), 5, what="the copies")
    assert (report["answered"], report["failed"], report["not_2xx"]) == (400, 0, 0)
    assert arrived["candidate"] <= copied + drawn
    live = 400 - arrived["stable"]
    assert live == 0 if mix.live_pct == 0 else 1 <= live <= 60  # drawn by all but the floor: 20 are expected


def at_least(wanted: int, upstream: Upstream) -> dict[str, int]:
    """Requests by site, once that many have come to the candidate."""
    requests = {site: counts["requests"] for site, counts in upstream.counts().items()}
    return requests if requests["candidate"] >= wanted else {}


def test_a_peer_that_does_not_start_says_why(tools: dict[str, Path], tmp_path: Path) -> None:
    with Upstream(tools["upstream"], {"stable": "", "candidate": ""}, core=cores()[1]) as upstream:
        broken = {**tools, "floor": Path("/bin/false")}
        with pytest.raises(StartError, match="floor-forward does not accept on its port"):
            with peer("floor", FORWARD, upstream, broken, tmp_path):
                pass


def test_ratios_are_taken_within_a_round() -> None:
    ours = [{"rps": 10.0}, {"rps": 40.0}, {"rps": 20.0}]
    theirs = [{"rps": 5.0}, {"rps": 40.0}, {"rps": 5.0}]
    assert ratio(ours, theirs, "rps") == {"median": 2.0, "min": 1.0, "max": 4.0}
    assert ratio(ours, [{"rps": 0.0}, *theirs[1:]], "rps") is None
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0}
