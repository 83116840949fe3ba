"""What the supervisor writes of its children, on disks that take nothing."""

from pathlib import Path

from canary.app.status import StatusFile


def test_a_disk_that_takes_no_change_at_all_does_not_stop_the_supervisor(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the folder should be: even taking a file away fails below it")
    StatusFile(tmp_path / "run" / "supervisor.json").write([], 0.0)


def test_what_did_not_change_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "run" / "supervisor.json"
    status = StatusFile(path)
    status.write([], 0.0)
    path.unlink()
    status.write([], 1.0)
    assert not path.exists()
