"""Cells of single events, by example."""

import pytest

from canary.stats.bets import log_factors
from canary.stats.cells import METRIC_SHIFT
from canary.stats.scoring import Fact, Scoring, ends, pair_drops, pair_ends, pair_starts, starts
from canary.stats.tables import CELLS, tables_of
from canary.stats.value_cells import FIRST_VALUE
from canary.terms import Arm
from tests.support.scorings import a_scoring
from tests.support.streams import EPOCH_US

SCORING = a_scoring()
STABLE = SCORING.stable_us[1]  # the p95 threshold
CANDIDATE = next(contrast.candidate_us for contrast in SCORING.contrasts if contrast.name == "p95.rollback")
TIMEOUT_AGE = SCORING.pair_age_us


def fact(latency_us: int, *, age_us: int | None = None, failed: bool = False, left: bool = False, lost: bool = False) -> Fact:
    return Fact(
        age_us=latency_us + 500 if age_us is None else age_us, latency_us=latency_us, failed=failed, left=left, lost=lost
    )


def contrast_cells(keys: tuple[int, ...]) -> list[int]:
    """Without those of values, which are counted by the minute."""
    return [key for key in keys if key >> METRIC_SHIFT < FIRST_VALUE]


def counted(keys: tuple[int, ...], name: str, scoring: Scoring = SCORING) -> tuple[int, ...]:
    """What keys add to one contrast's four counts."""
    index = [contrast.name for contrast in scoring.contrasts].index(name)
    tables = tables_of(scoring)
    total = [0] * CELLS
    for key in contrast_cells(keys):
        code = key & ~(0xFF << 16)
        for cell in range(CELLS):
            total[cell] += int(tables.vector(code)[CELLS * index + cell])
    return tuple(total)


def live(arm: Arm, one: Fact, name: str) -> tuple[int, ...]:
    """One request's place in a contrast, once it has ended."""
    return counted(starts(SCORING, arm, EPOCH_US) + ends(SCORING, arm, EPOCH_US, one), name)


def test_every_event_is_at_most_one_cell_of_its_second() -> None:
    at_us = EPOCH_US + 37_999_999
    for keys in (
        starts(SCORING, Arm.STABLE, at_us),
        ends(SCORING, Arm.CANDIDATE, at_us, fact(5)),
        pair_starts(SCORING, at_us),
        pair_drops(SCORING, at_us, 100),
        pair_ends(SCORING, at_us, fact(5), fact(6)),
    ):
        assert [key >> 16 & 0xFF for key in contrast_cells(keys)] == [37]


def test_strata_are_kept_in_the_key() -> None:
    (plain,) = starts(SCORING, Arm.STABLE, EPOCH_US)
    (third,) = starts(SCORING, Arm.STABLE, EPOCH_US, stratum=3)
    assert third - plain == 3 << 25


@pytest.mark.parametrize(("arm", "open_place", "failed_place"), [(Arm.CANDIDATE, 1, 0), (Arm.STABLE, 2, 2)])
def test_errors_are_bracketed_against_the_rollback(arm: Arm, open_place: int, failed_place: int) -> None:
    """An open request is no failure of the candidate, and not yet a success of stable."""
    assert counted(starts(SCORING, arm, EPOCH_US), "error_fast.rollback").index(1) == open_place
    assert live(arm, fact(100, failed=True), "error_fast.rollback").index(1) == failed_place
    late = fact(5_000_000, failed=True)
    assert live(arm, late, "error_fast.rollback").index(1) == open_place
    assert live(arm, late, "error_timeout.rollback").index(1) == failed_place


@pytest.mark.parametrize(("arm", "open_place"), [(Arm.CANDIDATE, 0), (Arm.STABLE, 3)])
def test_errors_are_bracketed_against_the_promotion(arm: Arm, open_place: int) -> None:
    assert counted(starts(SCORING, arm, EPOCH_US), "error.promote.1").index(1) == open_place


def test_each_arm_has_its_own_threshold() -> None:
    between = fact(STABLE + 1)
    assert CANDIDATE > STABLE + 1
    assert live(Arm.CANDIDATE, between, "p95.rollback") == (0, 1, 0, 0)
    assert live(Arm.STABLE, between, "p95.rollback") == (0, 0, 1, 0)
    assert live(Arm.STABLE, fact(STABLE), "p95.rollback") == (0, 0, 0, 1)


def test_a_fast_failure_is_no_latency_gain() -> None:
    assert live(Arm.CANDIDATE, fact(10, failed=True), "p95.rollback") == (1, 0, 0, 0)
    assert live(Arm.CANDIDATE, fact(-1, age_us=700, failed=True), "p95.rollback") == (1, 0, 0, 0)


def test_at_the_final_margin_an_early_failure_is_closed_and_a_late_one_was_open() -> None:
    assert live(Arm.CANDIDATE, fact(10, failed=True), "p95.promote.1") == (0, 1, 0, 0)
    assert live(Arm.CANDIDATE, fact(-1, age_us=3_000_000, failed=True), "p95.promote.1") == (0, 1, 0, 0)
    assert live(Arm.CANDIDATE, fact(3 * CANDIDATE, failed=True), "p95.promote.1") == (1, 0, 0, 0)
    assert live(Arm.CANDIDATE, fact(10, failed=True), "p95.promote.10") == (1, 0, 0, 0)


def test_a_client_that_leaves_has_not_failed_and_exceeds_from_then_on() -> None:
    assert live(Arm.STABLE, fact(STABLE, left=True), "p95.rollback") == (0, 0, 1, 0)
    assert live(Arm.STABLE, fact(STABLE - 1, left=True), "p95.rollback") == (0, 0, 0, 1)
    assert live(Arm.STABLE, fact(-1, age_us=STABLE, left=True), "p95.rollback") == (0, 0, 1, 0)
    assert live(Arm.CANDIDATE, fact(900, left=True), "error_fast.rollback") == (0, 1, 0, 0)


def test_a_lost_exchange_is_a_failure_at_every_age() -> None:
    lost = fact(-1, age_us=-1, failed=True, lost=True)
    for name in ("error_fast.rollback", "error_timeout.rollback", "p95.rollback"):
        assert live(Arm.CANDIDATE, lost, name) == (1, 0, 0, 0)
        assert live(Arm.STABLE, lost, name) == (0, 0, 1, 0)


def pair(one: Fact, other: Fact, name: str) -> tuple[int, ...]:
    """A pair's place in a contrast, live first."""
    return counted(pair_starts(SCORING, EPOCH_US) + pair_ends(SCORING, EPOCH_US, one, other), name)


FINE, SLOW, BROKEN = fact(1_000), fact(10 * CANDIDATE), fact(1_000, failed=True)


def test_a_pair_is_counted_by_both_sides() -> None:
    assert pair(FINE, BROKEN, "error.rollback.pairs") == (0, 1, 0, 0)
    assert pair(BROKEN, FINE, "error.rollback.pairs") == (0, 0, 1, 0)
    assert pair(BROKEN, BROKEN, "error.rollback.pairs") == (1, 0, 0, 0)
    assert pair(FINE, SLOW, "p95.rollback.pairs") == (0, 1, 0, 0)
    assert pair(FINE, FINE, "p95.rollback.pairs") == (0, 0, 0, 1)


def test_the_later_answer_is_told_by_more_than_the_tolerance() -> None:
    name = "later.rollback.pairs"
    assert pair(fact(1_000), fact(1_031), name) == (0, 1, 0, 0)
    assert pair(fact(1_000), fact(1_029), name) == (0, 0, 1, 0)
    assert pair(fact(1_000), fact(1_030), name) == (0, 0, 0, 1)
    assert pair(fact(1_000), BROKEN, name) == (0, 1, 0, 0)
    assert pair(BROKEN, SLOW, name) == (0, 0, 1, 0)
    assert pair(BROKEN, BROKEN, name) == (0, 0, 0, 1)


UNKNOWN = {
    "no pair came": (),
    "it came too late": pair_ends(SCORING, EPOCH_US, FINE, fact(5, age_us=TIMEOUT_AGE + 1, failed=True)),
    "the live side ended too late": pair_ends(SCORING, EPOCH_US, fact(5, age_us=TIMEOUT_AGE + 1), BROKEN),
    "its worker died": pair_ends(SCORING, EPOCH_US, FINE, fact(-1, failed=True, lost=True)),
}


@pytest.mark.parametrize("keys", UNKNOWN.values(), ids=UNKNOWN)
def test_a_pair_that_is_not_known_hurts_the_claim(keys: tuple[int, ...]) -> None:
    assert keys == ()
    started = pair_starts(SCORING, EPOCH_US)
    for contrast in SCORING.contrasts:
        if contrast.pairs:
            expected = (0, 1, 0, 0) if contrast.promote else (0, 0, 1, 0)
            assert counted(started, contrast.name) == expected


def test_an_unknown_pair_is_worth_no_more_than_any_known_one() -> None:
    """The proof of the bracket, by enumeration: its factor is the least of the four, for every bet."""
    for contrast in SCORING.contrasts:
        if contrast.pairs:
            factors = log_factors(contrast, 0.0)
            unknown = factors[:, 1 if contrast.promote else 2]
            assert (unknown[:, None] <= factors + 1e-12).all(), contrast.name


def test_an_answer_whose_client_left_is_unknown_in_its_pair() -> None:
    left = fact(500, left=True)
    assert pair(left, SLOW, "p95.rollback.pairs") == (1, 0, 0, 0)
    assert pair(left, FINE, "p95.rollback.pairs") == (0, 0, 1, 0)
    assert pair(left, SLOW, "later.rollback.pairs") == (0, 0, 1, 0)
    assert pair(left, BROKEN, "later.rollback.pairs") == (0, 0, 0, 1)
    assert pair(left, BROKEN, "error.rollback.pairs") == (1, 0, 0, 0)
    assert pair(left, BROKEN, "error.promote.pairs") == (0, 1, 0, 0)


def test_a_dropped_copy_is_no_pair_unless_it_is_said_too_late() -> None:
    started = pair_starts(SCORING, EPOCH_US)
    assert counted(started + pair_drops(SCORING, EPOCH_US, TIMEOUT_AGE), "p95.rollback.pairs") == (0, 0, 0, 0)
    assert pair_drops(SCORING, EPOCH_US, TIMEOUT_AGE + 1) == ()
