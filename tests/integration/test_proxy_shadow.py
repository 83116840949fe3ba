"""The shadow: what is copied, what arrives with it, what its troubles cost the client - nothing."""

import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from canary.split.spec import Deadlines, Limits, MirrorSpec, Split
from canary.store.frames import Live, Open, Pair, Tick
from canary.telemetry.readings import read_pages
from canary.terms import Arm, AssignedBy, Ending, MirrorDrop
from tests.support.deadline import wait_for
from tests.support.http_client import Client, ask
from tests.support.upstreams import OK, Link, Upstream, a_closed_port, answering
from tests.support.worker_process import WorkerProcess, a_route, a_snapshot, a_split, a_version, journal_frames, wait_for_frames

SHORT = Deadlines(connect_s=0.5, answer_s=1.0, idle_s=0.5)
ALL = a_split(shadow_bp=10_000)
CHAT = "/v1/chat/completions"


class World:
    """A stable upstream, a candidate, a worker between them."""

    def __init__(self, tmp_path: Path) -> None:
        self.stable = Upstream(answering(OK))
        self.shadow = Upstream(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"))
        self.state_dir = tmp_path

    def snapshot(self, split: Split | None = ALL, *, shadow_port: int = 0, forward: bool = False, **more: object) -> object:
        candidate = a_version("v2", shadow_port or self.shadow.port, forward_credentials=forward)
        limits = Limits(buffered_body_bytes=65_536)
        return a_snapshot(a_route(a_version("v1", self.stable.port), candidate, split=split, **more), limits=limits)

    def worker(self, **more: object) -> WorkerProcess:
        return WorkerProcess(self.state_dir, self.snapshot(**more))  # type: ignore[arg-type]

    def pairs(self, count: int = 1) -> list[Pair]:
        return wait_for_frames(Pair, self.state_dir, count)

    def lives(self, count: int = 1) -> list[Live]:
        return wait_for_frames(Live, self.state_dir, count)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    with made.stable, made.shadow:
        yield made


def test_a_copy_yields_one_pair_with_both_answers(world: World) -> None:
    with world.worker() as worker:
        answer = ask(worker.port, "POST", CHAT, body=b'{"a":1}')
        pair = world.pairs()[0]
    assert answer.body == b"ok"
    live = world.lives()[0]
    assert (live.mirror, live.mirror_drop, live.side.body, live.request_body) == ("v2", MirrorDrop.NONE, b"", b"")
    assert (pair.live.exchange_id, pair.live.side.body, pair.live.request_body) == (live.exchange_id, b"ok", b'{"a":1}')
    assert (pair.shadow.version, pair.shadow.ending, pair.shadow.body) == ("v2", Ending.WHOLE, b"new")
    opened = wait_for_frames(Open, world.state_dir)
    assert [(one.exchange_id, one.segment, one.arm, one.mirrored) for one in opened] == [
        (live.exchange_id, 7, Arm.STABLE, True)
    ]
    assert (live.segment, live.assigned_by, live.weight_bp) == (7, AssignedBy.HASH, 0)


SECRETS = (
    "authorization: Bearer PLANTED\r\ncookie: s=PLANTED\r\nx-api-key: PLANTED\r\nproxy-authorization: PLANTED\r\n"
    "Api-Key: PLANTED\r\nX-Goog-Api-Key: PLANTED\r\nx-other: kept\r\n"
)


def test_a_copy_is_marked_and_carries_no_credentials(world: World) -> None:
    with world.worker() as worker:
        ask(worker.port, headers=SECRETS)
        copied, live = world.shadow.saw(1)[0], world.stable.saw(1)[0]
        world.pairs()
    assert copied.values(b"x-canary-shadow") == [b"1"]
    assert live.values(b"x-canary-shadow") == []
    assert b"PLANTED" not in copied.head
    assert live.head.count(b"PLANTED") == 6
    assert copied.values(b"x-other") == [b"kept"]
    for path in world.state_dir.rglob("*"):
        assert not path.is_file() or b"PLANTED" not in path.read_bytes(), path


def test_credentials_go_by_allow_list_and_cookies_never(world: World) -> None:
    with world.worker(forward=True) as worker:
        ask(worker.port, headers=SECRETS)
        copied = world.shadow.saw(1)[0]
    assert copied.values(b"authorization") == [b"Bearer PLANTED"]
    assert copied.values(b"cookie") == []


def test_a_live_candidate_elsewhere_gets_no_credentials_either(world: World) -> None:
    with world.worker(split=a_split(weight_bp=10_000)) as worker:
        assert ask(worker.port, headers=SECRETS).body == b"new"
        assert b"PLANTED" not in world.shadow.saw(1)[0].head
    with world.worker(split=a_split(weight_bp=10_000), forward=True) as worker:
        ask(worker.port, headers=SECRETS)
        assert world.shadow.saw(2)[1].head.count(b"PLANTED") == 6


@pytest.mark.parametrize(
    ("method", "path", "body", "drop"),
    [
        ("GET", "/x", b"", MirrorDrop.NONE),
        ("HEAD", "/x", b"", MirrorDrop.NONE),
        ("POST", CHAT, b"x", MirrorDrop.NONE),
        ("POST", "/v1/files", b"x", MirrorDrop.METHOD),
        ("PUT", CHAT, b"x", MirrorDrop.METHOD),
        ("DELETE", "/x", b"", MirrorDrop.METHOD),
        ("POST", CHAT, b"x" * 2_000, MirrorDrop.BODY),
        ("POST", CHAT, b"x" * 70_000, MirrorDrop.BODY),
    ],
)
def test_only_what_can_do_no_harm_is_copied(world: World, method: str, path: str, body: bytes, drop: MirrorDrop) -> None:
    mirror = MirrorSpec(paths=(CHAT,), body_limit_bytes=1_000)
    with world.worker(mirror=mirror) as worker:
        if method == "HEAD":
            world.stable.script = world.shadow.script = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        assert ask(worker.port, method, path, body=body).status == 200
        live = world.lives()[0]
        assert (live.mirror_drop, live.mirror) == (drop, "" if drop else "v2")
        assert wait_for_frames(Open, world.state_dir)[0].mirrored is (drop is MirrorDrop.NONE)
        if drop is MirrorDrop.NONE:
            world.pairs()
    assert len(world.shadow.received) == (0 if drop else 1)


def test_no_copy_while_the_candidate_answers_the_client(world: World) -> None:
    with world.worker(split=a_split(weight_bp=10_000, shadow_bp=10_000)) as worker:
        assert ask(worker.port).body == b"new"
        assert (world.lives()[0].arm, world.lives()[0].mirror) == (Arm.CANDIDATE, "")
    assert len(world.shadow.received) == 1


def _hang(link: Link) -> None:
    link.request()
    link.wait_closed()


def _endless(link: Link) -> None:
    link.request()
    link.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        link.send(b"x" * 65_536)


def _garbage(link: Link) -> None:
    link.request()
    link.send(b"SSH-2.0\r\n")


def _reset(link: Link) -> None:
    link.request()
    link.reset()


@pytest.mark.parametrize(
    ("script", "endings"),
    [
        (_hang, {Ending.TIMEOUT}),
        (_endless, {Ending.TIMEOUT}),
        (_garbage, {Ending.MALFORMED}),
        (_reset, {Ending.RESET}),
    ],
)
def test_a_sick_shadow_is_a_pair_and_no_clients_business(world: World, script: object, endings: set[Ending]) -> None:
    world.shadow.script = script  # type: ignore[assignment]
    with world.worker(deadlines=SHORT) as worker:
        began = time.monotonic()
        with Client(worker.port) as client:
            assert all(client.ask("GET").body == b"ok" for _ in range(20))
        assert time.monotonic() - began < 10.0, "the client waited for the shadow"
        pairs = world.pairs(20)
    assert {pair.shadow.ending for pair in pairs} <= endings
    assert all(len(pair.shadow.body) <= 65_536 for pair in pairs)
    assert len({pair.live.exchange_id for pair in pairs}) == 20


def test_a_refusing_shadow_is_left_alone_for_half_a_second(world: World) -> None:
    with world.worker(shadow_port=a_closed_port()) as worker:
        with Client(worker.port) as client:
            client.ask("GET")
            assert world.pairs()[0].shadow.ending is Ending.REFUSED
            assert all(client.ask("GET").status == 200 for _ in range(5))
            drops = [live.mirror_drop for live in world.lives(6)]
            assert MirrorDrop.DOWN in drops
            wait_for(lambda: client.ask("GET") and world.pairs()[1:], what="another try")


def test_copies_in_flight_are_bounded(world: World) -> None:
    world.shadow.script = _hang
    mirror = MirrorSpec(slots=3)
    with world.worker(mirror=mirror, deadlines=SHORT) as worker:
        with Client(worker.port) as client:
            for _ in range(8):
                client.ask("GET")
        drops = [live.mirror_drop for live in world.lives(8)]
        assert drops == [MirrorDrop.NONE] * 3 + [MirrorDrop.SLOTS] * 5
        world.pairs(3)
        assert ask(worker.port).status == 200
        assert world.lives(9)[8].mirror_drop is MirrorDrop.NONE, "slots are free again"
        wait_for(lambda: _value(worker, "canary_shadow_dropped_total") == 5)


def test_bytes_held_are_bounded(world: World) -> None:
    world.shadow.script = _hang
    mirror = MirrorSpec(paths=(CHAT,), held_bytes=25_000)
    with world.worker(mirror=mirror, deadlines=SHORT) as worker:
        with Client(worker.port) as client:
            for _ in range(4):
                client.ask("POST", CHAT, body=b"x" * 10_000)
        drops = [live.mirror_drop for live in world.lives(4)]
        assert drops == [MirrorDrop.NONE, MirrorDrop.NONE, MirrorDrop.BYTES, MirrorDrop.BYTES]


def _value(worker: WorkerProcess, name: str) -> int:
    return sum(sample.value for sample in read_pages(worker.state_dir / "page") if sample.name == name)


def test_pairs_that_end_by_themselves_do_not_wait_for_the_seconds_tick(world: World) -> None:
    answered = threading.Semaphore(0)

    def script(link: Link) -> None:
        while link.request() is not None:
            assert answered.acquire(timeout=10)
            link.send(OK)

    world.shadow.script = script
    with world.worker() as worker:
        for number in range(1, 5):
            ask(worker.port)
            world.lives(number)
            answered.release()
            world.pairs(number)
    frames = journal_frames(world.state_dir)
    behind = [type(after) for frame, after in pairwise(frames) if isinstance(frame, Pair)]
    assert behind.count(Tick) < len(behind)


def test_a_client_that_leaves_leaves_its_copy_going(world: World) -> None:
    go_on = threading.Event()

    def script(link: Link) -> None:
        link.request()
        assert go_on.wait(10)
        link.send(OK)

    world.shadow.script = script
    world.stable.script = _hang
    with world.worker() as worker:
        with Client(worker.port) as client:
            client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            world.stable.saw(1)
            world.shadow.saw(1)
        assert world.stable.closed_by_peer.wait(5)
        world.lives()
        go_on.set()
        pair = world.pairs()[0]
    assert (pair.live.side.ending, pair.shadow.ending) == (Ending.CLIENT_LEFT, Ending.WHOLE)


def test_a_share_of_the_traffic_is_copied(world: World) -> None:
    with world.worker(split=a_split(shadow_bp=3_000)) as worker:
        with Client(worker.port) as client:
            for _ in range(300):
                client.ask("GET")
        lives = world.lives(300)
        sent = sum(live.mirror == "v2" for live in lives)
        assert 50 < sent < 130
        world.pairs(sent)
    assert len(world.shadow.received) == sent
