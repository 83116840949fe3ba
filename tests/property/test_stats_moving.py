"""Counts that move: over any journals, read in any order and at any time, closed and summed in between, they say the same."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from canary.stats.counts import Ledger, Totals
from canary.stats.evidence import Evidence
from canary.stats.scoring import Fact
from canary.stats.weigh import weigh
from canary.terms import Arm, Scored
from tests.support.moving_rows import MovingRows
from tests.support.plain_scores import Request
from tests.support.scorings import a_horizon, a_scoring_of_classes, a_segment, rows_of_requests, split_over
from tests.support.streams import EPOCH_US, MINUTE_US

SCORING = a_scoring_of_classes()
SEGMENTS = [
    a_segment(id=7, scored=Scored.FAILURES),
    a_segment(id=8),
    a_segment(id=9, stage=1, weight_bp=2_500),
]
MINUTES = (0, 1, 2, 60, 131, 132, 200, 260)
LAST_US = EPOCH_US + (MINUTES[-1] + 1) * MINUTE_US + SCORING.pair_age_us


@st.composite
def requests(draw: st.DrawFn) -> Request:
    latency = draw(st.sampled_from([1_000, 90_000, 400_000, 2_000_000]))
    fact = Fact(
        age_us=latency + 500,
        latency_us=latency,
        ttfb_us=latency // 3,
        failed=draw(st.integers(0, 3)) == 0,
        left=False,
        exchange_id=draw(st.binary(min_size=16, max_size=16)),
        values=(draw(st.sampled_from([0.0, 0.4, 3.0, 60.0])),),
    )
    minute = draw(st.sampled_from(MINUTES))
    mirrored = draw(st.booleans())
    return Request(
        start_us=EPOCH_US + minute * MINUTE_US + draw(st.integers(0, MINUTE_US - 1)),
        arm=Arm.CANDIDATE if draw(st.booleans()) else Arm.STABLE,
        fact=fact,
        mirrored=mirrored,
        shadow=fact if mirrored else None,
        stratum=draw(st.integers(0, 2)),
    )


def segment_of(request: Request) -> int:
    minute = (request.start_us - EPOCH_US) // MINUTE_US
    return 7 if minute < 1 else 8 if minute < 132 else 9


def rows_of(found: list[Request], journal: str, *, until_us: int | None = None) -> list:  # type: ignore[type-arg]
    rows = []
    for segment in (7, 8, 9):
        mine = [request for request in found if segment_of(request) == segment]
        rows += rows_of_requests(SCORING, mine, segment=segment, journal=journal, seen_until_us=until_us)
    return rows


def evidence(totals: Totals) -> Evidence:
    return weigh(totals, SCORING, SEGMENTS, stage=1)


class Reader:
    """Reads on from where it was, and anew where it must."""

    def __init__(self) -> None:
        self.ledger, self.seen = Ledger(), 0

    def look(self, store: MovingRows, ticks: dict[str, int]) -> Totals:
        if store.moved_since(self.seen):
            self.ledger, self.seen = Ledger(), 0
        self.ledger.add(store.rows(self.seen))
        if self.ledger.stale:
            self.ledger = Ledger()
            self.ledger.add(store.rows())
        self.seen = store.revision
        return self.ledger.settled([a_horizon(tick, journal=name) for name, tick in ticks.items()], SCORING)


streams = st.lists(requests(), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), found=streams)
def test_counts_that_move_say_the_same(data: st.DataObject, found: list[Request]) -> None:
    whole = Ledger()
    whole.add(rows_of(found, "all"))
    expected = whole.settled([a_horizon(LAST_US, journal="all")], SCORING)

    journals = data.draw(st.sampled_from([1, 2, 5, 64]), label="journals")
    places = data.draw(st.lists(st.integers(0, journals - 1), min_size=len(found), max_size=len(found)))
    split = split_over(found, places)
    store, reader = MovingRows(), Reader()
    for step_us in [EPOCH_US + minute * MINUTE_US + 30_000_000 for minute in (1, 3, 62, 140, 210)] + [LAST_US]:
        late = data.draw(st.sets(st.sampled_from(sorted(split))), label="late journals") if step_us < LAST_US else set()
        for name in sorted(split.keys() - late):
            store.put(name, rows_of(split[name], name, until_us=step_us if step_us < LAST_US else None))
        ticks = {name: EPOCH_US if name in late else step_us for name in split}
        if data.draw(st.booleans(), label="look"):
            reader.look(store, ticks)
        closed = [key for key in sorted(store.keys()) if (key[2] + 1) * MINUTE_US + SCORING.pair_age_us <= ticks[key[0]]]
        store.close(data.draw(st.sets(st.sampled_from(closed)), label="closed") if closed else ())
        if data.draw(st.booleans(), label="look after closing"):
            reader.look(store, ticks)
        if data.draw(st.booleans(), label="fold"):
            store.fold(step_us // MINUTE_US - 130)
    ticks = dict.fromkeys(split, LAST_US)
    for totals in (reader.look(store, ticks), Reader().look(store, ticks)):
        assert msgspec.structs.replace(totals, as_of_us=0) == msgspec.structs.replace(expected, as_of_us=0)
        assert evidence(totals).metrics == evidence(expected).metrics


@settings(max_examples=40, deadline=None)
@given(found=streams, after_us=st.integers(0, LAST_US - EPOCH_US))
def test_a_decision_can_be_taken_again_from_its_bytes(found: list[Request], after_us: int) -> None:
    ledger = Ledger()
    ledger.add(rows_of(found, "j0"))
    totals = ledger.settled([a_horizon(EPOCH_US + after_us)], SCORING)
    again = Totals.of_bytes(totals.to_bytes(), SCORING)
    assert again == totals
    assert again.to_bytes() == totals.to_bytes()
    assert evidence(again) == evidence(totals)
