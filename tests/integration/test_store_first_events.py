"""The contract of first events in the store: the earliest of each unit and metric, with its batch or not at all."""

import pytest

from canary.errors import Deposed, StaleRevision
from canary.ports import Fence
from canary.stats.first_event import FirstEventRow
from canary.stats.unit_events import BLOCK_US
from canary.store import first_events
from canary.terms import Arm
from tests.support.books import Books
from tests.support.store_rows import a_batch


def an_event(start_at_us: int, *, unit: bytes = b"unit-one", metric: str = "error", rollout: str = "r1") -> FirstEventRow:
    """A failure of the candidate's in segment 7."""
    return FirstEventRow(rollout, metric, unit, start_at_us, 7, Arm.CANDIDATE)


async def starts(books: Books, since: int = 0) -> tuple[list[tuple[bytes, str, int, str]], int]:
    """What a reader gets: (unit, metric, start, journal) and the newest revision."""
    rows, newest = await books.counters.first_events("r1", since=since)
    return sorted((row.unit_hash, row.metric, row.start_at_us, row.journal) for row in rows), newest


async def test_the_earliest_stays_whatever_the_order_and_the_journal(books: Books) -> None:
    await books.recorder.commit(a_batch(0, 1, first_events=[an_event(50), an_event(40), an_event(45)]))
    assert (await starts(books))[0] == [(b"unit-one", "error", 40, "j1")]
    await books.recorder.commit(a_batch(0, 1, journal="j2", first_events=[an_event(30)]))
    await books.recorder.commit(a_batch(1, 2, first_events=[an_event(35)]))
    assert (await starts(books))[0] == [(b"unit-one", "error", 30, "j2")]


async def test_units_metrics_and_rollouts_do_not_meet(books: Books) -> None:
    events = [an_event(5), an_event(6, unit=b"unit-two"), an_event(7, metric="unit:7"), an_event(1, rollout="r2")]
    await books.recorder.commit(a_batch(0, 1, first_events=events))
    assert (await starts(books))[0] == [
        (b"unit-one", "error", 5, "j1"),
        (b"unit-one", "unit:7", 7, "j1"),
        (b"unit-two", "error", 6, "j1"),
    ]
    (row,) = (await books.counters.first_events("r2"))[0]
    assert (row.segment, row.arm) == (7, Arm.CANDIDATE)


async def test_a_reader_gets_what_is_new_and_a_later_event_is_no_news(books: Books) -> None:
    await books.recorder.commit(a_batch(0, 1, first_events=[an_event(50)]))
    _, newest = await starts(books)
    await books.recorder.commit(a_batch(1, 2, first_events=[an_event(60), an_event(9, unit=b"unit-two")]))
    assert (await starts(books, newest))[0] == [(b"unit-two", "error", 9, "j1")]


@pytest.mark.parametrize("wrong", [0, 9])
async def test_a_batch_that_is_refused_leaves_no_event(books: Books, wrong: int) -> None:
    await books.recorder.commit(a_batch(0, 1))
    with pytest.raises(StaleRevision):
        await books.recorder.commit(a_batch(wrong, 10, first_events=[an_event(5)]))
    assert (await starts(books))[0] == []


async def test_of_each_metric_only_the_smallest_starts_are_read(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_events, "MOST_READ", 2)
    events = [
        an_event(start, unit=b"unit-%03d" % start, metric=metric) for metric in ("error", "unit:7") for start in (9, 5, 7)
    ]
    await books.recorder.commit(a_batch(0, 1, first_events=events))
    found, newest = await starts(books)
    assert [(metric, start) for _, metric, start, _ in found] == [("error", 5), ("unit:7", 5), ("error", 7), ("unit:7", 7)]
    await books.recorder.commit(a_batch(1, 2, first_events=[an_event(6, unit=b"unit-new")]))
    assert [start for _, _, start, _ in (await starts(books, newest))[0]] == [6]


async def test_first_failures_of_blocks_that_no_bet_begins_with_any_more_go_with_the_old_minutes(books: Books) -> None:
    events = [
        an_event(block * BLOCK_US + 5, metric=f"error@{block}", rollout=rollout)
        for block in (10, 11, 12, 100)
        for rollout in ("r1", "r2")
    ]
    await books.recorder.commit(a_batch(0, 1, first_events=[*events, an_event(10 * BLOCK_US + 5)]))
    lease = await books.leases.acquire("control", "one", 3_600)
    assert lease is not None
    fence = Fence(name="control", epoch=lease.epoch)
    for minute, left in ((118, ["error", "error@100", "error@11", "error@12"]), (119, ["error", "error@100", "error@12"])):
        await books.counters.fold("r1", fence=fence, minute=minute, seen=2**40)
        assert sorted(metric for _, metric, _, _ in (await starts(books))[0]) == left
    assert len((await books.counters.first_events("r2"))[0]) == 4
    with pytest.raises(Deposed):
        await books.counters.fold("r1", fence=Fence(name="control", epoch=fence.epoch + 1), minute=500, seen=2**40)
    assert len((await starts(books))[0]) == 3
