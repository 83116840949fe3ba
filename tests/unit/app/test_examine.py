"""What doctor says of the files that a sidecar's workers serve by."""

from datetime import UTC, datetime
from pathlib import Path

from canary.app.examine import examine
from canary.store.overlay import Overlay, OverlayOrder, write_overlay
from canary.store.snapshot import write_snapshot
from tests.support.worker_process import a_route, a_snapshot, a_version

FILE = """
database: postgresql://nobody@127.0.0.1:1/none
routes:
  main: {stable: v1, versions: {v1: {upstream: "http://127.0.0.1:9"}}}
"""


def _found(folder: Path) -> dict[str, tuple[str, str]]:
    path = folder / "canary.yaml"
    path.write_text(FILE)
    return {finding.what: (finding.state, finding.found) for finding in examine(path, env={}, state_dir=folder)}


def test_orders_in_force_are_shown_with_how_long_they_last(tmp_path: Path) -> None:
    assert not {"plan", "local order", "local orders"} & _found(tmp_path).keys()
    write_snapshot(tmp_path / "snapshot.json", a_snapshot(a_route(a_version("v1", 9)), revision=4))
    order = OverlayOrder(reason="smoke", actor="ann", at=datetime(2026, 1, 1, tzinfo=UTC), revision=1)
    write_overlay(tmp_path / "overlay.json", Overlay(routes={"main": order}))
    found = _found(tmp_path)
    assert found["plan"] == ("ok", "revision 4")
    state, text = found["local order"]
    assert state == "warn"
    assert text == (
        "main: stable alone here since 2026-01-01 00:00:00 UTC until it is taken back, later rollouts included, by ann: smoke"
    )


def test_files_that_cannot_be_read_are_failures(tmp_path: Path) -> None:
    (tmp_path / "snapshot.json").write_bytes(b"nonsense")
    (tmp_path / "overlay.json").write_bytes(b"{")
    found = _found(tmp_path)
    assert found["plan"][0] == found["local orders"][0] == "fail"
