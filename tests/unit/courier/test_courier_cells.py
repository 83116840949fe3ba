"""A journal's cumulative cells: small commits, nothing forgotten that may still change, the same after a restart."""

import random

import pytest

from canary.courier.cells import KEPT_MINUTES, MINUTE_US, RESTING_MINUTES, Cells
from canary.stats.cells import END, START, WHOLE_MINUTE, from_bytes, pack, to_bytes
from canary.store.rows import CounterDelta, JournalState

MINUTE = 29_000_000
PLACE = ("r1", 7, MINUTE)


def a_start(second: int = 0) -> int:
    """A start of the candidate."""
    return pack(metric=START, stratum=0, arm=1, second=second, bin_index=0)


def taken(cells: Cells, minute: int = MINUTE) -> list[CounterDelta]:
    """What the next commit writes, at a tick within a minute."""
    return cells.take(minute * MINUTE_US)[0]


def summed(deltas: list[CounterDelta]) -> dict[int, int]:
    """The newest row of each key, added up."""
    rows = {(row.rollout, row.segment, row.minute, row.part): row.cells for row in deltas}
    total: dict[int, int] = {}
    for cells in rows.values():
        for key, count in from_bytes(cells).items():
            total[key] = total.get(key, 0) + count
    return total


def test_a_commit_writes_only_the_parts_that_changed() -> None:
    cells = Cells()
    cells.count(PLACE, [a_start(0), a_start(9), a_start(10), a_start(59)])
    assert [row.part for row in taken(cells)] == [1, 2, 6]
    cells.count(PLACE, [a_start(11)])
    assert taken(cells) == [CounterDelta(*PLACE, to_bytes({a_start(10): 1, a_start(11): 1}), 2)]
    assert taken(cells) == []


def test_what_has_no_second_is_a_part_of_its_own() -> None:
    cells = Cells()
    key = pack(metric=16, stratum=0, arm=0, second=WHOLE_MINUTE, bin_index=3)
    cells.count(PLACE, [key, a_start(5)])
    assert [(row.part, from_bytes(row.cells)) for row in taken(cells)] == [(1, {a_start(5): 1}), (7, {key: 1})]


def test_a_restart_goes_on_from_the_committed_parts() -> None:
    cells = Cells()
    cells.count(PLACE, [a_start(5), a_start(45)])
    again = Cells.of(JournalState(counters=taken(cells)))
    again.count(PLACE, [a_start(45)])
    assert taken(again) == [CounterDelta(*PLACE, to_bytes({a_start(45): 2}), 5)]


def test_a_minute_written_in_one_piece_stays_in_one_piece() -> None:
    """As a version wrote it that knew no parts: a part beside it would count its cells twice."""
    cells = Cells.of(JournalState(counters=[CounterDelta(*PLACE, to_bytes({a_start(5): 3, a_start(45): 4}))]))
    cells.count(PLACE, [a_start(45)])
    cells.count(("r1", 7, MINUTE + 1), [a_start(45)])
    assert taken(cells) == [
        CounterDelta(*PLACE, to_bytes({a_start(5): 3, a_start(45): 5}), 0),
        CounterDelta("r1", 7, MINUTE + 1, to_bytes({a_start(45): 1}), 5),
    ]


@pytest.mark.parametrize("later", [1, RESTING_MINUTES + 1, KEPT_MINUTES])
def test_a_late_end_is_added_to_what_was_counted(later: int) -> None:
    cells = Cells()
    cells.count(PLACE, [a_start(5)])
    taken(cells)
    for minute in range(1, later + 1):
        taken(cells, MINUTE + minute)
    cells.count(PLACE, [a_start(5)])
    assert [from_bytes(row.cells) for row in taken(cells, MINUTE + later)] == [{a_start(5): 2}]


def test_old_minutes_are_kept_small_and_then_forgotten() -> None:
    cells = Cells()
    for minute in range(KEPT_MINUTES + 50):
        cells.count(("r1", 7, MINUTE + minute), [a_start(second) for second in range(60)])
        taken(cells, MINUTE + minute)
    assert len({part[2] for part in cells._parts}) == RESTING_MINUTES + 1
    assert len({part[2] for part in (*cells._parts, *cells._resting)}) == KEPT_MINUTES + 1


def test_the_rows_of_many_commits_are_what_was_counted() -> None:
    chance = random.Random(3)
    cells, expected, rows = Cells(), {}, []
    for tick in range(300):
        minute = MINUTE + tick // 60
        for _ in range(20):
            place = ("r1", 7, minute - chance.randrange(2))
            key = pack(metric=END, stratum=0, arm=0, second=chance.randrange(60), bin_index=chance.randrange(5))
            cells.count(place, [key])
            expected[place, key] = expected.get((place, key), 0) + 1
        rows += taken(cells, minute)
        if chance.random() < 0.05:
            newest = {(row.rollout, row.segment, row.minute, row.part): row for row in rows}
            cells = Cells.of(JournalState(counters=list(newest.values())))
    for minute in {place[2] for place, _ in expected}:
        found = summed([row for row in rows if row.minute == minute])
        assert found == {key: count for (place, key), count in expected.items() if place[2] == minute}
