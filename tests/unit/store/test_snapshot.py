"""The snapshot and overlay files."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from canary.errors import SnapshotError
from canary.split.spec import MatchSpec, RouteSpec, Split, VersionSpec
from canary.store.overlay import Overlay, OverlayOrder, read_overlay, write_overlay
from canary.store.snapshot import Snapshot, read_snapshot, write_snapshot


def _snapshot(revision: int = 7) -> Snapshot:
    versions = tuple(VersionSpec(name=name, hash=f"h-{name}", upstream=f"http://127.0.0.1/{name}") for name in ("v1", "v2"))
    split = Split(rollout="r1", segment=3, salt=bytes(range(16)), candidate="v2", weight_bp=500, shadow_bp=10_000)
    route = RouteSpec(name="chat", match=MatchSpec(path_prefix="/v1/"), versions=versions, stable="v1", split=split)
    return Snapshot(revision=revision, database_id="db", made_at_us=1, routes=(route,))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    write_snapshot(path, _snapshot())
    assert read_snapshot(path) == _snapshot()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    write_snapshot(path, _snapshot(8))
    assert read_snapshot(path).revision == 8
    assert [p.name for p in tmp_path.iterdir()] == ["snapshot.json"]


def test_damage_anywhere_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    write_snapshot(path, _snapshot())
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(SnapshotError):
            read_snapshot(path)
    for length in range(0, len(data) - 1, 11):
        path.write_bytes(data[:length])
        with pytest.raises(SnapshotError):
            read_snapshot(path)


def test_a_missing_snapshot_and_one_of_another_format_say_so(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    with pytest.raises(SnapshotError, match="No such file"):
        read_snapshot(path)
    path.write_bytes(b"canary-snapshot 2 00\n{}")
    with pytest.raises(SnapshotError, match="format 2, this program reads 1"):
        read_snapshot(path)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SnapshotError, match="cannot be written"):
        write_snapshot(tmp_path / "file" / "snapshot.json", _snapshot())


def test_an_overlay_is_empty_until_there_is_an_order(tmp_path: Path) -> None:
    path = tmp_path / "overlay.json"
    assert read_overlay(path) == Overlay()
    order = OverlayOrder(reason="5xx", actor="ada", at=datetime(2026, 1, 5, tzinfo=UTC), revision=7, rollout="r1")
    write_overlay(path, Overlay(routes={"chat": order}))
    assert read_overlay(path).routes == {"chat": order}
    path.write_text("{")
    with pytest.raises(SnapshotError):
        read_overlay(path)
