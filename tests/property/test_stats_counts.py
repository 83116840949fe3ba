"""Counts: what the cells say is what the definitions say; splits, orders and duplicates change nothing."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canary.stats.counts import Ledger, from_bytes, to_bytes
from canary.stats.scoring import Fact, ends, pair_ends, starts
from canary.stats.weigh import weigh
from canary.terms import Arm
from tests.support.plain_scores import Request, counts
from tests.support.scorings import a_horizon, a_scoring, a_scoring_of_classes, a_segment, rows_of_requests, split_over
from tests.support.streams import EPOCH_US, Answers, Stream, end_keys, pair_end_keys, start_keys

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

SCORING = a_scoring()
CLASSES = a_scoring_of_classes()
LAST_AGE_US = SCORING.pair_age_us
EDGES = sorted(
    {
        *(*SCORING.ages_us, *SCORING.candidate_us, *SCORING.stable_us, LAST_AGE_US),
        *(*CLASSES.ages_us, *CLASSES.candidate_us, *CLASSES.stable_us),
        *(*CLASSES.first_candidate_us, *CLASSES.first_stable_us),
    }
)


def durations(*, least: int) -> st.SearchStrategy[int]:
    near = st.builds(lambda edge, off: max(0, edge + off), st.sampled_from(EDGES), st.integers(-2, 2))
    return st.one_of(near, st.integers(0, LAST_AGE_US + 3_000_000), st.just(least)).map(lambda value: max(value, least))


@st.composite
def facts(draw: st.DrawFn, *, lost: bool = True) -> Fact:
    if lost and draw(st.integers(0, 19)) == 0:
        return Fact(age_us=0, latency_us=-1, failed=True, left=False, lost=True)
    failed = draw(st.booleans())
    latency = draw(durations(least=-1))
    age = max(draw(durations(least=0)), latency) if draw(st.booleans()) else max(latency, 0) + 1_000
    first = min(draw(durations(least=-1)), latency)
    left = not failed and draw(st.booleans())
    cost = draw(st.one_of(st.none(), st.floats(0, 60)))
    return Fact(age_us=age, latency_us=latency, ttfb_us=first, failed=failed, left=left, values=(cost,))


@st.composite
def requests(draw: st.DrawFn) -> Request:
    mirrored = draw(st.booleans())
    dropped = mirrored and draw(st.integers(0, 3)) == 0
    return Request(
        start_us=EPOCH_US + draw(st.integers(0, 130_000_000)),
        arm=Arm.CANDIDATE if draw(st.booleans()) else Arm.STABLE,
        fact=draw(facts(lost=False)),
        mirrored=mirrored,
        dropped=dropped,
        shadow=draw(facts(lost=False)) if mirrored and not dropped and draw(st.integers(0, 4)) else None,
        stratum=draw(st.integers(0, 3)),
    )


streams = st.lists(requests(), min_size=1, max_size=30)
ticks = st.integers(-5_000_000, 130_000_000 + 2 * LAST_AGE_US).map(lambda after: EPOCH_US + after)


@patient
@given(requests=streams, tick_us=ticks)
def test_counts_are_what_the_definitions_say(requests: list[Request], tick_us: int) -> None:
    for scoring in (SCORING, CLASSES):
        ledger = Ledger()
        ledger.add(rows_of_requests(scoring, requests))
        found = ledger.settled([a_horizon(tick_us)], scoring).segments[7].counts
        assert len(found) == 4 * len(scoring.contrasts) * scoring.strata
        for place in range(len(found) // 4):
            stratum, index = divmod(place, len(scoring.contrasts))
            contrast = scoring.contrasts[index]
            known = [request.stratum if request.stratum < scoring.strata else 0 for request in requests]
            mine = [request for request, number in zip(requests, known, strict=True) if number == stratum]
            expected = counts(contrast, mine, tick_us, later=scoring.pair_later)
            assert found[4 * place : 4 * place + 4] == expected, (contrast.name, stratum)


@patient
@given(requests=streams, tick_us=ticks)
def test_rows_that_know_more_than_the_tick_settle_the_same(requests: list[Request], tick_us: int) -> None:
    """What has happened after a tick cannot be seen in what is settled at it."""
    early, late = Ledger(), Ledger()
    early.add(rows_of_requests(SCORING, requests, seen_until_us=tick_us))
    late.add(rows_of_requests(SCORING, requests))
    seen = early.settled([a_horizon(tick_us)], SCORING).segments.get(7)
    assert (seen.counts if seen else None) in (None, late.settled([a_horizon(tick_us)], SCORING).segments[7].counts)
    if any(request.start_us <= tick_us for request in requests):
        assert seen is not None


@settings(patient, max_examples=60)
@given(data=st.data(), requests=streams, tick_us=ticks)
def test_any_split_order_and_duplicates_give_the_same_totals(
    data: st.DataObject, requests: list[Request], tick_us: int
) -> None:
    whole = Ledger()
    whole.add(rows_of_requests(SCORING, requests))
    expected = whole.settled([a_horizon(tick_us)], SCORING)
    journals = data.draw(st.integers(1, 8), label="journals")
    places = data.draw(st.lists(st.integers(0, journals - 1), min_size=len(requests), max_size=len(requests)))
    split = split_over(requests, places)
    half_way_us = data.draw(ticks, label="half way")
    rows = [row for name, part in split.items() for row in rows_of_requests(SCORING, part, journal=name, revision=2)]
    rows += [
        row
        for name, part in split.items()
        for row in rows_of_requests(SCORING, part, journal=name, revision=1, seen_until_us=half_way_us)
    ]
    rows += data.draw(st.lists(st.sampled_from(rows), max_size=10), label="again")
    merged = Ledger()
    horizons = [a_horizon(tick_us, journal=name) for name in split]
    shuffled = data.draw(st.permutations(rows))
    for at, row in enumerate(shuffled):
        merged.add([row])
        if at % 7 == 3:
            merged.settled(horizons, SCORING)  # a look in between, with rows missing, is corrected by the rows
    found = merged.settled(horizons, SCORING)
    assert [part.counts for part in found.segments.values()] == [part.counts for part in expected.segments.values()]
    segments = [a_segment()]
    mine, theirs = weigh(found, SCORING, segments, stage=0), weigh(expected, SCORING, segments, stage=0)
    assert mine.metrics == theirs.metrics
    assert mine.sample_ratio_log_e == theirs.sample_ratio_log_e


def answers_of(found: list[Fact]) -> Answers:
    return Answers(
        age_us=np.array([fact.age_us for fact in found], dtype=np.int64),
        latency_us=np.array([fact.latency_us for fact in found], dtype=np.int64),
        failed=np.array([fact.failed for fact in found], dtype=bool),
        left=np.array([fact.left for fact in found], dtype=bool),
    )


@patient
@given(
    found=st.lists(st.tuples(st.booleans(), facts(lost=False), facts(lost=False)), min_size=1, max_size=20),
    second=st.integers(0, 59),
)
def test_array_makers_count_the_very_same_cells(found: list[tuple[bool, Fact, Fact]], second: int) -> None:
    start_us = np.full(len(found), EPOCH_US + second * 1_000_000 + 7, dtype=np.int64)
    live, shadow = answers_of([row[1] for row in found]), answers_of([row[2] for row in found])
    stream = Stream(start_us=start_us, candidate=np.array([row[0] for row in found]), answers=live)
    arms = [stream[index] for index in range(len(found))]
    assert start_keys(stream).tolist() == [starts(SCORING, arm, at)[0] for arm, at, _ in arms]
    assert end_keys(SCORING, stream).tolist() == [ends(SCORING, arm, at, fact)[0] for arm, at, fact in arms]
    keys, there = pair_end_keys(SCORING, start_us, live, shadow)
    scalar = [pair_ends(SCORING, int(start_us[0]), row[1], row[2]) for row in found]
    assert [(key,) if is_there else () for key, is_there in zip(keys.tolist(), there.tolist(), strict=True)] == scalar


@patient
@given(cells=st.dictionaries(st.integers(0, 2**40 - 1), st.integers(0, 2**32 - 1), max_size=60))
def test_cells_come_back_from_their_bytes(cells: dict[int, int]) -> None:
    assert from_bytes(to_bytes(cells)) == {key: count for key, count in cells.items() if count}
    assert to_bytes(cells) == to_bytes(dict(reversed(cells.items())))
