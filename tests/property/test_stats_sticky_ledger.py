"""Users' counts: what the ledger settles is what the definitions say; splits, orders, duplicates and moves change nothing."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary.stats.clusters import Ints, cluster_of
from canary.stats.comparisons import comparisons_of
from canary.stats.first_event import FirstEventRow
from canary.stats.scoring import Fact
from canary.stats.sticky_ledger import StickyLedger
from canary.stats.sticky_totals import StickyTotals
from canary.stats.sticky_weigh import Look, weigh_sticky
from canary.stats.unit_answers import said_metric
from canary.stats.unit_events import late_metric
from canary.terms import Arm, Scored
from tests.support.cluster_worlds import evidence, no_cells
from tests.support.moving_rows import MovingRows
from tests.support.plain_scores import Request, canary_place, counts
from tests.support.scorings import a_horizon, a_scoring_of_classes, a_segment, rows_of_requests, split_over
from tests.support.streams import EPOCH_US, MINUTE_US

SCORING = a_scoring_of_classes(sticky=True)
SEGMENTS = [a_segment(id=7, scored=Scored.FAILURES), a_segment(id=8), a_segment(id=9, stage=1, weight_bp=2_500)]
MINUTES = (0, 1, 9, 12, 131, 132, 200)
LAST_US = EPOCH_US + (MINUTES[-1] + 1) * MINUTE_US + SCORING.pair_age_us


def arm_of(user: int) -> Arm:
    return Arm.CANDIDATE if user % 3 == 0 else Arm.STABLE


@st.composite
def requests(draw: st.DrawFn, minutes: Sequence[int] = MINUTES) -> Request:
    latency = draw(st.sampled_from([1_000, 90_000, 400_000, 2_000_000]))
    user = draw(st.integers(0, 200))
    fact = Fact(
        age_us=latency + 500,
        latency_us=latency,
        ttfb_us=latency // 3,
        failed=draw(st.integers(0, 3)) == 0,
        left=False,
        unit_hash=user.to_bytes(8, "big"),
        exchange_id=draw(st.binary(min_size=16, max_size=16)),
        values=(draw(st.sampled_from([0.0, 0.4, 3.0, 60.0])),),
    )
    arm = arm_of(user)
    mirrored = arm is Arm.STABLE and draw(st.booleans())
    return Request(
        start_us=EPOCH_US + draw(st.sampled_from(minutes)) * MINUTE_US + draw(st.integers(0, MINUTE_US - 1)),
        arm=arm,
        fact=fact,
        mirrored=mirrored,
        shadow=fact if mirrored else None,
        stratum=draw(st.integers(0, 2)),
    )


def segment_of(request: Request) -> int:
    minute = (request.start_us - EPOCH_US) // MINUTE_US
    return 7 if minute < 1 else 8 if minute < 132 else 9


def rows_of(found: Sequence[Request], journal: str) -> list:  # type: ignore[type-arg]
    rows = []
    for segment in (7, 8, 9):
        mine = [request for request in found if segment_of(request) == segment]
        rows += rows_of_requests(SCORING, mine, segment=segment, journal=journal)
    return rows


def firsts_of(found: Sequence[Request], journal: str) -> list[FirstEventRow]:
    rows = []
    for request in found:
        segment, unit = segment_of(request), request.fact.unit_hash
        for metric in (f"unit:{segment}", said_metric(segment, unit[-1] % 3)):
            rows.append(FirstEventRow("r", metric, unit, request.start_us, segment, request.arm, journal, 1))
        if request.fact.failed:
            for metric in ("error", late_metric(request.start_us)):
                rows.append(FirstEventRow("r", metric, unit, request.start_us, segment, request.arm, journal, 1))
    return rows


def settled(rows: Sequence, firsts: Sequence, tick_us: int, journals: Sequence[str]) -> StickyTotals:  # type: ignore[type-arg]
    ledger = StickyLedger()
    ledger.add(rows)
    ledger.add_first(firsts)
    return ledger.settled([a_horizon(tick_us, journal=journal) for journal in journals], SCORING, SEGMENTS)


TICKS = st.one_of(st.just(LAST_US), st.integers(EPOCH_US, LAST_US))


@settings(max_examples=40, deadline=None)
@given(data=st.data(), found=st.lists(requests(), min_size=1, max_size=40), tick_us=TICKS, journals=st.integers(1, 64))
def test_splits_orders_and_duplicates_change_nothing(
    data: st.DataObject, found: list[Request], tick_us: int, journals: int
) -> None:
    places = [data.draw(st.integers(0, journals - 1)) for _ in found]
    rows, firsts = [], []
    for journal, mine in split_over(found, places).items():
        rows += rows_of(mine, journal)
        firsts += firsts_of(mine, journal)
    again = data.draw(st.permutations([*rows, *rows[:5]]))
    events = data.draw(st.permutations([*firsts, *firsts[:5]]))
    one = settled(rows_of(found, "j0"), firsts_of(found, "j0"), tick_us, ["j0"])
    many = settled(again, events, tick_us, [f"j{index}" for index in range(journals)])
    assert many == one
    stored = StickyTotals.of_bytes(many.to_bytes(), SCORING)
    assert stored == many
    assert weigh_sticky(stored, SCORING, SEGMENTS, stage=1) == weigh_sticky(one, SCORING, SEGMENTS, stage=1)


@settings(max_examples=30, deadline=None)
@given(found=st.lists(requests(), min_size=1, max_size=40), tick_us=TICKS)
def test_whole_minutes_are_counted_as_the_definitions_say(found: list[Request], tick_us: int) -> None:
    totals = settled(rows_of(found, "j0"), [], tick_us, ["j0"])
    each = 4 * len(SCORING.contrasts)
    for segment in {segment_of(request) for request in found}:
        for index, contrast in enumerate(SCORING.contrasts):
            for stratum in range(SCORING.strata):
                mine = [r for r in found if segment_of(r) == segment and r.stratum == stratum]
                whole = [r for r in mine if (r.start_us // MINUTE_US + 1) * MINUTE_US + contrast.age_us <= tick_us]
                plain = counts(contrast, whole, LAST_US, later=SCORING.pair_later)
                at = stratum * each + 4 * index
                seen = totals.segments[segment].counts[at : at + 4] if segment in totals.segments else (0, 0, 0, 0)
                assert seen == plain, contrast.name


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_evidence_of_clusters_is_that_of_their_definition(seed: int) -> None:
    """Against cells that are filled request by request with plain scores."""
    rng = np.random.default_rng(seed)
    found = [
        Request(
            start_us=EPOCH_US + int(minute) * MINUTE_US,
            arm=arm_of(int(user)),
            fact=Fact(
                age_us=int(latency) + 500,
                latency_us=int(latency),
                failed=bool(failed),
                left=False,
                unit_hash=int(user).to_bytes(8, "big"),
                exchange_id=int(latency).to_bytes(16, "big"),
            ),
            stratum=int(stratum),
        )
        for minute, user, latency, failed, stratum in zip(
            rng.choice([3, 14, 16], 1_500),
            rng.integers(0, 200, 1_500),
            rng.exponential(2e5, 1_500),
            rng.random(1_500) < 0.05,
            rng.integers(0, 3, 1_500),
            strict=True,
        )
    ]
    look = Look(settled(rows_of(found, "j0"), [], LAST_US, ["j0"]), SCORING, SEGMENTS, 1)
    for comparison in comparisons_of(SCORING).all:
        if comparison.contrast < 0 or comparison.pairs:
            continue
        layers: dict[tuple[int, int], Ints] = {}
        for request in found:
            cells = layers.setdefault((request.stratum, request.start_us // MINUTE_US // 10), no_cells()[0])
            bad = canary_place(SCORING.contrasts[comparison.contrast], request) % 2 == 0
            cells[0 if request.arm is Arm.CANDIDATE else 1, cluster_of(request.fact.unit_hash)] += (1, int(bad))
        expected, seen = evidence(np.stack([*layers.values()]), comparison.test), look.said(comparison.name)
        assert (seen.n_candidate, seen.clusters_candidate) == (expected.n_candidate, expected.clusters_candidate)
        assert seen.difference == pytest.approx(expected.difference, abs=1e-12)
        assert seen.log_e == pytest.approx(expected.log_e, abs=1e-9)


class Reader:
    """Reads on from where it was, and anew where it must."""

    def __init__(self) -> None:
        self.ledger, self.seen = StickyLedger(), 0

    def look(self, store: MovingRows, tick_us: int) -> StickyTotals:
        if store.moved_since(self.seen) or self.ledger.stale:
            self.ledger, self.seen = StickyLedger(), 0
        self.ledger.add(store.rows(self.seen))
        if self.ledger.stale:
            self.ledger = StickyLedger()
            self.ledger.add(store.rows())
        self.seen = store.revision
        return self.ledger.settled([a_horizon(tick_us), a_horizon(tick_us, journal="j1")], SCORING, SEGMENTS)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), found=st.lists(requests(), min_size=1, max_size=30))
def test_rows_that_move_together_count_once_for_who_read_on_and_who_reads_anew(
    data: st.DataObject, found: list[Request]
) -> None:
    places = [data.draw(st.integers(0, 1)) for _ in found]
    store, reader = MovingRows(), Reader()
    for journal, mine in split_over(found, places).items():
        store.put(journal, rows_of(mine, journal))
        if data.draw(st.booleans()):
            reader.look(store, LAST_US)
    whole = Reader().look(store, LAST_US)
    for _ in range(data.draw(st.integers(0, 4))):
        keys = store.keys()
        if keys and data.draw(st.booleans()):
            store.close(data.draw(st.lists(st.sampled_from(keys), unique=True)))
        else:
            store.fold((EPOCH_US // MINUTE_US + data.draw(st.sampled_from(MINUTES))) // 10 * 10 - 1)
        if data.draw(st.booleans()):
            reader.look(store, LAST_US)
    seen, anew = reader.look(store, LAST_US), Reader().look(store, LAST_US)
    assert seen == anew
    for segment, totals in whole.segments.items():  # what was moved is in fewer layers; nothing of it is lost or doubled
        assert seen.segments[segment].counts == totals.counts
