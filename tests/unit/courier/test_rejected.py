"""Frames set aside: kept for people, within bounds, and what is not kept is counted."""

import os
import time
from pathlib import Path

import pytest

from canary.courier.exposition import Standing, exposition
from canary.courier.rejected import Rejected
from canary.courier.tally import Tally
from canary.store.spool import Offset


class Aside:
    """A folder whose clock is moved by hand."""

    def __init__(self, folder: Path, **bounds: int) -> None:
        self.folder = folder / "rejected"
        self.tally = Tally()
        self.now_s = time.time()
        self.rejected = Rejected(self.folder, self.tally, **bounds, now=lambda: self.now_s)

    def put(self, byte: int, raw: bytes = b"0123456789") -> None:
        self.rejected.put("j", Offset(0, byte), raw=raw, reason="damaged")

    def names(self) -> list[int]:
        """Offsets of what is kept."""
        return sorted(int(path.stem.rsplit("-", 1)[1]) for path in self.folder.glob("*"))


def test_no_more_files_than_the_bound_and_the_first_stay(tmp_path: Path) -> None:
    aside = Aside(tmp_path, most_files=3)
    for byte in range(10):
        aside.put(byte)
    assert aside.names() == [0, 1, 2]
    assert (aside.tally.aside_files, aside.tally.aside_bytes, aside.tally.unkept) == (3, 30, {"files": 7})


def test_no_more_bytes_than_the_bound_and_a_smaller_frame_still_fits(tmp_path: Path) -> None:
    aside = Aside(tmp_path, most_bytes=25)
    aside.put(1)
    aside.put(2)
    aside.put(3)
    aside.put(4, b"abcde")
    assert aside.names() == [1, 2, 4]
    assert (aside.tally.aside_bytes, aside.tally.unkept) == (25, {"bytes": 1})


def test_the_same_frame_again_takes_no_room(tmp_path: Path) -> None:
    aside = Aside(tmp_path, most_files=1, most_bytes=10)
    aside.put(1)
    aside.put(1, b"again")
    assert (aside.tally.aside_files, aside.tally.aside_bytes, aside.tally.unkept) == (1, 5, {})


def test_what_an_earlier_courier_kept_counts(tmp_path: Path) -> None:
    Aside(tmp_path).put(1)
    aside = Aside(tmp_path, most_files=1)
    assert aside.tally.aside_files == 1
    aside.put(2)
    assert aside.names() == [1]


def test_room_that_somebody_made_is_seen_after_a_while(tmp_path: Path) -> None:
    aside = Aside(tmp_path, most_files=1)
    aside.put(1)
    next(aside.folder.iterdir()).unlink()
    aside.put(2)
    assert aside.names() == []
    aside.now_s += 10
    aside.put(3)
    assert aside.names() == [3]


def test_what_is_old_goes(tmp_path: Path) -> None:
    aside = Aside(tmp_path)
    aside.put(1)
    aside.put(2)
    old_s = aside.now_s - 15 * 86_400
    os.utime(aside.folder / "j-000000-000000000001.frame", (old_s, old_s))
    aside.rejected.forget_old()
    assert aside.names() == [2]
    assert aside.tally.aside_files == 1
    aside.now_s += 2 * 86_400
    aside.rejected.forget_old(1)
    assert aside.names() == []


def test_a_disk_that_takes_nothing_loses_the_bytes_and_counts_them(tmp_path: Path) -> None:
    (tmp_path / "rejected").write_text("a file stands where the folder should")
    aside = Aside(tmp_path)
    aside.put(1)
    assert aside.tally.unkept == {"disk": 1}


@pytest.mark.parametrize(("reason", "n"), [("files", 7), ("bytes", 0), ("disk", 0)])
def test_the_bounds_are_shown(tmp_path: Path, reason: str, n: int) -> None:
    aside = Aside(tmp_path, most_files=3)
    for byte in range(10):
        aside.put(byte)
    standing = Standing(spool_bytes=0, lag_s=None, journals=0, snapshot_revision=None, dropped_frames=0)
    lines = exposition(aside.tally, standing).splitlines()
    assert f'canary_rejected_unkept_total{{reason="{reason}"}} {n}' in lines
    assert "canary_rejected_files 3" in lines
    assert "canary_rejected_bytes 30" in lines
