"""Late onset on sticky routes: what a ledger counts for it, what evidence makes of it, and that stored totals say the same."""

import math
from collections.abc import Sequence

import msgspec
import pytest

from canary.stats.evidence import MetricEvidence
from canary.stats.first_event import FirstEventRow, evidence_of_users, lower_rate
from canary.stats.freezing import freeze
from canary.stats.sticky_ledger import StickyLedger
from canary.stats.sticky_totals import StickyTotals
from canary.stats.sticky_weigh import weigh_sticky
from canary.stats.unit_events import BLOCK_US, ERROR, late_metric
from canary.terms import Arm
from tests.support.scorings import a_horizon, a_profile, a_segment, a_spec
from tests.support.streams import EPOCH_US, MINUTE_US

SCORING = freeze(a_profile(), a_spec(sticky=True))
OPENED = EPOCH_US // MINUTE_US
SEGMENTS = [a_segment(weight_bp=5_000, stage=3, opened_minute=OPENED)]


def failures(block: int, *, candidate: int, stable: int, first_user: int = 0) -> list[FirstEventRow]:
    """So many users of either arm fail in that block after the rollout's start, one after the other."""
    rows = []
    for place, arm in enumerate([Arm.CANDIDATE] * candidate + [Arm.STABLE] * stable):
        start_us, unit = EPOCH_US + block * BLOCK_US + place, (first_user + place).to_bytes(8, "big")
        rows += [FirstEventRow("r", name, unit, start_us, 7, arm, "j0", 1) for name in (ERROR, late_metric(start_us))]
    return rows


def totals_of(rows: Sequence[FirstEventRow], *, after_min: int = 100, ledger: StickyLedger | None = None) -> StickyTotals:
    ledger = ledger or StickyLedger()
    # A user that fails again tells a later block beside his first failure of all.
    ledger.add_first(rows)
    return ledger.settled([a_horizon(EPOCH_US + after_min * MINUTE_US)], SCORING, SEGMENTS)


def errors_of(totals: StickyTotals) -> MetricEvidence:
    (row,) = [row for row in weigh_sticky(totals, SCORING, SEGMENTS, stage=3).metrics if row.metric == "error_timeout"]
    return row


GOOD = [row for block in range(6) for row in failures(block, candidate=6, stable=8, first_user=100 * block)]
BROKEN = failures(6, candidate=30, stable=1, first_user=900)


def test_what_breaks_after_an_hour_is_found_by_the_bet_that_began_with_it() -> None:
    totals = totals_of([*GOOD, *BROKEN])
    without = errors_of(msgspec.structs.replace(totals, late=None))
    assert errors_of(totals).breached
    assert not without.breached
    assert not errors_of(totals_of(GOOD)).breached


def test_users_that_had_failed_before_count_again_for_a_bet_that_begins_later() -> None:
    again = [row for row in failures(6, candidate=30, stable=6, first_user=0) if row.metric != ERROR]
    before = failures(0, candidate=30, stable=6, first_user=0)
    first = EPOCH_US // BLOCK_US
    late = totals_of([*before, *again]).late
    assert late == {first: {7: (30, 6)}, first + 6: {7: (30, 6)}}


def test_the_value_is_half_that_since_the_start_or_the_best_restart_within_its_share() -> None:
    totals = totals_of([*GOOD, *BROKEN])
    contrast = next(one for one in SCORING.contrasts if one.name.startswith("error") and one.age_us == SCORING.pair_age_us)
    bad = round(contrast.center * (SCORING.profile_n + 1) - 0.5)
    expected = -math.inf
    for block, (candidate, stable) in {6: (30, 1), 5: (36, 9), 0: (66, 49)}.items():
        found = evidence_of_users(
            {7: (candidate, stable)},
            {7: 5_000},
            rho=contrast.rho,
            delta=contrast.delta,
            lowest_stable_rate=lower_rate(bad, SCORING.profile_n),
        )
        k = block + 1
        expected = max(expected, found.log_e - math.log(2 * k * (k + 1)))
    assert errors_of(totals).log_e_rollback == pytest.approx(expected, abs=1e-9)


def test_totals_that_were_stored_before_there_were_restarts_say_what_they_said() -> None:
    totals = msgspec.structs.replace(totals_of([*GOOD, *BROKEN]), late=None)
    without = errors_of(totals)
    assert without.log_e_rollback is not None
    assert errors_of(StickyTotals.of_bytes(totals.to_bytes(), SCORING)) == without
    halved = errors_of(msgspec.structs.replace(totals, late={})).log_e_rollback
    assert halved == pytest.approx(without.log_e_rollback - math.log(2), abs=1e-9)


def test_a_look_says_the_same_from_stored_totals_to_the_last_bit() -> None:
    totals = totals_of([*GOOD, *BROKEN])
    stored = StickyTotals.of_bytes(totals.to_bytes(), SCORING)
    assert stored == totals
    assert weigh_sticky(stored, SCORING, SEGMENTS, stage=3) == weigh_sticky(totals, SCORING, SEGMENTS, stage=3)


def test_bets_of_more_than_two_hours_ago_are_dropped() -> None:
    ledger = StickyLedger()
    first = EPOCH_US // BLOCK_US
    assert list(totals_of([*GOOD, *BROKEN], ledger=ledger, after_min=180).late or ()) == [first + 6]
    assert list(totals_of(GOOD, ledger=ledger, after_min=180).late or ()) == [first + 6]  # told again, and dropped again
    assert totals_of([], ledger=ledger, after_min=180).events == {ERROR: {7: (66, 49)}}
