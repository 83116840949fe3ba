"""The contract of closing: counts move, and at every moment each of them is in exactly one place."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from canary.errors import CountersMoved, Deposed
from canary.ports import Fence, Moved
from canary.stats.cells import END, SECOND_SHIFT, START, WHOLE_MINUTE, from_bytes, pack, part_of, to_bytes
from canary.stats.counts import CounterRow, Horizon
from canary.store.rows import CounterDelta
from tests.support.books import Books
from tests.support.counter_reader import Reader, Sums
from tests.support.deadline import wait_for_answer
from tests.support.store_rows import a_batch

MINUTE_US = 60_000_000
MINUTE = 29_000_000
SETTLE_US = 65_000_000
CLOSED_AT_US = (MINUTE + 1) * MINUTE_US + SETTLE_US
"""Tick at which the first minute is closed."""


def a_key(metric: int = START, *, second: int = 0, bin_index: int = 0) -> int:
    """A cell of the candidate."""
    return pack(metric=metric, stratum=0, arm=1, second=second, bin_index=bin_index)


def a_delta(count: int, *, minute: int = MINUTE, segment: int = 7, second: int = 0) -> CounterDelta:
    """A part with so many starts in one second."""
    key = a_key(second=second)
    return CounterDelta("r1", segment, minute, to_bytes({key: count}), part_of(key))


async def a_fence(books: Books, holder: str = "one") -> Fence:
    """The lease of a leader."""
    lease = await books.leases.acquire("control", holder, 3_600)
    assert lease is not None
    return Fence(name="control", epoch=lease.epoch)


async def closed(books: Books, fence: Fence, most: int = 1_000) -> Moved:
    """One closing."""
    return await books.counters.close("r1", fence=fence, settle_us=SETTLE_US, most=most)


async def settled(books: Books) -> tuple[Sequence[CounterRow], int]:
    """All rows, and the newest revision once it is past theirs: transactions of other databases of the server hold it back."""

    async def found() -> tuple[Sequence[CounterRow], int] | None:
        rows, newest = await books.counters.read("r1")
        return (rows, newest) if newest >= max(row.revision for row in rows) else None

    read = await wait_for_answer(found, what="a revision past all rows")
    assert read is not None
    return read


async def places(books: Books, since: int = 0) -> list[tuple[str, int, int]]:
    """Journal, segment and minute of all rows."""
    rows, _ = await books.counters.read("r1", since=since)
    return sorted((row.journal, row.segment, row.minute) for row in rows)


async def test_parts_of_a_minute_are_one_row(books: Books) -> None:
    await books.recorder.commit(a_batch(0, 1, counters=[a_delta(5, second=3), a_delta(6, second=33)]))
    (row,), newest = await settled(books)
    assert from_bytes(row.cells) == {a_key(second=3): 5, a_key(second=33): 6}
    await books.recorder.commit(a_batch(1, 2, counters=[a_delta(7, second=33)]))
    (row,), _ = await books.counters.read("r1", since=newest)
    assert from_bytes(row.cells) == {a_key(second=3): 5, a_key(second=33): 7}


async def test_a_minute_stays_open_until_the_tick_has_passed_all_that_may_count(books: Books) -> None:
    fence = await a_fence(books)
    await books.recorder.commit(a_batch(0, 1, tick_at_us=CLOSED_AT_US - 1, counters=[a_delta(5)]))
    assert await closed(books, fence) == Moved(rows=0)
    await books.recorder.commit(a_batch(1, 2, tick_at_us=CLOSED_AT_US))
    assert await closed(books, fence) == Moved(rows=1, oldest=MINUTE, newest=MINUTE)
    assert await closed(books, fence) == Moved(rows=0, oldest=MINUTE, newest=MINUTE)


async def test_closed_rows_of_all_journals_become_the_fleets(books: Books) -> None:
    fence = await a_fence(books)
    for journal, count in (("j1", 5), ("j2", 6)):
        deltas = [a_delta(count, second=10), a_delta(count, second=50), a_delta(1, segment=8), a_delta(9, minute=MINUTE + 1)]
        await books.recorder.commit(a_batch(0, 1, journal=journal, tick_at_us=CLOSED_AT_US, counters=deltas))
    assert (await closed(books, fence)).rows == 6
    rows, _ = await books.counters.read("r1")
    fleet = {row.segment: row for row in rows if not row.journal}
    assert from_bytes(fleet[7].cells) == {a_key(second=10): 11, a_key(second=50): 11}
    assert from_bytes(fleet[8].cells) == {a_key(): 2}
    assert fleet[7].journals == fleet[8].journals == ("j1", "j2")
    assert sorted((row.journal, row.minute) for row in rows if row.journal) == [("j1", MINUTE + 1), ("j2", MINUTE + 1)]


async def test_a_journal_that_comes_later_is_added(books: Books) -> None:
    fence = await a_fence(books)
    await books.recorder.commit(a_batch(0, 1, tick_at_us=CLOSED_AT_US, counters=[a_delta(5)]))
    await books.recorder.commit(a_batch(0, 1, journal="j2", tick_at_us=CLOSED_AT_US - 1, counters=[a_delta(6)]))
    await closed(books, fence)
    assert await places(books) == [("", 7, MINUTE), ("j2", 7, MINUTE)]
    _, newest = await settled(books)
    await books.recorder.commit(a_batch(1, 2, journal="j2", tick_at_us=CLOSED_AT_US))
    await closed(books, fence)
    (row,), _ = await books.counters.read("r1", since=newest)
    assert (from_bytes(row.cells), row.journals) == ({a_key(): 11}, ("j1", "j2"))


async def test_a_dead_journal_is_closed_to_its_end(books: Books) -> None:
    fence = await a_fence(books)
    deltas = [a_delta(5), a_delta(6, minute=MINUTE + 1)]
    await books.recorder.commit(a_batch(0, 1, tick_at_us=MINUTE * MINUTE_US, dead=True, counters=deltas))
    assert (await closed(books, fence)).newest == MINUTE + 1
    assert await places(books) == [("", 7, MINUTE), ("", 7, MINUTE + 1)]


async def test_ends_move_to_the_last_starts_second_and_leave_the_span_as_it_is(books: Books) -> None:
    fence = await a_fence(books)
    cells = {a_key(second=10): 5, a_key(second=19): 5, a_key(END, second=10): 2, a_key(END, second=19): 3}
    whole = a_key(16, second=WHOLE_MINUTE, bin_index=4)
    delta = CounterDelta("r1", 7, MINUTE, to_bytes(cells | {whole: 1}))
    await books.recorder.commit(a_batch(0, 1, tick_at_us=CLOSED_AT_US, counters=[delta]))
    await closed(books, fence)
    (row,), _ = await books.counters.read("r1")
    assert from_bytes(row.cells) == {a_key(second=10): 5, a_key(second=19): 5, a_key(END, second=19): 5, whole: 1}


async def test_only_the_leader_moves_counts(books: Books) -> None:
    fence = await a_fence(books)
    await books.recorder.commit(a_batch(0, 1, tick_at_us=CLOSED_AT_US, counters=[a_delta(5)]))
    await books.later(3_601)
    await a_fence(books, "two")
    with pytest.raises(Deposed):
        await closed(books, fence)
    with pytest.raises(Deposed):
        await books.counters.fold("r1", fence=fence, minute=MINUTE, seen=2**40)
    assert await places(books) == [("j1", 7, MINUTE)]


async def test_a_closing_is_bounded_and_takes_the_oldest_first(books: Books) -> None:
    fence = await a_fence(books)
    for journal in ("j1", "j2"):
        deltas = [a_delta(1, minute=MINUTE + n, second=s) for n in range(4) for s in (5, 15)]
        await books.recorder.commit(a_batch(0, 1, journal=journal, tick_at_us=CLOSED_AT_US * 2, counters=deltas))
    assert await closed(books, fence, most=5) == Moved(rows=4, oldest=MINUTE, newest=MINUTE)
    assert await closed(books, fence, most=1) == Moved(rows=2, oldest=MINUTE, newest=MINUTE + 1)
    assert (await closed(books, fence)).rows == 10
    assert await places(books) == [("", 7, MINUTE + n) for n in range(4)]


async def test_what_is_closed_is_not_written_again(books: Books) -> None:
    """A courier that still remembers a closed minute, or begins it anew, changes nothing there."""
    fence = await a_fence(books)
    await books.recorder.commit(a_batch(0, 1, tick_at_us=CLOSED_AT_US, counters=[a_delta(5), a_delta(1, minute=MINUTE + 1)]))
    await closed(books, fence)
    late = [a_delta(99), a_delta(99, segment=8), a_delta(99, minute=MINUTE - 1), a_delta(2, minute=MINUTE + 1)]
    await books.recorder.commit(a_batch(1, 2, tick_at_us=CLOSED_AT_US, counters=late))
    reader = Reader()
    await reader.look(books.counters)
    assert reader.sums() == {(7, a_key(second=WHOLE_MINUTE)): 7}
    assert await places(books) == [("", 7, MINUTE), ("j1", 7, MINUTE + 1)]


async def test_a_courier_that_restarts_finds_its_open_minutes_alone(books: Books) -> None:
    fence = await a_fence(books)
    deltas = [a_delta(5, second=5), a_delta(5, second=15), a_delta(1, minute=MINUTE + 1)]
    await books.recorder.commit(a_batch(0, 1, tick_at_us=CLOSED_AT_US, counters=deltas))
    await closed(books, fence)
    assert (await books.recorder.load("j1")).counters == [a_delta(1, minute=MINUTE + 1)]


async def test_journals_are_known_after_all_their_counts_moved(books: Books) -> None:
    fence = await a_fence(books)
    await books.recorder.commit(a_batch(0, 1, tick_at_us=CLOSED_AT_US, counters=[a_delta(5)]))
    await closed(books, fence)
    assert await books.counters.horizons("r1") == [Horizon(journal="j1", tick_at_us=CLOSED_AT_US, dead=False)]
    assert await books.counters.freshness("r1") is not None
    assert await books.counters.horizons("r2") == []


async def test_old_rows_of_the_fleet_become_a_total(books: Books) -> None:
    fence = await a_fence(books)
    deltas = [a_delta(n + 1, minute=MINUTE + n, second=10 + n) for n in range(4)]
    await books.recorder.commit(a_batch(0, 1, dead=True, counters=deltas))
    await closed(books, fence)
    rows, seen = await settled(books)
    assert await books.counters.fold("r1", fence=fence, minute=MINUTE + 1, seen=seen) == 2
    assert await books.counters.fold("r1", fence=fence, minute=MINUTE + 1, seen=seen) == 0
    grown, _ = await books.counters.read("r1", since=seen)
    (total,) = grown
    assert (total.segment, total.total, total.minute) == (7, True, MINUTE + 1)
    assert from_bytes(total.cells) == {a_key(second=WHOLE_MINUTE): 3}
    assert (total.first_s, total.last_s) == (MINUTE * 60 + 10, (MINUTE + 1) * 60 + 11)
    assert total.holds == max(row.revision for row in rows if row.minute <= MINUTE + 1)
    assert [row.minute for row in (await books.counters.read("r1"))[0] if not row.total] == [MINUTE + 2, MINUTE + 3]


async def test_a_total_grows_and_never_goes_back(books: Books) -> None:
    fence = await a_fence(books)
    await books.recorder.commit(a_batch(0, 1, dead=True, counters=[a_delta(1, minute=MINUTE + n) for n in range(3)]))
    await closed(books, fence)
    assert await books.counters.fold("r1", fence=fence, minute=MINUTE + 1, seen=2**40) == 2
    await books.recorder.commit(a_batch(0, 1, journal="late", dead=True, counters=[a_delta(1)]))
    await closed(books, fence)
    assert await books.counters.fold("r1", fence=fence, minute=MINUTE, seen=2**40) == 0
    assert await books.counters.fold("r1", fence=fence, minute=MINUTE + 2, seen=2**40) == 2
    ((total,), _) = await books.counters.read("r1")
    assert from_bytes(total.cells) == {a_key(second=WHOLE_MINUTE): 4}


async def test_only_what_the_leader_has_read_becomes_a_total(books: Books) -> None:
    fence = await a_fence(books)
    await books.recorder.commit(a_batch(0, 1, dead=True, counters=[a_delta(5)]))
    await closed(books, fence)
    _, seen = await books.counters.read("r1")
    await books.recorder.commit(a_batch(0, 1, journal="late", dead=True, counters=[a_delta(6), a_delta(1, segment=8)]))
    await closed(books, fence)
    assert await books.counters.fold("r1", fence=fence, minute=MINUTE, seen=seen) == 0
    _, seen = await settled(books)
    assert await books.counters.fold("r1", fence=fence, minute=MINUTE, seen=seen) == 2


async def test_a_reader_that_cannot_know_what_moved_is_told(books: Books) -> None:
    """It still has the journal's row, and never saw the fleet's that took its place."""
    fence = await a_fence(books)
    await books.recorder.commit(a_batch(0, 1, dead=True, counters=[a_delta(5)]))
    behind, there = Reader(), Reader()
    await behind.look(books.counters)
    await closed(books, fence)
    _, seen = await settled(books)
    await there.look(books.counters)
    await books.counters.fold("r1", fence=fence, minute=MINUTE, seen=seen)
    with pytest.raises(CountersMoved):
        await books.counters.read("r1", since=behind.newest)
    await behind.look(books.counters)
    await there.look(books.counters)
    assert (behind.anew, there.anew) == (1, 0)
    assert behind.sums() == there.sums() == {(7, a_key(second=WHOLE_MINUTE)): 5}


@dataclass
class Story:
    """Journals that count, couriers that restart, leaders that close and fold, readers that look: in any order."""

    books: Books
    fence: Fence
    chance: random.Random
    truth: Sums = field(default_factory=dict)
    cells: dict[str, dict[tuple[int, int, int], dict[int, int]]] = field(default_factory=dict)  # by journal, then place
    offsets: dict[str, int] = field(default_factory=dict)
    ticks: dict[str, int] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    folded: int = 0
    readers: list[Reader] = field(default_factory=lambda: [Reader() for _ in range(3)])

    async def count(self) -> None:
        """A commit of one journal, after which its clock goes on."""
        journal = self.chance.choice(["j1", "j2", "j3"])
        if journal in self.dead:
            return
        tick = self.ticks.get(journal, MINUTE * MINUTE_US)
        kept, changed = self.cells.setdefault(journal, {}), set()
        for _ in range(self.chance.randrange(6)):
            age_us = self.chance.randrange(SETTLE_US)  # ends come late, but never later than counts
            minute, second = divmod((tick - age_us) // 1_000_000, 60)
            key = a_key(self.chance.choice([START, END]), second=second)
            place = (self.chance.choice([7, 8]), minute, part_of(key))
            kept.setdefault(place, {})[key] = kept.get(place, {}).get(key, 0) + 1
            changed.add(place)
            truth = (place[0], key | WHOLE_MINUTE << SECOND_SHIFT)
            self.truth[truth] = self.truth.get(truth, 0) + 1
        tick += self.chance.choice([0, 1, 20, 70]) * 1_000_000
        dead = self.chance.random() < 0.01
        self.dead |= {journal} if dead else set()
        offset = self.offsets.get(journal, 0)
        deltas = [CounterDelta("r1", s, m, to_bytes(kept[s, m, p]), p) for s, m, p in sorted(changed)]
        await self.books.recorder.commit(
            a_batch(offset, offset + 1, journal=journal, tick_at_us=tick, dead=dead, counters=deltas)
        )
        self.offsets[journal], self.ticks[journal] = offset + 1, tick

    async def restart(self) -> None:
        """A courier forgets, and goes on from what is committed."""
        journal = self.chance.choice(["j1", "j2", "j3"])
        state = await self.books.recorder.load(journal)
        self.cells[journal] = {(row.segment, row.minute, row.part): from_bytes(row.cells) for row in state.counters}

    async def close(self) -> None:
        """A closing of some rows."""
        await closed(self.books, self.fence, self.chance.choice([1, 3, 1_000]))

    async def fold(self) -> None:
        """What the first reader has read, some minutes old, becomes totals."""
        moved = await closed(self.books, self.fence, 1)
        if moved.newest is not None:
            minute = moved.newest - self.chance.randrange(3)
            self.folded += await self.books.counters.fold("r1", fence=self.fence, minute=minute, seen=self.readers[0].newest)

    async def look(self) -> None:
        """One of the readers reads on: it has everything, once."""
        reader = self.chance.choice(self.readers)
        await reader.look(self.books.counters)
        assert reader.sums() == self.truth

    async def run(self, steps: int) -> None:
        """Steps by chance, then a look of everybody."""
        for _ in range(steps):
            step = self.chance.choices([self.count, self.restart, self.close, self.fold, self.look], [10, 1, 3, 2, 6])[0]
            await step()
        for reader in (*self.readers, Reader()):
            await reader.look(self.books.counters)
            assert reader.sums() == self.truth


@pytest.mark.parametrize("seed", range(3))
async def test_every_count_is_in_one_place_whatever_moves_when(books: Books, seed: int) -> None:
    in_memory = books.database is None
    story = Story(books, await a_fence(books), random.Random(seed))
    await story.run(1_500 if in_memory else 150)
    assert story.folded > 0
    assert sum(reader.anew for reader in story.readers) > 0 or not in_memory
