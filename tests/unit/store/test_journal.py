"""The journal's writing side."""

import os
import stat
from pathlib import Path

import pytest

from canary.store import journal as journal_module
from canary.store.frames import Live, Open, Pair, Rotation, Tick
from canary.store.journal import KEPT_BYTES, JournalWriter
from canary.store.spool import Offset
from tests.support.frames import (
    T0_US,
    TestClock,
    a_live,
    a_pair,
    a_side,
    a_tick,
    a_writer,
    an_id,
    an_open,
    read_all,
    the_journal,
    write,
)


def test_frames_come_back_in_their_order(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    opened, live = an_open(), a_live(mirror="")
    pair_live = a_live()
    frames = [opened, live, pair_live, a_pair(pair_live), a_tick()]
    write(writer, *frames)
    assert read_all(the_journal(tmp_path)) == (frames, [], False)


def test_nothing_is_written_before_the_flush_and_all_of_it_after(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    opened, live = an_open(), a_live()
    writer.open(opened)
    writer.live(live)
    assert read_all(the_journal(tmp_path))[0] == []
    writer.flush()
    assert read_all(the_journal(tmp_path))[0] == [opened, live]


def test_a_journal_is_private_and_stands_under_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    writer = a_writer(tmp_path / "journal")
    folder = tmp_path / "journal" / writer.journal_id
    assert [p.name for p in (tmp_path / "journal").iterdir()] == [writer.journal_id]
    assert sorted(p.name for p in folder.iterdir()) == ["000000.seg", "lock"]
    assert stat.S_IMODE((tmp_path / "journal").stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "000000.seg").stat().st_mode) == 0o600


def test_the_clock_starts_at_the_wall_and_moves_with_the_monotonic_clock(tmp_path: Path) -> None:
    clock = TestClock()
    writer = a_writer(tmp_path, clock)
    assert writer.now_us() == T0_US
    clock.wall += 3_600_000_000_000
    clock.move(2.5)
    assert writer.now_us() == T0_US + 2_500_000


def test_a_new_segment_begins_with_what_is_in_flight(tmp_path: Path) -> None:
    writer = a_writer(tmp_path, segment_bytes=2_000)
    in_flight, ended, waiting = an_open(), an_open(), an_open()
    body = b"x" * 2_000
    write(writer, in_flight, ended, waiting)
    live = a_live(waiting.exchange_id, request_body=b"q", side=a_side(body=body))
    write(writer, live, a_live(ended.exchange_id, mirror=""))
    journal = the_journal(tmp_path)
    assert journal.segments() == [0, 1]
    frames, bad, _ = read_all(journal, Offset(1, 0))
    assert bad == []
    opens = {f.exchange_id: f for f in frames if isinstance(f, Open)}
    lives = [f for f in frames if isinstance(f, Live) and f.carried]
    assert opens.keys() >= {in_flight.exchange_id}
    assert waiting.exchange_id not in opens
    assert all(f.carried for f in opens.values())
    assert [f.exchange_id for f in lives] == [waiting.exchange_id]
    assert (lives[0].side.body, lives[0].request_body, lives[0].side.response_bytes) == (b"", b"", len(body))


def test_an_open_frame_is_carried_when_its_own_answer_makes_the_segment_overflow(tmp_path: Path) -> None:
    writer = a_writer(tmp_path, segment_bytes=1_000)
    opened = an_open()
    large = a_live(opened.exchange_id, side=a_side(body=b"x" * 300_000), mirror="")
    writer.open(opened)
    writer.live(a_live(side=a_side(body=b"y" * 200_000), mirror=""))
    writer.live(large)  # flushes what stands before it first, which rotates
    writer.flush()
    journal = the_journal(tmp_path)
    second = read_all(journal, Offset(1, 0))[0]
    assert [type(f) for f in second[:2]] == [Open, Live]
    assert second[0] == Open(**{f: getattr(opened, f) for f in opened.__struct_fields__} | {"carried": True})


def test_segments_rotate_with_time(tmp_path: Path) -> None:
    clock = TestClock()
    writer = JournalWriter.create(tmp_path, clock=clock, rotation=Rotation(segment_s=60.0))
    write(writer, a_tick(1))
    assert the_journal(tmp_path).segments() == [0]
    clock.move(61)
    write(writer, a_tick(62))
    assert the_journal(tmp_path).segments() == [0, 1]


def test_a_slow_write_leaves_bodies_out_for_ten_seconds(tmp_path: Path) -> None:
    clock = TestClock()
    writer = a_writer(tmp_path, clock)
    clock.step_ns = 25_000_000
    write(writer, a_live())
    clock.step_ns = 0
    assert not writer.accepts_bodies
    live = a_live(side=a_side(body=b"secret"), request_body=b"asked")
    write(writer, live, a_pair(live, a_side("v2", body=b"other")))
    *_, bare, pair = read_all(the_journal(tmp_path))[0]
    assert isinstance(bare, Live)
    assert isinstance(pair, Pair)
    assert (bare.side.body, bare.request_body, bare.side.response_bytes) == (b"", b"", 6)
    assert (pair.shadow.body, pair.live.side.body) == (b"", b"")
    clock.move(11)
    write(writer, a_tick(12))
    assert writer.accepts_bodies


def test_past_half_of_the_spool_bodies_go_first(tmp_path: Path) -> None:
    writer = a_writer(tmp_path, spool=100_000)
    write(writer, a_live(side=a_side(body=b"x" * 60_000)))
    assert not writer.accepts_bodies
    write(writer, a_live(side=a_side(body=b"y" * 60_000)))
    assert writer.spool_bytes < 62_000
    assert writer.dropped == 0


def test_at_the_bound_new_exchanges_are_dropped_and_counted_but_ends_are_still_written(tmp_path: Path) -> None:
    writer = a_writer(tmp_path, spool=20_000)
    early = an_open()
    write(writer, early)
    while not writer.dropped:
        write(writer, a_live(mirror="", path="/" + "p" * 400))
    assert writer.spool_bytes <= 20_000
    dropped = writer.dropped
    late = an_open()
    write(writer, late, a_live(early.exchange_id, mirror=""), a_live(late.exchange_id, mirror=""))
    assert writer.dropped == dropped + 2
    frames = read_all(the_journal(tmp_path))[0]
    ids = [f.exchange_id for f in frames if isinstance(f, Open | Live)]
    assert ids.count(early.exchange_id) == 2
    assert late.exchange_id not in ids


def test_the_pair_of_a_dropped_answer_is_dropped_too(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    write(writer, a_pair())
    assert writer.dropped == 1
    assert read_all(the_journal(tmp_path))[0] == []


def test_the_bound_ends_when_the_reader_has_made_room(tmp_path: Path) -> None:
    writer = a_writer(tmp_path, spool=20_000, segment_bytes=4_000)
    while not writer.dropped:
        write(writer, a_live(mirror="", path="/" + "p" * 400))
    journal = the_journal(tmp_path)
    journal.release(Offset(journal.segments()[-1], 0))
    write(writer, a_tick())
    live = a_live()
    write(writer, live)
    assert read_all(journal)[0][-1] == live


def test_a_disk_that_refuses_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = TestClock()
    writer = a_writer(tmp_path, clock)
    first, second = a_live(), a_live()
    real = os.pwrite

    def torn(fd: int, data: bytes | bytearray, at: int) -> int:
        return real(fd, bytes(data)[: len(data) - 10], at)

    def refuse(fd: int, data: bytes | bytearray, at: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal_module.os, "pwrite", refuse)
    write(writer, first)
    clock.move(1)
    monkeypatch.setattr(journal_module.os, "pwrite", torn)
    write(writer, second)
    assert read_all(the_journal(tmp_path))[0] == [first]
    clock.move(1)
    monkeypatch.setattr(journal_module.os, "pwrite", real)
    write(writer, a_tick())
    assert read_all(the_journal(tmp_path)) == ([first, second, a_tick()], [], False)
    assert writer.dropped == 0


def test_what_a_refusing_disk_leaves_behind_is_bounded(tmp_path: Path) -> None:
    writer = a_writer(tmp_path / "no" / "journal")
    root = tmp_path / "file"
    root.write_text("not a folder")
    lost = a_writer(root / "journal")
    body, enough = bytes(KEPT_BYTES // 50), 52  # the last that fits goes over the bound, and its open frame comes before it
    for _ in range(100):
        write(lost, an_open(), a_live(request_body=body))
    assert 2 * (100 - enough) <= lost.dropped <= 100
    write(writer, a_tick())
    assert writer.dropped == 0


def test_a_folder_that_could_not_be_made_is_made_later(tmp_path: Path) -> None:
    blocker = tmp_path / "state"
    blocker.write_text("in the way")
    writer = a_writer(blocker / "journal")
    live = a_live()
    write(writer, live)
    blocker.unlink()
    write(writer, a_tick())
    assert read_all(the_journal(blocker / "journal"))[0] == [live, a_tick()]


def test_text_that_is_no_unicode_is_written_escaped(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    write(writer, a_live(path="/caf\udce9", request_headers=(("x-\udcff", "y"),)))
    (live,) = read_all(the_journal(tmp_path))[0]
    assert isinstance(live, Live)
    assert live.path == "/caf\\udce9"
    assert live.request_headers == (("x-\\udcff", "y"),)


def test_what_cannot_be_encoded_is_not_carried_for_ever(tmp_path: Path) -> None:
    clock = TestClock()
    writer = JournalWriter.create(tmp_path, clock=clock, spool_max_bytes=1 << 30, rotation=Rotation(segment_s=60.0))
    too_late = a_side(end_us=1 << 70)
    opened, live = an_open(), a_live()
    with pytest.raises(OverflowError):
        write(writer, opened, a_live(opened.exchange_id, side=too_late))
    with pytest.raises(OverflowError):
        write(writer, live, a_pair(live, too_late))
    clock.move(61)
    write(writer, a_tick(61))
    assert the_journal(tmp_path).segments() == [0, 1]
    assert read_all(the_journal(tmp_path), Offset(1, 0)) == ([], [], False)


def test_close_frees_the_lock(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    writer.live(a_live(an_id()))
    journal = the_journal(tmp_path)
    assert not journal.is_dead()
    writer.close()
    assert journal.is_dead()
    frames, _, finished = read_all(journal)
    assert (len(frames), finished) == (1, True)
    assert not any(isinstance(f, Tick) for f in frames)
