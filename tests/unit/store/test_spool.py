"""The journal's reading side."""

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from canary.store.frames import FrameKind, Live, Open
from canary.store.framing import DECODERS, HEADER_BYTES, SEGMENT_HEADER_BYTES, frame_bytes, payload_of
from canary.store.spool import JournalDir, Offset, journals, sweep
from tests.support.frames import a_live, a_pair, a_side, a_tick, a_writer, an_open, read_all, the_journal, write


def _segment(journal: JournalDir, number: int = 0) -> Path:
    return journal.path / f"{number:06d}.seg"


def test_an_offset_is_one_number() -> None:
    assert Offset.of(Offset(3, 77).to_int()) == Offset(3, 77)
    assert Offset(2, 0) > Offset(1, 1 << 30)
    assert Offset(1 << 22, (1 << 40) - 1).to_int() < 1 << 63


def test_reading_goes_on_where_it_ended(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    journal = the_journal(tmp_path)
    write(writer, a_tick(1))
    batch = journal.read(Offset())
    assert batch.frames == [a_tick(1)]
    assert batch.ends == [batch.next_offset.to_int()]
    assert journal.read(batch.next_offset).frames == []
    write(writer, a_tick(2))
    assert journal.read(batch.next_offset).frames == [a_tick(2)]


def test_a_read_is_bounded_by_frames_and_by_bytes(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    ticks = [a_tick(i) for i in range(50)]
    large = a_live(side=a_side(body=b"x" * 5_000))
    write(writer, *ticks, large, a_tick(51))
    journal = the_journal(tmp_path)
    assert journal.read(Offset(), max_frames=7).frames == ticks[:7]
    offset, found = Offset(), []
    for _ in range(100):
        batch = journal.read(offset, max_bytes=100)
        found += batch.frames
        offset = batch.next_offset
    assert found == [*ticks, large, a_tick(51)]


def test_a_read_says_whether_a_bound_ended_it(tmp_path: Path) -> None:
    writer = a_writer(tmp_path, segment_bytes=2_000)
    journal = the_journal(tmp_path)
    write(writer, *[a_tick(i) for i in range(10)])
    assert not journal.read(Offset()).more
    assert journal.read(Offset(), max_frames=9).more
    assert journal.read(Offset(), max_bytes=100).more
    write(writer, a_live(side=a_side(body=b"x" * 5_000)), a_tick(11))
    assert journal.segments() == [0, 1]
    assert journal.read(Offset()).more  # the next segment
    assert not journal.read(Offset(1, 0)).more


def test_a_torn_tail_is_waited_for_in_a_living_journal_and_cut_in_a_dead_one(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    write(writer, a_tick(1))
    journal = the_journal(tmp_path)
    with _segment(journal).open("ab") as file:
        file.write(frame_bytes(a_live())[:-3])
    assert read_all(journal) == ([a_tick(1)], [], False)
    writer.close()
    assert read_all(journal) == ([a_tick(1)], [], True)


def test_a_damaged_frame_is_reported_with_its_bytes_and_the_others_are_read(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    damaged = a_live(path="/damaged")
    write(writer, a_tick(1), damaged, a_tick(2))
    journal = the_journal(tmp_path)
    raw = bytearray(_segment(journal).read_bytes())
    at = raw.index(b"/damaged")
    raw[at] ^= 0xFF
    _segment(journal).write_bytes(raw)
    frames, (bad,), _ = read_all(journal)
    assert frames == [a_tick(1), a_tick(2)]
    begin = SEGMENT_HEADER_BYTES + len(frame_bytes(a_tick(1)))
    assert bad.offset == Offset(0, begin)
    assert bad.raw == bytes(raw[begin : begin + len(frame_bytes(damaged))])
    assert "checksum" in bad.reason


def test_a_damaged_length_costs_one_frame(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    write(writer, a_tick(1), a_tick(2), a_tick(3))
    writer.close()
    journal = the_journal(tmp_path)
    raw = bytearray(_segment(journal).read_bytes())
    raw[SEGMENT_HEADER_BYTES + 7] = 0x05  # the length's highest byte: it now reaches far past the file
    _segment(journal).write_bytes(raw)
    frames, bad, finished = read_all(journal)
    assert frames == [a_tick(2), a_tick(3)]
    assert (len(bad), finished) == (1, True)


def test_a_body_that_looks_like_a_frame_is_not_taken_for_one(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    forged = frame_bytes(a_live(path="/forged"))
    carrier = a_live(path="/carrier", side=a_side(body=forged))
    write(writer, carrier, a_tick(2))
    journal = the_journal(tmp_path)
    raw = bytearray(_segment(journal).read_bytes())
    raw[raw.index(b"/carrier")] ^= 0xFF
    _segment(journal).write_bytes(raw)
    frames, bad, _ = read_all(journal)
    assert frames == [a_tick(2)]
    assert len(bad) == 1


def test_a_frame_of_a_later_format_is_set_aside(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    write(writer, a_tick(1), a_tick(2), a_tick(3))
    journal = the_journal(tmp_path)
    raw = bytearray(_segment(journal).read_bytes())
    raw[SEGMENT_HEADER_BYTES + len(frame_bytes(a_tick(1))) + 3] = 99  # its kind
    _segment(journal).write_bytes(raw)
    frames, (bad,), _ = read_all(journal)
    assert frames == [a_tick(1), a_tick(3)]
    assert len(bad.raw) == len(frame_bytes(a_tick(2)))


@pytest.mark.parametrize("dead", [False, True])
def test_garbage_larger_than_a_read_does_not_stop_the_reader(tmp_path: Path, dead: bool) -> None:
    writer = a_writer(tmp_path)
    write(writer, a_tick(1))
    journal = the_journal(tmp_path)
    with _segment(journal).open("ab") as file:
        file.write(b"\x07" * 10_000 + frame_bytes(a_tick(2)))
    if dead:
        writer.close()
    offset, found, lost = Offset(), [], 0
    for _ in range(60):
        batch = journal.read(offset, max_bytes=1_000)
        found += batch.frames
        lost += sum(len(bad.raw) for bad in batch.bad)
        offset = batch.next_offset
    assert found == [a_tick(1), a_tick(2)]
    assert lost == 10_000
    assert batch.finished is dead


def test_rotation_is_followed_and_committed_segments_go(tmp_path: Path) -> None:
    writer = a_writer(tmp_path, segment_bytes=300)
    lives = [a_live(mirror="") for _ in range(12)]
    for live in lives:
        write(writer, live)
    journal = the_journal(tmp_path)
    assert len(journal.segments()) > 2
    assert read_all(journal)[0] == lives
    last = journal.segments()[-1]
    journal.release(Offset(last, 0))
    assert journal.segments() == [last]
    # a reader that asks for what was released goes on with what is there
    assert read_all(journal, Offset(0, SEGMENT_HEADER_BYTES))[0] == read_all(journal, Offset(last, 0))[0]


def test_recall_gives_what_stands_before_the_offset_in_its_segment(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    opened, live = an_open(), a_live()
    write(writer, opened, live, a_pair(live), a_tick())
    journal = the_journal(tmp_path)
    ends = journal.read(Offset()).ends
    assert list(journal.recall(Offset())) == []
    assert list(journal.recall(Offset.of(ends[1]))) == [opened, live]
    frames = list(journal.recall(Offset.of(ends[3])))
    assert [type(f) for f in frames[:2]] == [Open, Live]
    assert len(frames) == 4


def test_recall_stops_inside_a_large_segment(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    ticks = [a_tick(i) for i in range(5_000)]
    write(writer, *ticks)
    journal = the_journal(tmp_path)
    size = len(frame_bytes(a_tick(0)))
    assert size > HEADER_BYTES
    assert list(journal.recall(Offset(0, SEGMENT_HEADER_BYTES + 4_500 * size))) == ticks[:4_500]


def test_a_dead_journal_can_be_removed_and_a_living_one_keeps_its_lock(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    (journal,) = journals(tmp_path)
    assert not journal.is_dead()
    assert not journal.is_dead()  # asking does not take the lock away
    writer.close()
    assert journal.is_dead()
    journal.remove()
    assert journals(tmp_path) == []


def test_folders_that_never_got_their_name_are_swept_after_a_minute(tmp_path: Path) -> None:
    hidden = tmp_path / ".new-0123"
    hidden.mkdir()
    (hidden / "lock").touch()
    made_at = hidden.stat().st_mtime
    sweep(tmp_path, now_s=made_at + 30)
    assert hidden.exists()
    assert journals(tmp_path) == []
    sweep(tmp_path, now_s=made_at + 90)
    assert not hidden.exists()


def test_live_frames_keep_every_field(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    live = a_live(
        unit_hash=b"12345678",
        request_headers=(("user-agent", "é"),),
        request_body=bytes(range(256)),
        request_body_truncated=True,
        side=a_side(headers=(("content-type", "text/plain"),), chunks=(1, 2, 3), body=b"\x00\xff", body_truncated=True),
    )
    write(writer, live)
    (found,) = read_all(the_journal(tmp_path))[0]
    assert isinstance(found, Live)
    assert found == live


def test_open_frames_keep_the_unit_and_those_of_before_have_none(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    opened = an_open(unit_hash=b"12345678")
    write(writer, opened)
    assert read_all(the_journal(tmp_path))[0] == [opened]
    as_before = msgspec.msgpack.encode(msgspec.msgpack.decode(payload_of(opened))[:7])
    assert DECODERS[FrameKind.OPEN].decode(as_before) == replace(opened, unit_hash=b"")
