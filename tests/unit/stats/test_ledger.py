"""The ledger: what settles when, and that a look stays cheap."""

import msgspec
import numpy as np
import pytest

from canary.stats.cells import END, START, WHOLE_MINUTE, arrays_of, pack
from canary.stats.closed import total_cells
from canary.stats.counts import CounterRow, Ledger, SegmentTotals, Totals, from_bytes, to_bytes
from canary.stats.scoring import Fact
from canary.stats.values import columns_of
from canary.terms import Arm
from tests.support.moving_rows import MovingRows
from tests.support.plain_scores import Request
from tests.support.scorings import a_horizon, a_scoring, a_scoring_of_classes, rows_of_requests
from tests.support.streams import EPOCH_US

SCORING = a_scoring()
NAMES = [contrast.name for contrast in SCORING.contrasts]
FINE = Fact(age_us=100_000, latency_us=99_000, failed=False, left=False)
BROKEN = Fact(age_us=5_000, latency_us=4_000, failed=True, left=False)


def request(after_s: float, *, arm: Arm = Arm.STABLE, fact: Fact = FINE) -> Request:
    return Request(start_us=EPOCH_US + round(after_s * 1e6), arm=arm, fact=fact)


def cells(totals: Totals, name: str, segment: int = 7) -> tuple[int, ...]:
    at = 4 * NAMES.index(name)
    return totals.segments[segment].counts[at : at + 4]


def look(ledger: Ledger, after_s: float, **journals: float) -> Totals:
    horizons = [a_horizon(EPOCH_US + round(at * 1e6), journal=name) for name, at in {"j0": after_s, **journals}.items()]
    return ledger.settled(horizons, SCORING)


def test_a_second_settles_once_the_tick_is_an_age_behind_its_end() -> None:
    ledger = Ledger()
    ledger.add(rows_of_requests(SCORING, [request(0.3, arm=Arm.CANDIDATE, fact=BROKEN)]))
    assert cells(look(ledger, 1.999_999), "error_fast.rollback") == (0, 0, 0, 0)
    assert cells(look(ledger, 2.0), "error_fast.rollback") == (1, 0, 0, 0)
    assert cells(look(ledger, 11.999_999), "error_timeout.rollback") == (0, 0, 0, 0)
    assert cells(look(ledger, 12.0), "error_timeout.rollback") == (1, 0, 0, 0)


def test_no_journal_waits_for_another() -> None:
    ledger = Ledger()
    for journal in ("j0", "j1"):
        ledger.add(rows_of_requests(SCORING, [request(0.5)], journal=journal))
    totals = look(ledger, 100, j1=1.0)
    assert cells(totals, "error_fast.rollback") == (0, 0, 0, 1)
    assert totals.as_of_us == EPOCH_US + 1_000_000
    assert totals.segments[7].assigned_stable == 2


def test_a_dead_journal_is_settled_whole() -> None:
    ledger = Ledger()
    ledger.add(
        rows_of_requests(SCORING, [request(0.5, fact=Fact(age_us=0, latency_us=-1, failed=True, left=False, lost=True))])
    )
    totals = ledger.settled([a_horizon(EPOCH_US, dead=True)], SCORING)
    assert cells(totals, "error_timeout.rollback") == (0, 0, 1, 0)
    assert totals.as_of_us == 0


def test_a_journal_that_never_ticked_settles_nothing() -> None:
    ledger = Ledger()
    ledger.add(rows_of_requests(SCORING, [request(0.5)]))
    totals = ledger.settled([], SCORING)
    assert set(totals.segments[7].counts) == {0}
    assert totals.segments[7].assigned_stable == 1


def test_the_newest_revision_of_a_minute_wins_whenever_it_comes() -> None:
    old, new = ([request(1.5)], [request(1.5), request(2.5)])
    for folded_first in (False, True):
        ledger = Ledger()
        ledger.add(rows_of_requests(SCORING, old, revision=4))
        if folded_first:
            look(ledger, 1_000)
        ledger.add(rows_of_requests(SCORING, new, revision=9))
        ledger.add(rows_of_requests(SCORING, old, revision=4))
        look(ledger, 1_000)
        ledger.add(rows_of_requests(SCORING, new, revision=9))
        assert cells(look(ledger, 1_000), "error.rollback") == (0, 0, 0, 2)


def test_settled_minutes_are_added_up_once() -> None:
    ledger = Ledger()
    for minute in range(300):
        ledger.add(rows_of_requests(SCORING, [request(60.0 * minute + 1)]))
        look(ledger, 60.0 * minute + 2)
    assert len(ledger._open) <= 2
    assert len(ledger._folded) <= 241
    totals = look(ledger, 60.0 * 300)
    assert cells(totals, "error.rollback") == (0, 0, 0, 300)
    assert totals.segments[7].settled_s[0] == 299 * 60 + 1


def test_a_correction_that_comes_hours_late_changes_nothing() -> None:
    ledger = Ledger()
    for minute in range(300):
        ledger.add(rows_of_requests(SCORING, [request(60.0 * minute + 1)]))
    look(ledger, 60.0 * 400)
    look(ledger, 60.0 * 400)
    ledger.add(rows_of_requests(SCORING, [request(1), request(2)], revision=2))
    assert cells(look(ledger, 60.0 * 400), "error.rollback") == (0, 0, 0, 300)


def test_the_settled_span_joins_journals_and_ends_with_the_last_start() -> None:
    ledger = Ledger()
    ledger.add(rows_of_requests(SCORING, [request(0.5), request(30.5)], journal="j0"))
    ledger.add(rows_of_requests(SCORING, [request(31.5), request(70.5)], journal="j1"))
    ages = sorted({contrast.age_us for contrast in SCORING.contrasts})
    first, last = 0, len(ages) - 1
    assert look(ledger, 20, j1=20).segments[7].settled_s[first] == 19
    assert look(ledger, 500, j1=50).segments[7].settled_s[last] == 39  # j1 is settled to 50 - 11
    stuck = Ledger()
    stuck.add(rows_of_requests(SCORING, [request(0.5), request(30.5)], journal="j0"))
    stuck.add(rows_of_requests(SCORING, [request(31.5), request(70.5)], journal="j1"))
    assert look(stuck, 500, j1=20).segments[7].settled_s[last] == 31  # a journal that hangs holds nothing up
    assert look(ledger, 500, j1=500).segments[7].settled_s[last] == 71
    assert look(ledger, 900, j1=900).segments[7].settled_s[last] == 71


def test_segments_are_kept_apart() -> None:
    ledger = Ledger()
    ledger.add(rows_of_requests(SCORING, [request(1)], segment=7))
    ledger.add(rows_of_requests(SCORING, [request(2), request(3)], segment=8))
    totals = look(ledger, 100)
    assert cells(totals, "error.rollback", 7) == (0, 0, 0, 1)
    assert cells(totals, "error.rollback", 8) == (0, 0, 0, 2)


def test_cells_known_to_the_minute_alone_settle_with_it() -> None:
    key = pack(metric=END, stratum=3, arm=1, second=WHOLE_MINUTE, bin_index=0)
    row = CounterRow(rollout="r", segment=7, journal="j0", minute=EPOCH_US // 60_000_000, cells=to_bytes({key: 2}), revision=1)
    ledger = Ledger()
    ledger.add([row])
    name = "error_timeout.rollback"
    assert cells(look(ledger, 70.999), name) == (0, 0, 0, 0)
    assert cells(look(ledger, 71.0), name) == (0, 0, 0, 0)  # an end without its start moves from open to ended: nothing
    started = pack(metric=1, stratum=3, arm=1, second=WHOLE_MINUTE, bin_index=0)
    ledger.add(
        [CounterRow(rollout="r", segment=7, journal="j0", minute=row.minute, cells=to_bytes({key: 2, started: 2}), revision=2)]
    )
    assert cells(look(ledger, 71.0), name) == (0, 2, 0, 0)


def test_a_ledger_belongs_to_one_scoring() -> None:
    ledger = Ledger()
    look(ledger, 1)
    with pytest.raises(ValueError, match="belongs to the scoring"):
        ledger.settled([], a_scoring(answer_timeout_s=30.0))


def test_a_cell_that_no_scoring_counts_is_refused() -> None:
    ledger = Ledger()
    key = pack(metric=9, stratum=0, arm=0, second=1, bin_index=0)
    ledger.add([CounterRow(rollout="r", segment=7, journal="j0", minute=1, cells=to_bytes({key: 1}), revision=1)])
    with pytest.raises(ValueError, match="metric 9 "):
        ledger.settled([], SCORING)


@pytest.mark.parametrize("damaged", [b"", b"\x07abc", b"\x01abc", to_bytes({5: 1})[:-3]])
def test_damaged_cells_are_refused(damaged: bytes) -> None:
    with pytest.raises(ValueError, match="cells"):
        from_bytes(damaged)


@pytest.mark.parametrize("count", [-1, 2**53 + 1])
def test_counts_out_of_range_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="counts must lie"):
        to_bytes({5: count})


def test_totals_survive_being_written_down() -> None:
    ledger = Ledger()
    ledger.add(rows_of_requests(SCORING, [request(k / 3, arm=Arm.CANDIDATE if k % 5 else Arm.STABLE) for k in range(90)]))
    totals = look(ledger, 25)
    assert totals.blocks
    assert Totals.of_bytes(totals.to_bytes(), SCORING) == totals
    assert "7/error_fast.rollback/1" in totals.flat(SCORING)
    assert isinstance(totals.segments[7], SegmentTotals)


def fleet_row(requests: list[Request], *journals: str, revision: int = 5, **more: object) -> CounterRow:
    (row,) = rows_of_requests(SCORING, requests, journal="", revision=revision)
    return msgspec.structs.replace(row, journals=journals, **more)


def test_a_fleet_row_stands_in_the_place_of_the_rows_that_it_took_in() -> None:
    mine, theirs = [request(1)], [request(2), request(3)]
    for folded_first in (False, True):
        ledger = Ledger()
        ledger.add(rows_of_requests(SCORING, mine, journal="j0"))
        ledger.add(rows_of_requests(SCORING, theirs, journal="j1"))
        if folded_first:
            look(ledger, 1_000, j1=1_000)
        ledger.add([fleet_row([*mine, *theirs], "j0", "j1")])
        ledger.add(rows_of_requests(SCORING, mine, journal="j0", revision=9))  # a courier that still remembers it
        totals = look(ledger, 0)  # the fleet is settled whatever the journals' ticks say
        assert cells(totals, "error_timeout.rollback") == (0, 0, 0, 3)
        assert totals.segments[7].assigned_stable == 3
        assert not ledger.stale


def test_a_total_stands_in_the_place_of_the_fleet_rows_that_it_holds() -> None:
    row = fleet_row([request(1), request(2)])
    total = msgspec.structs.replace(
        row, total=True, holds=5, revision=8, minute=row.minute + 3, first_s=row.minute * 60 + 1, last_s=row.minute * 60 + 2
    )
    again = fleet_row([request(30)], revision=7)  # closed late, after the total was made
    for order in ([row, total, again], [total, again, row], [again, row, total]):
        ledger = Ledger()
        ledger.add(order)
        totals = look(ledger, 0)
        assert cells(totals, "error.rollback") == (0, 0, 0, 3)
        assert totals.segments[7].settled_s[-1] == 30
        assert [block.minute for block in totals.blocks] == [row.minute]


def test_a_ledger_knows_when_it_has_to_be_read_anew() -> None:
    unseen, gone = Ledger(), Ledger()
    unseen.add(rows_of_requests(SCORING, [request(1)]))
    look(unseen, 1_000)
    row = fleet_row([request(1)], "j0")
    total = msgspec.structs.replace(row, total=True, holds=5, revision=8)
    unseen.add([total])  # what took the journal's row in was never read
    assert unseen.stale
    for minute in range(300):
        gone.add(rows_of_requests(SCORING, [request(60.0 * minute + 1)]))
    look(gone, 60.0 * 400)
    assert not gone.stale
    gone.add([row])
    assert gone.stale


def test_values_are_in_the_totals_once_their_minute_is_settled() -> None:
    scoring = a_scoring_of_classes()
    fact = Fact(age_us=100_000, latency_us=99_000, failed=False, left=False, ttfb_us=5, exchange_id=b"x" * 16, values=(3.0,))
    requests = [Request(start_us=EPOCH_US + 5, arm=Arm.CANDIDATE, fact=fact, stratum=stratum) for stratum in (0, 1, 2, 9)]
    rows = rows_of_requests(scoring, requests)
    columns = columns_of(scoring)
    expected = np.zeros(columns.size, dtype=np.int64)
    known = rows_of_requests(scoring, [*requests[:3], requests[0]])
    columns.add(expected, *arrays_of(known[0].cells))
    ledger = Ledger()
    ledger.add(rows)
    early, late = (ledger.settled([a_horizon(EPOCH_US + after * 1_000_000)], scoring) for after in (70, 71))
    assert not any(early.segments[7].values)
    assert late.segments[7].values == tuple(expected.tolist())


def test_the_minutes_that_may_be_added_up_are_those_that_no_late_bet_reads() -> None:
    ledger = Ledger()
    ledger.add(rows_of_requests(SCORING, [request(1)]))
    totals = look(ledger, 60.0 * 125)
    assert totals.blocks == ()
    assert ledger.old_minute < EPOCH_US // 60_000_000
    look(ledger, 60.0 * 131)
    assert ledger.old_minute > EPOCH_US // 60_000_000


def test_what_a_ledger_keeps_does_not_grow_with_the_rollouts_age() -> None:
    ledger, store, seen, kept = Ledger(), MovingRows(), 0, []
    for minute in range(600):
        for journal in ("j0", "j1"):
            store.put(journal, rows_of_requests(SCORING, [request(60.0 * minute + 1)]))
        for keys in ([], store.keys()):
            store.close(keys)
            ledger.add(sorted(store.rows(seen), key=lambda row: row.revision))
            seen = store.revision
            totals = look(ledger, 60.0 * minute + 55, j1=60.0 * minute + 55)
        store.fold(ledger.old_minute)
        kept.append(sum(map(len, (ledger._open, ledger._folded, ledger._gone, ledger._absorbed, ledger._blocks))))
    assert not ledger.stale
    assert totals.segments[7].assigned_stable == 1_200
    assert kept[-1] <= kept[300]


def test_minutes_of_many_rows_become_totals_without_reading_anew() -> None:
    """Several segments at once, or journals that wait to be closed, are more rows than minutes."""
    ledger = Ledger()
    rows = [fleet_row([request(60.0 * minute + 1)], segment=segment) for minute in range(140) for segment in (7, 8)]
    ledger.add(rows)
    look(ledger, 60.0 * 140)
    taken = [row for row in rows if row.segment == 7 and row.minute <= ledger.old_minute]
    total = msgspec.structs.replace(
        taken[0], total=True, holds=5, revision=8, minute=ledger.old_minute, cells=total_cells([row.cells for row in taken])
    )
    ledger.add([total])
    assert len(taken) > 1
    assert not ledger.stale


def test_a_total_may_hold_more_than_a_word_of_32_bits() -> None:
    """A segment of 100,000 requests a second passes that in six hours."""
    many = 3_000_000_000
    key = pack(metric=START, stratum=0, arm=0, second=WHOLE_MINUTE, bin_index=0)
    row = CounterRow(rollout="r", segment=7, journal="", minute=EPOCH_US // 60_000_000, cells=to_bytes({key: many}), revision=3)
    ledger = Ledger()
    ledger.add([msgspec.structs.replace(row, total=True, holds=2)])
    totals = look(ledger, 1_000)
    assert totals.segments[7].assigned_stable == many
    assert cells(totals, "error_timeout.rollback") == (0, 0, many, 0)
