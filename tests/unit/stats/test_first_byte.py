"""The time to the first byte: its profile, thresholds, cells, and what it decides."""

import msgspec
import numpy as np
import pytest

from canary.stats.cells import FIRST_BYTE, METRIC_SHIFT
from canary.stats.contrast import Rule
from canary.stats.counts import Ledger
from canary.stats.profile import Kind, Profile, profile_cells
from canary.stats.scoring import Fact, ends, freeze, starts
from canary.stats.tables import CELLS, tables_of
from canary.stats.weigh import weigh
from canary.terms import Arm
from tests.support.plain_scores import Request
from tests.support.scorings import FIRST_BYTE as MARGINS
from tests.support.scorings import (
    MEASURES,
    a_horizon,
    a_profile,
    a_profile_of_classes,
    a_scoring,
    a_segment,
    a_spec,
    rows_of_requests,
)
from tests.support.streams import EPOCH_US
from tests.support.weighing import contrast_of, row_of

PLAIN = msgspec.structs.replace(MEASURES, classes=(), metrics=())
SCORING = freeze(a_profile_of_classes(), a_spec(measures=PLAIN, first_byte=MARGINS, shadow_lane_weight=0.0))
(STABLE,) = SCORING.first_stable_us
TOLERATED = contrast_of(SCORING, "first_byte_p95.rollback").candidate_us
HARMLESS = contrast_of(SCORING, "first_byte_p95.promote.1").candidate_us


def fact(
    ttfb_us: int, latency_us: int = 2_000_000, *, age_us: int | None = None, failed: bool = False, left: bool = False
) -> Fact:
    age = latency_us + 500 if age_us is None else age_us
    return Fact(age_us=age, latency_us=latency_us, ttfb_us=ttfb_us, failed=failed, left=left)


def scored(arm: Arm, one: Fact | None, name: str) -> tuple[int, ...]:
    """One request's place in a contrast; None: still open."""
    keys = starts(SCORING, arm, EPOCH_US) + (ends(SCORING, arm, EPOCH_US, one) if one else ())
    index = [contrast.name for contrast in SCORING.contrasts].index(name)
    total = np.zeros(CELLS, dtype=int)
    for key in keys:
        if key >> METRIC_SHIFT < 16:
            total += tables_of(SCORING).vector(key & ~(0xFF << 16))[CELLS * index : CELLS * (index + 1)].astype(int)
    return tuple(total.tolist())


def test_only_a_route_that_guards_it_counts_it() -> None:
    assert [key >> METRIC_SHIFT for key in ends(SCORING, Arm.STABLE, EPOCH_US, fact(5))].count(FIRST_BYTE) == 1
    assert FIRST_BYTE not in [key >> METRIC_SHIFT for key in ends(a_scoring(), Arm.STABLE, EPOCH_US, fact(5))]
    assert len(profile_cells(fact(5), first_byte=True)) == len(profile_cells(fact(5))) + 1


def test_thresholds_are_its_own_and_the_timeouts_age_promotes() -> None:
    p95 = a_profile_of_classes().first_byte_us(0.95)
    assert p95 == STABLE
    assert contrast_of(SCORING, "p95.rollback").stable_us > STABLE
    assert (round(1.05 * STABLE), round(1.15 * STABLE)) == (TOLERATED, HARMLESS)
    rollback = contrast_of(SCORING, "first_byte_p95.rollback")
    assert rollback.age_us == contrast_of(SCORING, "p95.rollback").age_us
    assert contrast_of(SCORING, "first_byte_p95.promote.1").age_us == contrast_of(SCORING, "error.promote.1").age_us
    assert rollback.center == pytest.approx(0.05, abs=0.03)
    guard = next(metric for metric in SCORING.metrics if metric.name == "first_byte")
    assert guard.share == pytest.approx(0.10 / 0.80)
    assert not guard.counts_failures


def test_a_profile_without_first_bytes_guards_nothing() -> None:
    scoring = freeze(a_profile(), a_spec(first_byte=MARGINS))
    assert scoring.first_stable_us == ()
    assert not any(metric.name.startswith("first_byte") for metric in scoring.metrics)


@pytest.mark.parametrize(
    ("one", "late"),
    [
        (fact(STABLE), False),
        (fact(STABLE + 1), True),
        (fact(-1, STABLE), False),  # an answer without any byte came when it ended
        (fact(-1, STABLE + 1), True),
        (fact(-1, STABLE, left=True), True),  # a client that goes at the threshold had nothing by then
        (fact(-1, STABLE - 1, left=True), False),
        (fact(STABLE - 5, STABLE + 9, left=True), False),
        (fact(10, failed=True), True),  # a fast failure is no gain
    ],
)
def test_what_is_late_for_stable(one: Fact, late: bool) -> None:
    assert scored(Arm.STABLE, one, "first_byte_p95.rollback") == ((0, 0, 1, 0) if late else (0, 0, 0, 1))


def test_each_arm_has_its_own_threshold() -> None:
    assert scored(Arm.CANDIDATE, fact(TOLERATED), "first_byte_p95.rollback") == (0, 1, 0, 0)
    assert scored(Arm.CANDIDATE, fact(TOLERATED + 1), "first_byte_p95.rollback") == (1, 0, 0, 0)


def test_open_answers_weaken_the_claim_in_both_arms_as_nobody_knows_of_their_first_byte() -> None:
    late = fact(10, 9_000_000)  # came at once, and streams on beyond the age
    for one in (None, late):
        assert scored(Arm.CANDIDATE, one, "first_byte_p95.rollback") == (0, 1, 0, 0)
        assert scored(Arm.STABLE, one, "first_byte_p95.rollback") == (0, 0, 1, 0)
    for name in ("first_byte_p95.promote.1", "first_byte_p95.promote.10"):
        assert scored(Arm.CANDIDATE, None, name) == (1, 0, 0, 0)
        assert scored(Arm.STABLE, None, name) == (0, 0, 0, 1)
        assert scored(Arm.CANDIDATE, late, name) == (0, 1, 0, 0)  # at the timeout's age it is known


def test_an_early_failure_was_no_waiting_at_the_final_margin() -> None:
    assert contrast_of(SCORING, "first_byte_p95.promote.1").rule is Rule.SILENT
    assert contrast_of(SCORING, "first_byte_p95.promote.10").rule is Rule.UNMET
    broken = fact(-1, 10, failed=True)
    assert scored(Arm.CANDIDATE, broken, "first_byte_p95.promote.1") == (0, 1, 0, 0)
    assert scored(Arm.CANDIDATE, broken, "first_byte_p95.promote.10") == (1, 0, 0, 0)
    waited = fact(-1, 9_000_000, failed=True)
    assert scored(Arm.CANDIDATE, waited, "first_byte_p95.promote.1") == (1, 0, 0, 0)


def test_the_profile_knows_what_waits_and_what_has_failed() -> None:
    cells: dict[int, int] = {}
    facts = [fact(1_000), fact(50_000), fact(-1, 900_000), fact(-1, 2_000, failed=True), fact(700_000, failed=True)]
    for one in facts:
        for key in profile_cells(one, first_byte=True):
            cells[key] = cells.get(key, 0) + 1
    profile = Profile.of(cells)
    assert (profile.n, profile.timed) == (5, 5)
    assert profile.unanswered(100_000) == 3  # the slow one and both failures
    assert profile.still_silent(100_000) == 2  # one of the failures was over by then
    assert profile.still_silent(100_000, scale=3.0) == 3
    assert sum(count for key, count in cells.items() if key >> 16 == Kind.FIRST_BYTE) == 3


def stream(n: int, *, slower: float, seed: int = 4) -> list[Request]:
    """At 50 %; the candidate's first byte takes so many times as long, its answers end when stable's do."""
    rng, found = np.random.default_rng(seed), []
    profile = a_profile_of_classes()
    assert profile.first_byte_us(0.5)
    for place in range(n):
        candidate = bool(rng.random() < 0.5)
        latency = int(np.exp(rng.normal(np.log(0.15), 0.7)) * 1e6)
        first = min(int(latency / 4 * (slower if candidate else 1.0)), latency)
        one = Fact(age_us=latency + 500, latency_us=latency, ttfb_us=first, failed=bool(rng.random() < 0.005), left=False)
        found.append(Request(start_us=EPOCH_US + place * 50_000, arm=Arm.CANDIDATE if candidate else Arm.STABLE, fact=one))
    return found


@pytest.mark.parametrize(("slower", "stopped"), [(1.0, False), (2.5, True)])
def test_a_slow_first_byte_is_stopped_by_itself_and_promotes_nothing(slower: float, stopped: bool) -> None:
    ledger = Ledger()
    ledger.add(rows_of_requests(SCORING, stream(12_000, slower=slower)))
    totals = ledger.settled([a_horizon(EPOCH_US + 700_000_000)], SCORING)
    evidence = weigh(totals, SCORING, [a_segment(weight_bp=5_000, stage=3)], stage=3)
    assert row_of(evidence, "first_byte").breached is stopped
    assert not row_of(evidence, "latency").breached
    assert row_of(evidence, "first_byte_p95").cleared is not stopped
    assert row_of(evidence, "p95").cleared
