"""Late onset in the wired engine: the formula over counted minutes, late journals, wrong clocks, warm-up, changed weights."""

import math

import msgspec
import numpy as np
import pytest

from canary.stats.bets import even, log_factors, mixed
from canary.stats.counts import Ledger
from canary.stats.evidence import MetricEvidence
from canary.stats.scoring import Fact
from canary.stats.totals import read_late, shape_of
from canary.stats.values import columns_of
from canary.stats.weigh import weigh
from canary.terms import Arm, Scored
from tests.support.plain_guards import throughput_log_e
from tests.support.plain_scores import Request
from tests.support.scorings import a_horizon, a_scoring, a_scoring_of_classes, a_segment, rows_of_requests
from tests.support.streams import EPOCH_US, MINUTE_US, Stream, arrivals, lognormal_answers, stream_rows
from tests.support.weighing import contrast_of, row_of, totals_of

SCORING = a_scoring(shadow_lane_weight=0.0)
FIRST = EPOCH_US // MINUTE_US
GOOD, BAD = (1, 49, 5, 945), (8, 42, 5, 945)


def look(*blocks: tuple[int, int, tuple[int, ...]], **segment: object) -> MetricEvidence:
    """The errors' row of blocks (segment, minute, four counts)."""
    segments: dict[int, dict[int, dict[tuple[str, int], tuple[int, ...]]]] = {}
    for number, minute, four in blocks:
        segments.setdefault(number, {})[FIRST + minute] = {("error.rollback", 0): four}
    known = [a_segment(id=number, **segment) for number in segments]
    return row_of(weigh(totals_of(SCORING, segments), SCORING, known, stage=0), "error")


def by_hand(weighed: list[tuple[int, float, tuple[int, ...]]], *, first: int = 0) -> float:
    """The design's formula over (minute, weight, four)."""
    contrast = contrast_of(SCORING, "error.rollback")

    def e(least: int) -> float:
        parts = [log_factors(contrast, w) @ np.array(four) for minute, w, four in weighed if minute - first + 1 >= least]
        whole = np.asarray(sum(parts, np.zeros(len(contrast.effects))))
        return math.exp(float(mixed(np.full(len(whole), -math.log(len(whole))), whole)))

    n = max(minute for minute, _, _ in weighed) - first + 1
    return math.log(0.5 * e(0) + 0.5 * (sum(e(k) / (k * (k + 1)) for k in range(1, n + 1)) + 1 / (n + 1)))


def test_it_is_the_formula_over_minutes_and_segments() -> None:
    found = look((7, 0, GOOD), (7, 1, BAD), (7, 4, GOOD))
    assert found.log_e_rollback == pytest.approx(by_hand([(0, 0.05, GOOD), (1, 0.05, BAD), (4, 0.05, GOOD)]))
    segments = {7: {FIRST: {("error.rollback", 0): GOOD}, FIRST + 1: {("error.rollback", 0): BAD}}}
    segments[8] = {FIRST + 1: {("error.rollback", 0): GOOD}, FIRST + 2: {("error.rollback", 0): BAD}}
    known = [a_segment(id=8, weight_bp=5_000), a_segment(id=7)]
    changed = row_of(weigh(totals_of(SCORING, segments), SCORING, known, stage=0), "error")
    expected = by_hand([(0, 0.05, GOOD), (1, 0.05, BAD), (1, 0.5, GOOD), (2, 0.5, BAD)])
    assert changed.log_e_rollback == pytest.approx(expected)


def test_minutes_count_from_the_first_segments_opening_and_earlier_starts_are_in_the_first() -> None:
    opened = FIRST - 3
    assert look((7, 0, BAD), opened_minute=opened).log_e_rollback == pytest.approx(by_hand([(0, 0.05, BAD)], first=-3))
    behind = look((7, -9, GOOD), (7, 0, BAD), opened_minute=FIRST)  # a clock that is slow
    assert behind.log_e_rollback == pytest.approx(by_hand([(0, 0.05, GOOD), (0, 0.05, BAD)]))


def test_a_warm_up_bets_on_errors_alone() -> None:
    four = {("error.rollback", 0): BAD, ("p50.rollback", 0): (45, 5, 475, 475)}
    totals = totals_of(SCORING, {7: {FIRST: four}})
    warm = weigh(totals, SCORING, [a_segment(scored=Scored.FAILURES)], stage=0)
    assert row_of(warm, "error").log_e_rollback == look((7, 0, BAD)).log_e_rollback
    assert row_of(warm, "latency").log_e_rollback == pytest.approx(0.0)
    assert row_of(weigh(totals, SCORING, [a_segment()], stage=0), "latency").log_e_rollback != pytest.approx(0.0)
    unscored = weigh(totals, SCORING, [a_segment(scored=Scored.NONE)], stage=0)
    assert row_of(unscored, "error").log_e_rollback == pytest.approx(0.0)


def test_the_promote_side_never_begins_anew() -> None:
    four = {("error.promote.1", 0): (50, 9_950, 50, 9_950)}
    early, late = (totals_of(SCORING, {7: {FIRST: four, FIRST + after: four}}) for after in (1, 50))
    values = [row_of(weigh(found, SCORING, [a_segment()], stage=3), "error_timeout").log_e_promote for found in (early, late)]
    contrast = contrast_of(SCORING, "error.promote.1")
    assert values[0] == values[1]
    whole = log_factors(contrast, 0.05) @ (2 * np.array(four["error.promote.1", 0]))
    assert values[0] == pytest.approx(float(mixed(even(len(whole)), whole)))


def breaking(*, onset_min: int, minutes: int, seed: int = 3) -> Stream:
    """10 requests a second at 50 %; the candidate fails in 12 % from a minute on."""
    rng = np.random.default_rng(seed)
    n = minutes * 600
    start_us = arrivals(rng, n, per_s=10.0)
    candidate = rng.random(n) < 0.5
    late = start_us >= EPOCH_US + onset_min * MINUTE_US
    errors = np.where(candidate & late, 0.12, 0.005)
    return Stream(start_us=start_us, candidate=candidate, answers=lognormal_answers(rng, n, error_rate=errors))


SEGMENTS = [a_segment(weight_bp=5_000)]


def errors_of(ledger: Ledger, after_min: float, **journals: float) -> MetricEvidence:
    ticks = {"j0": after_min, **journals}
    horizons = [a_horizon(EPOCH_US + round(at * MINUTE_US), journal=name) for name, at in ticks.items()]
    return row_of(weigh(ledger.settled(horizons, SCORING), SCORING, SEGMENTS, stage=0), "error")


def test_a_candidate_that_breaks_after_an_hour_is_stopped_before_the_bet_from_the_start_would() -> None:
    stream = breaking(onset_min=60, minutes=62)
    ledger = Ledger()
    ledger.add(stream_rows(SCORING, stream))
    found = errors_of(ledger, 62.0)
    counts = ledger.settled([a_horizon(EPOCH_US + 62 * MINUTE_US)], SCORING).segments[7].counts
    index = [contrast.name for contrast in SCORING.contrasts].index("error.rollback")
    from_start = log_factors(SCORING.contrasts[index], 0.5) @ np.array(counts[4 * index : 4 * index + 4])
    assert float(mixed(np.full(8, -math.log(8)), from_start)) < found.need_rollback  # type: ignore[operator]
    assert found.breached


def test_a_journal_that_comes_an_hour_late_says_the_same() -> None:
    stream = breaking(onset_min=30, minutes=40)
    half = len(stream) // 2
    parts = {"j0": stream.part(slice(0, half)), "j1": stream.part(slice(half, None))}
    late, whole = Ledger(), Ledger()
    late.add(stream_rows(SCORING, parts["j1"], journal="j1"))
    for minute in range(0, 100, 10):
        errors_of(late, 0.0, j1=minute)
    late.add(stream_rows(SCORING, parts["j0"], journal="j0"))
    whole.add(stream_rows(SCORING, stream))
    assert errors_of(late, 100.0, j1=100.0) == errors_of(whole, 100.0)


@pytest.mark.parametrize("off_min", [-25_000_000, 5_000_000])
def test_one_journals_wrong_clock_leaves_the_others_evidence_alone(off_min: int) -> None:
    """One of three is decades off: its requests count, bets on late onset still see the others, and a look costs no more."""
    stream = breaking(onset_min=60, minutes=66)
    third = [np.arange(len(stream)) % 3 == place for place in range(3)]
    ledger = Ledger()
    for place, mine in enumerate(third):
        moved = off_min * MINUTE_US if place == 2 else 0
        part = Stream(
            start_us=stream.start_us[mine] + moved,
            candidate=stream.candidate[mine],
            answers=type(stream.answers)(
                **{name: getattr(stream.answers, name)[mine] for name in ("age_us", "latency_us", "failed", "left")}
            ),
        )
        ledger.add(stream_rows(SCORING, part, journal=f"j{place}"))
    segments = [a_segment(weight_bp=5_000, opened_minute=FIRST)]
    ticks = {"j0": 67.0, "j1": 67.0, "j2": 67.0 + off_min}
    horizons = [a_horizon(EPOCH_US + round(at * MINUTE_US), journal=name) for name, at in ticks.items()]
    totals = ledger.settled(horizons, SCORING)
    assert {block.minute - FIRST for block in totals.blocks} >= set(range(66))
    assert len(totals.blocks) <= 67
    assert sum(totals.segments[7].counts[:4]) == len(stream)
    assert row_of(weigh(totals, SCORING, segments, stage=0), "error").breached


def test_a_machine_that_is_gone_for_good_is_not_the_present_of_a_fleet_of_two() -> None:
    stream = breaking(onset_min=180, minutes=186)
    early = int((stream.start_us < EPOCH_US + 10 * MINUTE_US).sum())
    ledger = Ledger()
    ledger.add(stream_rows(SCORING, stream.part(slice(early // 2, None)), journal="j0"))
    ledger.add(stream_rows(SCORING, stream.part(slice(0, early // 2)), journal="gone"))
    here, gone = a_horizon(EPOCH_US + 187 * MINUTE_US), a_horizon(EPOCH_US + 6 * MINUTE_US, journal="gone")
    totals = ledger.settled([here, msgspec.structs.replace(gone, silent=True)], SCORING)
    assert max(block.minute for block in totals.blocks) >= FIRST + 185
    assert FIRST + 50 <= ledger.old_minute <= FIRST + 60


def test_minutes_of_more_than_two_hours_ago_are_in_the_bet_from_the_start_alone() -> None:
    ledger = Ledger()
    ledger.add(stream_rows(SCORING, breaking(onset_min=0, minutes=2).part(slice(0, 1_000))))
    early, late = (ledger.settled([a_horizon(EPOCH_US + after * MINUTE_US)], SCORING) for after in (100, 200))
    assert [block.minute - FIRST for block in early.blocks] == [0, 1]
    assert late.blocks == ()
    assert late.segments == early.segments


def test_throughput_is_the_closed_form_over_completions() -> None:
    parts = {FIRST: {("throughput.rollback", 0): (3, 27, 2, 968)}}
    later = {FIRST: {("throughput.rollback", 0): (1, 399, 9, 591)}}
    known = [a_segment(id=7), a_segment(id=8, weight_bp=5_000)]
    row = row_of(weigh(totals_of(SCORING, {7: parts, 8: later}), SCORING, known, stage=0), "throughput")
    closed = throughput_log_e(((0.05, 27, 968), (0.5, 399, 591)))
    assert row.log_e_rollback == pytest.approx(math.log(0.75 * math.exp(closed) + 0.25))
    assert row.log_e_promote is None


def test_a_candidate_whose_requests_vanish_is_stopped_without_a_single_error() -> None:
    four = (0, 300, 0, 600)
    counts = {(name, 0): four for name in ("error.rollback", "error_timeout.rollback", "throughput.rollback")}
    evidence = weigh(totals_of(SCORING, {7: {FIRST: counts}}), SCORING, [a_segment(weight_bp=5_000)], stage=0)
    assert row_of(evidence, "throughput").breached
    assert not row_of(evidence, "error").breached


def test_metrics_without_data_say_nothing_and_hold_nobody_back() -> None:
    scoring = a_scoring_of_classes()
    evidence = weigh(
        totals_of(scoring, {7: {FIRST: {("error.rollback", 0): (40, 10, 5, 945)}}}), scoring, [a_segment()], stage=0
    )
    assert row_of(evidence, "error").breached
    for name in ("first_byte", "throughput", "cost", "client_error", "latency"):
        row = row_of(evidence, name)
        assert row.log_e_rollback == pytest.approx(0.0), name
        assert not row.breached, name
    for name in ("first_byte_p95", "cost", "p99"):
        assert not row_of(evidence, name).cleared, name


def test_values_begin_anew_as_well() -> None:
    """Thirty minutes at stable's cost, then eight times as dear: without its minutes the metric would say less."""
    scoring, rng, requests = a_scoring_of_classes(), np.random.default_rng(2), []
    for minute in range(40):
        for place in range(120):
            arm = Arm.CANDIDATE if rng.random() < 0.5 else Arm.STABLE
            times = 8.0 if minute >= 36 and arm is Arm.CANDIDATE else 0.9 if arm is Arm.CANDIDATE else 1.0
            fact = Fact(
                age_us=90_000,
                latency_us=89_000,
                ttfb_us=9_000,
                failed=False,
                left=False,
                exchange_id=rng.bytes(16),
                values=(float(rng.exponential(times)),),
            )
            start_us = EPOCH_US + minute * MINUTE_US + place * 400_000
            requests.append(Request(start_us=start_us, arm=arm, fact=fact))
    ledger = Ledger()
    ledger.add(rows_of_requests(scoring, requests))
    totals = ledger.settled([a_horizon(EPOCH_US + 50 * MINUTE_US)], scoring)
    segments = [a_segment(weight_bp=5_000)]
    whole = row_of(weigh(totals, scoring, segments, stage=0), "cost").log_e_rollback
    without = row_of(weigh(msgspec.structs.replace(totals, blocks=()), scoring, segments, stage=0), "cost").log_e_rollback
    assert whole is not None
    assert without is not None
    assert whole > without + 2


def test_a_block_holds_what_late_bets_read_and_nothing_else() -> None:
    scoring = a_scoring_of_classes()
    read = read_late(scoring)
    columns = columns_of(scoring)
    metric = next(found for found in scoring.values.metrics if found.name == "cost")
    canary, pairs, promote = (columns.blocks[metric.number + place] for place in range(3))
    size = shape_of(scoring).rates
    for block, kept in ((canary, True), (pairs, True), (promote, False)):
        assert set(read[size + block.offset : size + block.offset + block.size].tolist()) == {kept}
    rates = read[:size].reshape(scoring.strata, len(scoring.contrasts), 4)
    for index, contrast in enumerate(scoring.contrasts):
        assert set(rates[:, index].ravel().tolist()) == {not contrast.promote}
