"""Any frames, cut or damaged anywhere: readers find what is whole, and never anything else."""

import itertools
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canary.store.frames import Frame, Live, Open, Pair, Side, Tick
from canary.store.framing import SEGMENT_HEADER_BYTES, frame_bytes
from canary.store.spool import Batch, JournalDir, Offset
from canary.terms import Arm, AssignedBy, Ending, MirrorDrop
from tests.support.frames import a_writer, read_all, the_journal, write

ids = st.binary(min_size=16, max_size=16)
instants = st.integers(0, 2**52)
durations = st.integers(-1, 2**40)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
headers = st.lists(st.tuples(words, words), max_size=3).map(tuple)
opens = st.builds(
    Open, ids, st.integers(1, 2**31), st.integers(0, 127), st.sampled_from(Arm), instants, st.booleans(), st.just(False)
)
sides = st.builds(
    Side,
    words,
    st.sampled_from(Ending),
    st.integers(0, 599),
    *([durations] * 4),
    st.integers(0, 9),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    headers,
    st.lists(st.integers(0, 2**40), max_size=4).map(tuple),
    st.binary(max_size=200),
    st.booleans(),
)
lives = st.builds(
    Live,
    ids,
    words,
    st.integers(0, 2**31),
    st.integers(0, 127),
    st.sampled_from(Arm),
    st.sampled_from(AssignedBy),
    instants,
    st.binary(max_size=8),
    st.integers(0, 9_999),
    st.integers(0, 10_000),
    words,
    words,
    sides,
    st.sampled_from(["", "v2"]),
    st.sampled_from(MirrorDrop),
    headers,
    st.binary(max_size=50),
    st.booleans(),
)
ticks = st.builds(Tick, instants, st.integers(0, 2**40), st.integers(0, 2**40))
frames = st.lists(st.one_of(opens, lives, ticks, st.builds(Pair, lives, sides)), max_size=12, unique_by=repr)
slow = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def _journal(folder: str, story: list[Frame], *, segment_bytes: int = 1 << 20) -> JournalDir:
    """A dead journal of these frames; a pair's live frame goes before it, as the writer demands."""
    writer = a_writer(Path(folder), segment_bytes=segment_bytes)
    for frame in story:
        write(writer, *([_copied(frame.live)] if isinstance(frame, Pair) else []), frame)
    writer.close()
    return the_journal(Path(folder))


def _copied(live: Live) -> Live:
    return Live(**{name: getattr(live, name) for name in live.__struct_fields__} | {"mirror": "v2"})


def _expected(story: list[Frame]) -> list[Frame]:
    return [part for frame in story for part in ([_copied(frame.live), frame] if isinstance(frame, Pair) else [frame])]


@slow
@given(frames)
def test_frames_come_back_as_they_were(story: list[Frame]) -> None:
    with TemporaryDirectory() as folder:
        assert read_all(_journal(folder, story)) == (_expected(story), [], True)


@slow
@given(frames, st.data())
def test_a_journal_cut_at_any_byte_yields_a_prefix(story: list[Frame], data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        journal = _journal(folder, story)
        segment = journal.path / "000000.seg"
        cut = data.draw(st.integers(0, segment.stat().st_size))
        os.truncate(segment, cut)
        found, bad, finished = read_all(journal)
        expected = _expected(story)
        assert found == expected[: len(found)]
        assert (bad, finished) == ([], True)
        whole, at = 0, SEGMENT_HEADER_BYTES
        for frame in expected:
            at += len(frame_bytes(frame))
            whole += at <= cut
        assert len(found) == whole


@slow
@given(frames.filter(bool), st.data())
def test_a_damaged_byte_costs_at_most_the_frame_it_is_in(story: list[Frame], data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        journal = _journal(folder, story)
        segment = journal.path / "000000.seg"
        raw = bytearray(segment.read_bytes())
        at = data.draw(st.integers(SEGMENT_HEADER_BYTES, len(raw) - 1))
        raw[at] ^= data.draw(st.integers(1, 255))
        segment.write_bytes(raw)
        found, bad, finished = read_all(journal)
        expected = _expected(story)
        ends = list(itertools.accumulate((len(frame_bytes(f)) for f in expected), initial=SEGMENT_HEADER_BYTES))
        hit = next(i for i, end in enumerate(ends[1:]) if end > at)
        assert finished
        assert found == expected[:hit] + expected[hit + 1 :]
        lost_tail = hit == len(expected) - 1  # damage in the last frame's length may look like a torn tail
        assert len(bad) == 1 or (lost_tail and not bad)


@slow
@given(frames, st.integers(1, 5), st.integers(40, 400))
def test_the_size_of_a_read_changes_nothing(story: list[Frame], max_frames: int, max_bytes: int) -> None:
    with TemporaryDirectory() as folder:
        journal = _journal(folder, story)
        found: list[Frame] = []
        ends: list[int] = []
        batch = Batch([], [], [], Offset())
        while not batch.finished:
            batch = journal.read(batch.next_offset, max_frames=max_frames, max_bytes=max_bytes)
            found += batch.frames
            ends += batch.ends
        assert found == _expected(story)
        for count, end in enumerate(ends, 1):
            assert [*journal.recall(Offset.of(end))] == found[:count]


@slow
@given(frames, st.integers(100, 2_000))
def test_rotation_adds_carried_copies_and_takes_nothing_away(story: list[Frame], segment_bytes: int) -> None:
    with TemporaryDirectory() as folder:
        journal = _journal(folder, story, segment_bytes=segment_bytes)
        found, bad, finished = read_all(journal)
        assert (bad, finished) == ([], True)
        assert [f for f in found if not getattr(f, "carried", False)] == _expected(story)
