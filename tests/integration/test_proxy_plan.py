"""The plan in force: followed within a second, never by halves; arms stick, are forced or overruled; drains lose nothing."""

import signal
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from canary.split.assign import bucket_of
from canary.split.force import sign
from canary.split.spec import SecretRef, UnitSpec
from canary.store.frames import Live, Open, Tick
from canary.store.overlay import Overlay, OverlayOrder, write_overlay
from canary.telemetry.readings import read_pages, snapshot_revisions
from canary.terms import Arm, AssignedBy, Ending, UnitSource
from tests.support.both_versions import Pair
from tests.support.deadline import wait_for
from tests.support.http_client import Client, Cut, ask
from tests.support.upstreams import Link
from tests.support.worker_process import (
    SALT,
    WorkerProcess,
    a_route,
    a_snapshot,
    a_split,
    a_version,
    frames_of,
    wait_for_frames,
)

NAMES = {b"old": Arm.STABLE, b"new": Arm.CANDIDATE}


def _snapshot(
    both: Pair, *, weight_bp: int | None = None, revision: int = 1, segment: int = 7, key: str = "", **more: object
) -> object:
    split = a_split(weight_bp=weight_bp, segment=segment) if weight_bp is not None else None
    route = a_route(a_version("v1", both[0].port), a_version("v2", both[1].port), split=split, **more)
    return a_snapshot(route, revision=revision, force_key=SecretRef(env=key) if key else None)


def test_a_new_snapshot_changes_the_next_request_within_a_second(both: Pair, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, _snapshot(both, weight_bp=10_000)) as worker, Client(worker.port) as client:
        for revision, weight_bp, body in ((2, 0, b"old"), (3, 10_000, b"new"), (4, None, b"old")):
            worker.publish(_snapshot(both, weight_bp=weight_bp, revision=revision))
            wait_for(lambda body=body: client.ask("GET").body == body, 1.0, what=f"revision {revision}")
            wait_for(lambda revision=revision: set(snapshot_revisions(tmp_path / "page").values()) == {revision})
        wait_for(lambda: any(tick.snapshot_revision == 4 for tick in frames_of(Tick, tmp_path)), 5.0)


@pytest.mark.parametrize("damage", ["garbage", "half", "unknown version", "no secret", "gone"])
def test_a_bad_snapshot_leaves_the_old_plan_and_is_counted(both: Pair, tmp_path: Path, damage: str) -> None:
    with WorkerProcess(tmp_path, _snapshot(both, weight_bp=10_000)) as worker:
        path = tmp_path / "snapshot.json"
        match damage:
            case "garbage":
                path.write_bytes(b"nonsense")
            case "half":
                path.write_bytes(path.read_bytes()[:-20])
            case "unknown version":
                worker.publish(a_snapshot(a_route(a_version("v1", both[0].port), split=a_split(weight_bp=5_000)), revision=2))
            case "no secret":
                worker.publish(_snapshot(both, weight_bp=0, revision=2, key="NOBODY_SET_THIS"))
            case _:
                path.unlink()
        wait_for(lambda: _value(tmp_path, "canary_snapshot_failures_total") >= 1)
        assert ask(worker.port).body == b"new"
        worker.publish(_snapshot(both, weight_bp=0, revision=3))
        wait_for(lambda: ask(worker.port).body == b"old", 1.0)


def _value(state_dir: Path, name: str) -> int:
    return sum(sample.value for sample in read_pages(state_dir / "page") if sample.name == name)


@pytest.mark.parametrize(("source", "name"), [(UnitSource.HEADER, "x-user"), (UnitSource.COOKIE, "user")])
def test_a_unit_stays_on_its_arm_and_never_moves_back_as_the_weight_grows(
    both: Pair, tmp_path: Path, source: UnitSource, name: str
) -> None:
    unit = UnitSpec(source=source, name=name)
    users = [f"user-{number}" for number in range(60)]
    seen: dict[str, Arm] = {}
    with WorkerProcess(tmp_path, _snapshot(both, weight_bp=0, unit=unit)) as worker, Client(worker.port) as client:
        for step, weight_bp in enumerate((1_000, 4_000, 9_000), start=2):
            worker.publish(_snapshot(both, weight_bp=weight_bp, revision=step, segment=step, unit=unit))
            wait_for(lambda step=step: set(snapshot_revisions(tmp_path / "page").values()) == {step})
            for user in users:
                field = f"x-user: {user}\r\n" if source is UnitSource.HEADER else f"cookie: a=b; user={user}; c=d\r\n"
                arm = NAMES[client.ask("GET", headers=field).body]
                assert arm is (Arm.CANDIDATE if bucket_of(SALT, user.encode()) < weight_bp else Arm.STABLE)
                assert not (seen.get(user) is Arm.CANDIDATE and arm is Arm.STABLE)
                seen[user] = arm
    lives = frames_of(Live, tmp_path)
    assert {live.segment for live in lives} == {2, 3, 4}
    assert all(len(live.unit_hash) == 8 and live.assigned_by is AssignedBy.HASH for live in lives)
    assert len({live.unit_hash for live in lives}) == len(users)
    hashes = {live.exchange_id: live.unit_hash for live in lives}
    assert {frame.exchange_id: frame.unit_hash for frame in frames_of(Open, tmp_path)} == hashes


@pytest.mark.parametrize("field", ["", "x-user: \r\n", f"x-user: {'u' * 257}\r\n"])
def test_without_a_fit_unit_a_fresh_coin_falls_outside_the_statistics(both: Pair, tmp_path: Path, field: str) -> None:
    unit = UnitSpec(source=UnitSource.HEADER, name="x-user")
    with WorkerProcess(tmp_path, _snapshot(both, weight_bp=5_000, unit=unit)) as worker, Client(worker.port) as client:
        arms = [client.ask("GET", headers=field).body for _ in range(60)]
    assert 5 < arms.count(b"new") < 55
    assert {(live.assigned_by, live.segment, live.unit_hash) for live in frames_of(Live, tmp_path)} == {
        (AssignedBy.FRESH, 0, b"")
    }
    assert frames_of(Open, tmp_path) == []


def test_the_coin_of_a_request_is_the_bucket_of_its_id(both: Pair, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, _snapshot(both, weight_bp=3_000)) as worker, Client(worker.port) as client:
        for _ in range(100):
            client.ask("GET")
    lives = frames_of(Live, tmp_path)
    assert len({live.exchange_id for live in lives}) == 100
    for live in lives:
        assert live.bucket == bucket_of(SALT, live.exchange_id)
        assert live.arm is (Arm.CANDIDATE if live.bucket < 3_000 else Arm.STABLE)
        assert live.side.version == ("v2" if live.arm is Arm.CANDIDATE else "v1")
    opened = {(one.exchange_id, one.segment, one.arm, one.unit_hash) for one in frames_of(Open, tmp_path)}
    assert opened == {(live.exchange_id, 7, live.arm, b"") for live in lives}


def test_a_signed_word_forces_an_arm_outside_the_statistics(both: Pair, tmp_path: Path) -> None:
    snapshot = _snapshot(both, weight_bp=0, key="FORCE_KEY")
    soon = int(time.time()) + 60
    genuine = sign("main", Arm.CANDIDATE, expires=soon, key=b"k1")
    forged = sign("main", Arm.CANDIDATE, expires=soon, key=b"k2")
    late = sign("main", Arm.CANDIDATE, expires=soon - 120, key=b"k1")
    with WorkerProcess(tmp_path, snapshot, env={"FORCE_KEY": "k1"}) as worker, Client(worker.port) as client:
        assert client.ask("GET", headers=f"x-canary-force: {genuine}\r\n").body == b"new"
        assert client.ask("GET", headers=f"cookie: canary_force={genuine}\r\n").body == b"new"
        for word in (forged, late, "candidate"):
            assert client.ask("GET", headers=f"x-canary-force: {word}\r\n").body == b"old"
        both[1].saw(2)
    assert both[1].received[0].values(b"x-canary-force") == []
    forced = [live for live in frames_of(Live, tmp_path) if live.assigned_by is AssignedBy.FORCED]
    assert [(live.arm, live.segment) for live in forced] == [(Arm.CANDIDATE, 0)] * 2


def test_a_local_order_wins_over_every_snapshot(both: Pair, tmp_path: Path) -> None:
    order = OverlayOrder(reason="smoke", actor="ann", at=datetime.now(UTC), revision=1)
    with WorkerProcess(tmp_path, _snapshot(both, weight_bp=10_000)) as worker, Client(worker.port) as client:
        assert client.ask("GET").body == b"new"
        write_overlay(tmp_path / "overlay.json", Overlay(routes={"main": order}))
        wait_for(lambda: client.ask("GET").body == b"old", 1.0, what="the order")
        worker.publish(_snapshot(both, weight_bp=10_000, revision=2))
        wait_for(lambda: set(snapshot_revisions(tmp_path / "page").values()) == {2})
        assert client.ask("GET").body == b"old"
        last = wait_for_frames(Live, tmp_path, 3)[-1]
        assert (last.assigned_by, last.segment) == (AssignedBy.OVERLAY, 0)
        (tmp_path / "overlay.json").unlink()
        wait_for(lambda: client.ask("GET").body == b"new", 1.0, what="the order's end")


def test_orders_that_cannot_be_read_send_all_to_stable_and_block_no_plan(both: Pair, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, _snapshot(both, weight_bp=10_000)) as worker, Client(worker.port) as client:
        assert client.ask("GET").body == b"new"
        (tmp_path / "overlay.json").write_bytes(b'{"routes": {"main": {"of_a_newer_version": 1}}}')
        wait_for(lambda: client.ask("GET").body == b"old", 1.0, what="the caution")
        worker.publish(_snapshot(both, weight_bp=10_000, revision=2))
        wait_for(lambda: set(snapshot_revisions(tmp_path / "page").values()) == {2})
        assert client.ask("GET").body == b"old"
    with WorkerProcess(tmp_path, _snapshot(both, weight_bp=10_000, revision=2)) as worker:  # a start finds a plan too
        assert ask(worker.port).body == b"old"


def test_routes_may_go_while_exchanges_are_under_way(both: Pair, tmp_path: Path) -> None:
    go_on = threading.Event()

    def script(link: Link) -> None:
        link.request()
        assert go_on.wait(10)
        link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
        link.wait_closed()

    both[0].script = script
    with WorkerProcess(tmp_path, _snapshot(both)) as worker, Client(worker.port) as client:
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        both[0].saw(1)
        worker.publish(a_snapshot(a_route(a_version("v9", both[1].port), name="other", prefix="/x"), revision=2))
        wait_for(lambda: set(snapshot_revisions(tmp_path / "page").values()) == {2}, 1.0)
        assert ask(worker.port).status == 404
        go_on.set()
        assert client.answer().body == b"late"
        assert both[0].closed_by_peer.wait(5), "a retired pool keeps nothing"
        assert client.ask("GET", "/x").body == b"new"
    assert [live.route for live in frames_of(Live, tmp_path)] == ["main", "other"]


def test_a_drain_answers_what_is_under_way_and_says_it_was_the_last(both: Pair, tmp_path: Path) -> None:
    go_on = threading.Event()

    def script(link: Link) -> None:
        while link.request() is not None:
            assert go_on.wait(10)
            link.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"0\r\n\r\n")

    both[0].script = script
    with WorkerProcess(tmp_path, _snapshot(both)) as worker, Client(worker.port) as busy, Client(worker.port) as idle:
        busy.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        both[0].saw(1)
        worker.drain()
        idle.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        both[0].saw(2)
        go_on.set()
        answers = [busy.answer(), idle.answer()]
        assert [(answer.body, answer.value("connection")) for answer in answers] == [(b"abc", "close")] * 2
        assert worker.wait() == 0
    assert [live.side.ending for live in frames_of(Live, tmp_path)] == [Ending.WHOLE] * 2


def test_a_drain_takes_in_who_waits_in_the_queue(both: Pair, tmp_path: Path) -> None:
    """The worker stands still while the word to drain and then three clients come: it hears the word first."""
    with WorkerProcess(tmp_path, _snapshot(both)) as worker:
        worker.process.send_signal(signal.SIGSTOP)
        worker.drain()
        clients = [Client(worker.port) for _ in range(3)]
        for client in clients:
            client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        worker.listening.close()  # nobody else could take them
        worker.process.send_signal(signal.SIGCONT)
        for client in clients:
            with client:
                answer = client.answer()
                assert (answer.body, answer.value("connection")) == (b"old", "close")
        assert worker.wait() == 0


def test_a_rolling_restart_under_load_loses_no_request(both: Pair, tmp_path: Path) -> None:
    """Four clients on kept connections while the worker is drained and another takes over its socket."""
    with WorkerProcess(tmp_path, _snapshot(both)) as first:
        done, lost = threading.Event(), []

        def load() -> None:
            while not done.is_set():
                try:
                    with Client(first.port) as client:
                        while not done.is_set():
                            answer = client.ask("GET")
                            if answer.value("connection") == "close":
                                break
                except (Cut, OSError) as error:
                    lost.append(error)

        clients = [threading.Thread(target=load) for _ in range(4)]
        for client in clients:
            client.start()
        wait_for(lambda: len(frames_of(Live, tmp_path)) > 50)
        with WorkerProcess(tmp_path, None, number=1) as second:
            socket.send_fds(second.control, [b"listen"], [first.listening.fileno()])
            first.drain()
            assert first.wait() == 0
            before = len(frames_of(Live, tmp_path))
            wait_for(lambda: len(frames_of(Live, tmp_path)) > before + 50)
            done.set()
            for client in clients:
                client.join()
    assert lost == []


def test_the_end_of_the_control_socket_drains(both: Pair, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, _snapshot(both)) as worker:
        worker.control.close()
        assert worker.wait() == 0
