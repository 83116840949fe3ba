"""A worker that starts under a snapshot it cannot take up: it serves what it can, says so, and is not taken for a follower."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from canary.split.spec import HeaderRule, MatchSpec, RouteSpec, SecretRef
from canary.store.frames import Live
from canary.store.overlay import Overlay, OverlayOrder, write_overlay
from canary.store.snapshot import good_copy, write_snapshot
from canary.telemetry.readings import read_pages, snapshot_revisions
from canary.terms import Arm
from tests.support.both_versions import Pair
from tests.support.deadline import wait_for
from tests.support.http_client import ask
from tests.support.worker_process import WorkerProcess, a_route, a_snapshot, a_split, a_version, frames_of

UNSENDABLE = (HeaderRule(name="host", value="caf\u00e9\u2192"),)
"""A value that was published before it was looked at: no head can hold it."""


def _canary(both: Pair, *, weight_bp: int = 10_000, headers: tuple[HeaderRule, ...] = (), **more: object) -> RouteSpec:
    """A route that gives its candidate everything."""
    versions = (a_version("v1", both[0].port), a_version("v2", both[1].port, headers=headers))
    return a_route(*versions, split=a_split(weight_bp=weight_bp), **more)


def _followed(state_dir: Path) -> set[int]:
    return set(snapshot_revisions(state_dir / "page").values())


@pytest.mark.parametrize(
    "headers",
    [
        UNSENDABLE,
        (HeaderRule(name="\u2192", value="x"),),
        (HeaderRule(name="x-key", secret=SecretRef(env="NOBODY_SET_THIS")),),
    ],
    ids=["host", "name", "secret"],
)
def test_a_candidate_that_cannot_be_called_leaves_its_route_to_stable_and_others_alone(
    both: Pair, tmp_path: Path, headers: tuple[HeaderRule, ...]
) -> None:
    broken = _canary(both, headers=headers, name="broken", prefix="/broken")
    with WorkerProcess(tmp_path, a_snapshot(broken, _canary(both), revision=9)) as worker:
        assert [ask(worker.port, "GET", path).body for path in ("/broken/x", "/x")] == [b"old", b"new"]
        assert _followed(tmp_path) == {0}, "a plan in part is not followed: nothing may be promoted by it"
        worker.publish(a_snapshot(_canary(both, name="broken", prefix="/broken"), revision=10))
        wait_for(lambda: ask(worker.port, "GET", "/broken/x").body == b"new", 1.0)
        assert _followed(tmp_path) == {10}
    live = frames_of(Live, tmp_path)[0]
    assert (live.route, live.arm, live.segment) == ("broken", Arm.STABLE, 0)


def test_a_stable_that_cannot_be_called_closes_its_route_and_no_other_takes_its_requests(both: Pair, tmp_path: Path) -> None:
    closed = a_route(a_version("v1", both[0].port, headers=UNSENDABLE), name="closed", prefix="/closed")
    with WorkerProcess(tmp_path, a_snapshot(closed, _canary(both))) as worker:
        assert ask(worker.port, "GET", "/closed/x").status == 503
        assert ask(worker.port, "GET", "/x").body == b"new"


def test_a_match_that_no_request_can_meet_leaves_its_route_out(both: Pair, tmp_path: Path) -> None:
    version = a_version("v1", both[0].port)
    lost = RouteSpec(name="lost", match=MatchSpec(path_prefix="/\u2192"), versions=(version,), stable="v1")
    with WorkerProcess(tmp_path, a_snapshot(lost, _canary(both))) as worker:
        assert ask(worker.port).body == b"new"


def test_without_the_key_of_forcing_all_else_serves(both: Pair, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, a_snapshot(_canary(both), force_key=SecretRef(env="NOBODY_SET_THIS"))) as worker:
        assert ask(worker.port).body == b"new"


def test_a_secret_that_comes_later_is_found(both: Pair, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    headers = (HeaderRule(name="x-key", secret=SecretRef(file=str(secret))),)
    with WorkerProcess(tmp_path, a_snapshot(_canary(both, headers=headers), revision=4)) as worker:
        assert ask(worker.port).body == b"old"
        secret.write_text("s3cret")
        wait_for(lambda: ask(worker.port).body == b"new", 5.0, what="the second look")
        assert _followed(tmp_path) == {4}
    assert both[1].received[0].values(b"x-key") == [b"s3cret"]


def _spoil(path: Path, damage: str) -> None:
    data = path.read_bytes()
    path.unlink()
    match damage:
        case "nonsense":
            path.write_bytes(b"\xff\xfe")
        case "half":
            path.write_bytes(data[:-20])
        case "other format":
            path.write_bytes(data.replace(b"canary-snapshot 1", b"canary-snapshot 2", 1))
        case "a folder":
            path.mkdir()


@pytest.mark.parametrize("damage", ["nonsense", "half", "other format", "a folder", "gone"])
def test_under_a_snapshot_that_cannot_be_read_the_last_good_one_serves_all_to_stable(
    both: Pair, tmp_path: Path, damage: str
) -> None:
    path, snapshot = tmp_path / "snapshot.json", a_snapshot(_canary(both), revision=7)
    write_snapshot(path, snapshot)
    write_snapshot(good_copy(path), snapshot)
    _spoil(path, damage)
    with WorkerProcess(tmp_path, None) as worker:
        assert ask(worker.port).body == b"old"
        assert _followed(tmp_path) == {0}
        if damage == "a folder":
            path.rmdir()
        worker.publish(snapshot)
        wait_for(lambda: ask(worker.port).body == b"new", 1.0)
        assert _followed(tmp_path) == {7}


def test_without_a_good_copy_a_worker_starts_all_the_same_and_waits(both: Pair, tmp_path: Path) -> None:
    tmp_path.joinpath("snapshot.json").write_bytes(b"nonsense")
    with WorkerProcess(tmp_path, None) as worker:
        assert ask(worker.port).status == 503
        worker.publish(a_snapshot(_canary(both)))
        wait_for(lambda: ask(worker.port).body == b"new", 1.0)


def test_a_running_worker_outlives_a_plan_that_it_cannot_compile_and_still_takes_orders(both: Pair, tmp_path: Path) -> None:
    order = OverlayOrder(reason="smoke", actor="ann", at=datetime.now(UTC), revision=1)
    with WorkerProcess(tmp_path, a_snapshot(_canary(both), revision=3)) as worker:
        worker.publish(a_snapshot(_canary(both, headers=UNSENDABLE, name="broken"), revision=4))
        failed = "canary_snapshot_failures_total"
        wait_for(lambda: _counted(tmp_path, failed) == 1)
        assert ask(worker.port).body == b"new"
        write_overlay(tmp_path / "overlay.json", Overlay(routes={"main": order}))
        wait_for(lambda: ask(worker.port).body == b"old", 1.0, what="the order")
        assert _followed(tmp_path) == {3}
        worker.drain()
        assert worker.wait() == 0


def _counted(state_dir: Path, name: str) -> int:
    return sum(sample.value for sample in read_pages(state_dir / "page") if sample.name == name)
