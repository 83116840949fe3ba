"""One journal's way into the store: exactly once, whatever fails between two steps."""

import random
import shutil
from pathlib import Path

import pytest

from canary.courier.watch import PlanWatch, ReplacedDatabase
from canary.errors import DataRefused, StaleRevision, StoreAway, StoreError
from canary.stats.cells import METRIC_SHIFT, from_bytes
from canary.stats.values import FIRST_VALUE
from canary.store.frames import Frame, Live, Open, Pair
from canary.store.journal import JournalWriter
from canary.store.rows import RecordBatch
from canary.terms import Arm, Ending, Fault, MirrorDrop, RouteKind
from tests.support.courier import FakeRecords, Surroundings, a_plan_in_force, a_rollout, carried, recording
from tests.support.frames import a_live, a_pair, a_side, a_tick, a_writer, an_id, an_open, the_journal, write


def _story(count: int, seed: int = 1) -> list[Frame]:
    """Exchanges that overlap: some stay open, some wait for their pair, some have no copy."""
    chance = random.Random(seed)
    frames: list[Frame] = []
    under_way: list[list[Frame]] = []
    for _ in range(count):
        exchange_id = an_id()
        copied = chance.random() < 0.7
        drop = MirrorDrop.NONE if copied else MirrorDrop.SLOTS
        live = a_live(exchange_id, mirror="v2" if copied else "", mirror_drop=drop, side=a_side(body=b"x" * 200))
        ahead: list[Frame] = [an_open(exchange_id), live, *([a_pair(live)] if copied else [])]
        frames.append(ahead.pop(0))
        under_way.append(ahead)
        while len(under_way) > 8:
            queue = chance.choice(under_way)
            frames.append(queue.pop(0))
            if not queue:
                under_way.remove(queue)
    return frames


def _promised(frames: list[Frame]) -> tuple[set[bytes], set[bytes], set[bytes]]:
    """Ids of opens, of whole answers, of sent copies."""
    opens = {f.exchange_id for f in frames if isinstance(f, Open)}
    lives = {f.exchange_id for f in frames if isinstance(f, Live)}
    return opens, lives, {f.exchange_id for f in frames if isinstance(f, Live) and f.mirror}


def _assert_exactly_once(records: FakeRecords, frames: list[Frame]) -> None:
    opens, lives, copies = _promised(frames)
    paired = {f.live.exchange_id for f in frames if isinstance(f, Pair)}
    rows = [row.exchange_id for row in records.outcomes]
    assert len(rows) == len(set(rows))
    assert set(rows) == opens | lives
    assert {row.exchange_id for row in records.outcomes if row.ending is Ending.LOST} == opens - lives
    pair_rows = [row.exchange_id for row in records.pairs]
    assert len(pair_rows) == len(set(pair_rows))
    assert set(pair_rows) == copies
    assert {row.exchange_id for row in records.pairs if row.lost} == copies - paired


def _totals(records: FakeRecords) -> dict[int, int]:
    totals: dict[int, int] = {}
    for cells in records.counters.values():
        for key, count in from_bytes(cells).items():
            totals[key] = totals.get(key, 0) + count
    return totals


def _of_contrasts(records: FakeRecords) -> dict[int, int]:
    """Totals without the cells of values."""
    return {key: count for key, count in _totals(records).items() if key >> METRIC_SHIFT < FIRST_VALUE}


async def test_an_exchange_makes_one_row_and_one_pair(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    writer = a_writer(around.spool)
    live = a_live(side=a_side(body=b"same"), unit_hash=b"12345678", path="/v1/chat")
    write(writer, an_open(live.exchange_id), live, a_pair(live, a_side("v2", status=503, body=b"other")), a_tick())
    await carried(around.tail(the_journal(around.spool)))
    (row,), (pair,) = around.records.outcomes, around.records.pairs
    assert (row.route, row.rollout, row.version, row.arm, row.bucket, row.path) == (
        "chat",
        "r1",
        "v1",
        Arm.STABLE,
        4_711,
        "/v1/chat",
    )
    assert (row.failed, row.fault, row.latency_us, row.end_us, row.mirror) == (False, Fault.NONE, 19_800, 20_000, "v2")
    assert (pair.live_version, pair.shadow_version, pair.same_status, pair.same_body) == ("v1", "v2", False, False)
    assert (pair.live_failed, pair.shadow_failed, pair.lost) == (False, True, False)
    assert around.records.commits[-1].tick_at_us == a_tick().at_us


async def test_starts_ends_and_profile_are_counted(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    writer = a_writer(around.spool)
    for _ in range(3):
        live = a_live()
        write(writer, an_open(live.exchange_id), live, a_pair(live))
    write(writer, an_open())
    await carried(around.tail(the_journal(around.spool)))
    # 4 starts, 4 meant copies, 3 ends, 3 pair ends
    assert sorted(_of_contrasts(around.records).values()) == [3, 3, 4, 4]
    ((route, version_hash, _, _), cells), *none = around.records.profiles.items()
    assert (route, version_hash, none) == ("chat", "hash-v1", [])
    assert sum(from_bytes(cells).values()) == 12  # latency, age, client_error and abandoned of three answers


async def test_a_candidate_and_an_unscored_exchange_make_no_profile(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    writer = a_writer(around.spool)
    write(writer, a_live(arm=Arm.CANDIDATE, mirror=""), a_live(segment=0, mirror="", side=a_side("v9")))
    await carried(around.tail(the_journal(around.spool)))
    assert len(around.records.outcomes) == 2
    assert around.records.profiles == {}
    assert around.records.counters == {}


async def test_a_segment_that_no_plan_knows_makes_rows_and_no_counts(tmp_path: Path) -> None:
    around = Surroundings(tmp_path, a_plan_in_force())
    writer = a_writer(around.spool)
    live = a_live()
    write(writer, an_open(live.exchange_id), live, a_pair(live))
    tail = around.tail(the_journal(around.spool))
    await carried(tail)
    assert [row.rollout for row in around.records.outcomes] == [""]
    assert around.records.counters == {}
    looks = around.plans.looks
    write(writer, an_open())
    await carried(tail)
    assert around.plans.looks == looks  # looked for once


async def test_a_new_segment_is_read_from_the_plan_before_its_frames_are_folded(tmp_path: Path) -> None:
    around = Surroundings(tmp_path, a_plan_in_force())
    writer = a_writer(around.spool)
    tail = around.tail(the_journal(around.spool))
    write(writer, a_tick())
    await carried(tail)
    around.plans.plan = a_plan_in_force(a_rollout(), revision=6)
    write(writer, an_open())
    await carried(tail)
    assert next(iter(around.records.counters))[0] == "r1"


async def test_rotation_and_release_count_nothing_twice(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    writer = a_writer(around.spool, segment_bytes=2_000)
    journal = the_journal(around.spool)
    tail = around.tail(journal)
    frames = _story(200)
    for frame in frames:
        write(writer, frame)
        await carried(tail)
    await carried(tail)
    assert len(journal.segments()) == 1
    assert journal.segments()[0] > 5
    writer.close()
    await carried(tail)
    assert tail.finished
    assert not journal.path.exists()
    _assert_exactly_once(around.records, frames)


@pytest.mark.parametrize("seed", range(6))
async def test_exactly_once_under_courier_deaths_between_any_two_steps(tmp_path: Path, seed: int) -> None:
    around, quiet = Surroundings(tmp_path / "a"), Surroundings(tmp_path / "b")
    chance = random.Random(seed)

    def stumble(_batch: RecordBatch) -> None:
        if chance.random() < 0.3:
            raise StoreAway("gone")

    around.records.before = around.records.after = stumble
    frames = _story(150, seed)
    for where in (around, quiet):
        writer = a_writer(where.spool, segment_bytes=3_000)
        await _carry_with_deaths(where, writer, frames=frames, chance=chance if where is around else None)
    _assert_exactly_once(around.records, frames)
    assert _totals(around.records) == _totals(quiet.records)
    assert [*around.records.profiles.values()] == [*quiet.records.profiles.values()]


async def _carry_with_deaths(
    where: Surroundings, writer: JournalWriter, *, frames: list[Frame], chance: random.Random | None
) -> None:
    journal = the_journal(where.spool)
    tail = where.tail(journal)
    for frame in frames:
        write(writer, frame)
        if chance and chance.random() < 0.1:
            tail = where.tail(journal)  # the courier died; a new one begins
        try:
            await tail.step()
        except (StoreAway, StaleRevision):
            continue
    writer.close()
    for _ in range(1_000):
        if tail.finished:
            return
        try:
            await tail.step()
        except (StoreAway, StaleRevision):
            tail = tail if chance and chance.random() < 0.5 else where.tail(journal)
    raise AssertionError("the journal was not carried to its end")


async def test_while_the_store_is_away_the_journal_keeps_and_then_all_arrives(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    writer = a_writer(around.spool, segment_bytes=2_000)
    tail = around.tail(the_journal(around.spool))
    write(writer, a_tick())
    await carried(tail)

    def away(_batch: RecordBatch) -> None:
        raise StoreAway("away")

    around.records.before = away
    frames = _story(100)
    for frame in frames:
        write(writer, frame)
        with pytest.raises(StoreAway):
            await tail.step()
    around.records.before = lambda _batch: None
    await carried(tail)
    writer.close()
    await carried(tail)
    _assert_exactly_once(around.records, frames)


async def test_a_poison_frame_is_set_aside_counted_and_passed(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    writer = a_writer(around.spool)
    frames = _story(300)
    poison = a_live(path="/poison", mirror="")
    frames[100:100] = [an_open(poison.exchange_id), poison]
    write(writer, *frames)

    def refuse(batch: RecordBatch) -> None:
        if any(row.path == "/poison" for row in batch.outcomes):
            raise DataRefused("bad value")

    around.records.before = refuse
    tail = around.tail(the_journal(around.spool))
    await carried(tail)
    writer.close()
    await carried(tail)
    assert around.records.rejected == 1
    (kept,) = (tmp_path / "rejected").iterdir()
    assert b"/poison" in kept.read_bytes()
    frames.remove(poison)
    ids = {row.exchange_id for row in around.records.outcomes}
    opens, lives, _ = _promised(frames)
    assert ids == (opens | lives) - {poison.exchange_id}
    ends = len(lives) + 1  # its counts stay
    calm = Surroundings(tmp_path / "calm")
    writer = a_writer(calm.spool)
    write(writer, *frames, poison)
    writer.close()
    await carried(calm.tail(the_journal(calm.spool)))
    assert _totals(around.records) == _totals(calm.records)
    assert ends > 0


async def test_damaged_bytes_are_set_aside_and_a_pair_stands_in_for_its_damaged_live_frame(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    writer = a_writer(around.spool)
    live = a_live(path="/damaged")
    write(writer, an_open(live.exchange_id), live, a_pair(live), a_tick())
    journal = the_journal(around.spool)
    segment = journal.path / "000000.seg"
    raw = bytearray(segment.read_bytes())
    raw[raw.index(b"/damaged")] ^= 0xFF
    segment.write_bytes(raw)
    await carried(around.tail(journal))
    assert around.records.rejected == 1
    assert [row.exchange_id for row in around.records.outcomes] == [live.exchange_id]
    assert [row.exchange_id for row in around.records.pairs] == [live.exchange_id]
    assert len([*(tmp_path / "rejected").iterdir()]) == 1


async def test_a_database_that_forgot_this_journal_is_refused(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    writer = a_writer(around.spool)
    tail = around.tail(the_journal(around.spool))
    write(writer, a_tick(1))
    await carried(tail)
    around.records.offsets.clear()
    write(writer, a_tick(2))
    with pytest.raises(StaleRevision):
        await tail.step()
    with pytest.raises(ReplacedDatabase, match="was committed up to"):
        await tail.step()
    assert len(around.records.commits) == 1


async def test_another_database_under_a_live_spool_is_refused_also_after_a_restart(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    writer = a_writer(around.spool)
    write(writer, a_tick(1))
    await carried(around.tail(the_journal(around.spool)))
    around.plans.plan = a_plan_in_force(database_id="99999999-2222-3333-4444-555555555555")
    with pytest.raises(ReplacedDatabase, match="belong to database 11111111"):
        await around.tail(the_journal(around.spool)).step()
    assert len(around.records.commits) == 1


async def test_without_a_spool_another_database_is_taken(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    watch = PlanWatch(tmp_path, around.books)
    await watch.look()
    around.plans.plan = a_plan_in_force(database_id="99999999-2222-3333-4444-555555555555")
    await watch.look()
    writer = a_writer(around.spool)
    around.plans.plan = a_plan_in_force()
    with pytest.raises(StoreError, match="belong to database 99999999"):
        await watch.look()
    writer.close()


@pytest.mark.parametrize(("bodies", "rows"), [("full", 1), ("off", 0)])
async def test_bodies_reach_the_store_only_where_the_route_says_so(tmp_path: Path, bodies: str, rows: int) -> None:
    around = Surroundings(tmp_path, a_plan_in_force(a_rollout(), **recording(bodies)))
    writer = a_writer(around.spool)
    live = a_live(side=a_side(body=b"answer"), request_body=b"question")
    write(writer, an_open(live.exchange_id), live, a_pair(live, a_side("v2", body=b"other")))
    await carried(around.tail(the_journal(around.spool)))
    assert len(around.records.bodies) == rows


async def test_what_a_dead_worker_left_in_flight_is_lost_and_counted_as_failed(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    writer = a_writer(around.spool)
    opened, live = an_open(arm=Arm.CANDIDATE), a_live()
    write(writer, opened, an_open(live.exchange_id), live, a_tick())
    writer.close()
    tail = around.tail(the_journal(around.spool))
    await carried(tail)
    lost = next(row for row in around.records.outcomes if row.ending is Ending.LOST)
    assert (lost.exchange_id, lost.version, lost.failed, lost.fault) == (opened.exchange_id, "v2", True, Fault.OWN)
    (pair,) = around.records.pairs
    assert (pair.lost, pair.shadow_version, pair.same_body) == (True, "v2", None)
    assert around.records.commits[-1].dead
    assert sum(_of_contrasts(around.records).values()) == 6  # two starts, two meant copies, two ends; the pair stays open


async def test_an_end_after_its_minute_was_closed_makes_a_row_and_no_count(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)  # answers time out after 2 s
    writer = a_writer(around.spool)
    in_time, late = an_open(mirrored=False), an_open(mirrored=False)
    write(writer, in_time, late, a_tick(61), a_live(in_time.exchange_id, mirror=""))
    write(writer, a_tick(65), a_live(late.exchange_id, mirror=""))
    await carried(around.tail(the_journal(around.spool)))
    assert len(around.records.outcomes) == 2
    assert sorted(_of_contrasts(around.records).values()) == [1, 2]  # two starts, one end


async def test_an_error_inside_a_stream_is_seen_in_both_sides_of_a_pair(tmp_path: Path) -> None:
    around = Surroundings(tmp_path, a_plan_in_force(a_rollout(), **recording("off", RouteKind.LLM)))
    writer = a_writer(around.spool)
    stream = {"headers": (("content-type", "text/event-stream"),), "body": b'data: {"error": {"code": 1}}\n\n'}
    live = a_live(side=a_side(response_bytes=30))  # its body comes with the pair
    pair = a_pair(a_live(live.exchange_id, side=a_side(**stream)), a_side("v2", **stream))
    write(writer, an_open(live.exchange_id), live, pair)
    await carried(around.tail(the_journal(around.spool)))
    (row,) = around.records.pairs
    assert (row.live_failed, row.shadow_failed, row.same_body) == (True, True, True)


async def test_a_journal_committed_to_its_end_is_only_removed_when_a_courier_died_before_that(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    writer = a_writer(around.spool)
    live = a_live()
    write(writer, an_open(), an_open(live.exchange_id), live)
    writer.close()
    journal = the_journal(around.spool)
    shutil.copytree(journal.path, tmp_path / "kept")
    await carried(around.tail(journal))
    (tmp_path / "kept").rename(journal.path)
    commits = len(around.records.commits)
    tail = around.tail(journal)
    await carried(tail)
    assert tail.finished
    assert not journal.path.exists()
    assert len(around.records.commits) == commits
