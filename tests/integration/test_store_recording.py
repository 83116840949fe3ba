"""The contract of the recorder and the counter book: exactly once, cumulative, by database time."""

import msgspec
import pytest

from canary.errors import StaleRevision
from canary.ports import CounterBook
from canary.stats.counts import Horizon, to_bytes
from canary.store.rows import CounterDelta, JournalState, ProfileDelta
from tests.support.books import Books
from tests.support.store_rows import START_US, a_batch, an_outcome_row, this_hour

MINUTE = START_US // 60_000_000
HOUR = START_US // 3_600_000_000


def cells(**counts: int) -> bytes:
    """Cells by number: c3=5 is five of cell 3."""
    return to_bytes({int(name[1:]): count for name, count in counts.items()})


def counter(count: int, *, rollout: str = "r1", segment: int = 7, minute: int = MINUTE) -> CounterDelta:
    """A row with one cell."""
    return CounterDelta(rollout, segment, minute, cells(c3=count))


async def seen(counters: CounterBook, since: int = 0, rollout: str = "r1") -> tuple[list[tuple[str, int, bytes]], int]:
    """What a reader gets: (journal, minute, cells) and the newest revision."""
    rows, newest = await counters.read(rollout, since=since)
    return sorted((row.journal, row.minute, row.cells) for row in rows), newest


async def test_an_unknown_journal_begins_at_nought(books: Books) -> None:
    assert await books.recorder.load("j1") == JournalState()
    assert await books.counters.horizons("r1") == []
    assert await books.counters.freshness("r1") is None
    assert (await books.counters.profile("chat", "hash")).n == 0


async def test_a_commit_moves_the_offset_and_comes_back(books: Books) -> None:
    await books.recorder.commit(a_batch(0, 100, counters=[counter(5)]))
    await books.recorder.commit(a_batch(100, 250, tick_at_us=START_US + 1_000_000, counters=[counter(8)]))
    state = await books.recorder.load("j1")
    assert (state.offset, state.tick_at_us, state.dead) == (250, START_US + 1_000_000, False)
    assert state.counters == [counter(8)]


@pytest.mark.parametrize("wrong", [0, 50, 200])
async def test_a_wrong_offset_writes_nothing(books: Books, wrong: int) -> None:
    await books.recorder.commit(a_batch(0, 100, counters=[counter(5)]))
    with pytest.raises(StaleRevision):
        await books.recorder.commit(a_batch(wrong, 300, counters=[counter(99)], outcomes=[an_outcome_row()]))
    assert (await books.recorder.load("j1")).offset == 100
    assert (await seen(books.counters))[0] == [("j1", MINUTE, cells(c3=5))]


async def test_a_new_journal_must_begin_at_nought(books: Books) -> None:
    with pytest.raises(StaleRevision):
        await books.recorder.commit(a_batch(40, 100))
    assert await books.recorder.load("j1") == JournalState()


async def test_counters_are_cumulative_and_read_by_what_grew(books: Books) -> None:
    await books.recorder.commit(a_batch(0, 1, counters=[counter(5), counter(1, minute=MINUTE + 1)]))
    rows, newest = await seen(books.counters)
    assert rows == [("j1", MINUTE, cells(c3=5)), ("j1", MINUTE + 1, cells(c3=1))]
    await books.recorder.commit(a_batch(1, 2, counters=[counter(2, minute=MINUTE + 1)]))
    rows, newer = await seen(books.counters, newest)
    assert rows == [("j1", MINUTE + 1, cells(c3=2))]
    assert (await seen(books.counters, newer)) == ([], newer)


async def test_readers_get_their_own_rollout_from_all_journals(books: Books) -> None:
    await books.recorder.commit(a_batch(0, 1, counters=[counter(5), counter(7, rollout="r2")]))
    await books.recorder.commit(a_batch(0, 1, journal="j2", counters=[counter(6)]))
    assert (await seen(books.counters))[0] == [("j1", MINUTE, cells(c3=5)), ("j2", MINUTE, cells(c3=6))]
    assert (await seen(books.counters, rollout="r2"))[0] == [("j1", MINUTE, cells(c3=7))]


async def test_horizons_say_how_far_each_journal_is(books: Books) -> None:
    await books.recorder.commit(a_batch(0, 1, counters=[counter(5)]))
    await books.recorder.commit(a_batch(0, 1, journal="j2", tick_at_us=START_US + 5, counters=[counter(6)]))
    await books.recorder.commit(a_batch(0, 1, journal="other"))
    await books.recorder.commit(a_batch(1, 2, journal="j2", tick_at_us=START_US + 5, dead=True))
    assert list(await books.counters.horizons("r1")) == [
        Horizon(journal="j1", tick_at_us=START_US, dead=False),
        Horizon(journal="j2", tick_at_us=START_US + 5, dead=True),
    ]


async def test_a_journal_without_a_tick_for_long_is_silent(books: Books) -> None:
    await books.recorder.commit(a_batch(0, 1, counters=[counter(5)]))
    await books.recorder.commit(a_batch(0, 1, journal="j2", tick_at_us=0, counters=[counter(6)]))
    assert [horizon.silent for horizon in await books.counters.horizons("r1")] == [False, True]
    await books.later(590)
    assert [horizon.silent for horizon in await books.counters.horizons("r1")] == [False, True]
    await books.later(20)
    await books.recorder.commit(a_batch(1, 2, journal="j2", tick_at_us=START_US))
    assert [horizon.silent for horizon in await books.counters.horizons("r1")] == [True, False]


async def test_a_tick_never_goes_back(books: Books) -> None:
    await books.recorder.commit(a_batch(0, 1, counters=[counter(5)]))
    await books.recorder.commit(a_batch(1, 2, tick_at_us=0))
    assert (await books.counters.horizons("r1"))[0].tick_at_us == START_US


async def test_freshness_is_the_age_of_the_last_tick_that_grew(books: Books) -> None:
    await books.recorder.commit(a_batch(0, 1, counters=[counter(5)]))
    await books.later(30)
    await books.recorder.commit(a_batch(1, 2))  # the same tick: frames, but no second passed in that journal
    age = await books.counters.freshness("r1")
    assert age is not None
    assert 30 <= age < 60
    await books.recorder.commit(a_batch(2, 3, tick_at_us=START_US + 1_000_000))
    age = await books.counters.freshness("r1")
    assert age is not None
    assert age < 20


async def test_a_restart_finds_two_hours_of_counters_and_two_of_profiles(books: Books) -> None:
    minutes = [MINUTE - 121, MINUTE - 120, MINUTE]
    hours = [HOUR - 2, HOUR - 1, HOUR]
    await books.recorder.commit(
        a_batch(
            0,
            1,
            counters=[counter(1, minute=minute) for minute in minutes],
            profiles=[ProfileDelta("chat", "h1", hour, cells(c1=1)) for hour in hours],
        )
    )
    state = await books.recorder.load("j1")
    assert [delta.minute for delta in state.counters] == minutes[1:]
    assert [delta.hour for delta in state.profiles] == hours[1:]


async def test_a_profile_sums_hours_and_journals_of_its_version(books: Books) -> None:
    hour, well = this_hour(), 3 << 16  # a well-ended answer's age
    one = to_bytes({well | 900: 2})
    await books.recorder.commit(
        a_batch(
            0,
            1,
            profiles=[
                ProfileDelta("chat", "h1", hour, one),
                ProfileDelta("chat", "h1", hour - 5, one),
                ProfileDelta("chat", "h1", hour - 30, one),
                ProfileDelta("chat", "h2", hour, one),
                ProfileDelta("other", "h1", hour, one),
            ],
        )
    )
    await books.recorder.commit(a_batch(0, 1, journal="j2", profiles=[ProfileDelta("chat", "h1", hour, one)]))
    assert (await books.counters.profile("chat", "h1")).n == 6
    assert (await books.counters.profile("chat", "h1", hours=2)).n == 4
    assert (await books.counters.profile("chat", "h1", hours=48)).n == 8
    await books.recorder.commit(
        a_batch(1, 2, journal="j2", profiles=[ProfileDelta("chat", "h1", hour, to_bytes({well | 900: 5}))])
    )
    assert (await books.counters.profile("chat", "h1")).n == 9


async def test_a_profile_knows_the_rate_of_its_whole_hours(books: Books) -> None:
    """Neither the first hour nor the present one is whole; an hour in which nothing came is one."""
    hour, well = this_hour(), 3 << 16
    counts = {0: 7, 2: 5, 3: 4, 4: 900}
    profiles = [ProfileDelta("chat", "h1", hour - ago, to_bytes({well | 900: n})) for ago, n in counts.items()]
    await books.recorder.commit(a_batch(0, 1, profiles=profiles))
    await books.recorder.commit(a_batch(0, 1, journal="j2", profiles=[ProfileDelta("chat", "h2", hour, to_bytes({well: 50}))]))
    per_s = (await books.counters.profile("chat", "h1")).per_s
    assert per_s is not None
    assert round(per_s * 3_600, 6) in {3.0, 4.0}  # 9 in 3 hours, and 16 in 4 where an hour ended meanwhile
    assert (await books.counters.profile("chat", "h2")).per_s is None


async def test_a_batch_is_a_value() -> None:
    batch = a_batch()
    with pytest.raises(AttributeError):
        batch.offset = 3
    assert msgspec.structs.replace(batch, offset=3).offset == 3
