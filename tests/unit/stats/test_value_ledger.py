"""Values through the whole engine: cells as a courier counts them, rows, what is settled, evidence, and stored totals."""

from collections.abc import Iterator

from canary.stats.counts import CounterRow, Horizon, Ledger, Totals, to_bytes
from canary.stats.evidence import MetricEvidence
from canary.stats.facts import Fact
from canary.stats.profile import Profile, profile_cells
from canary.stats.scoring import Scoring, ends, freeze, starts
from canary.stats.side import SegmentWeight
from canary.stats.values import value_profile_cells
from canary.stats.weigh import weigh
from canary.terms import Arm, Scored
from tests.support.value_plans import a_cost, a_fact, a_quality, a_spec

MINUTE = 60_000_000
FIRST = 30_000_000
"""Minute of the first start."""
SPEC = a_spec(a_cost(), a_quality(), answer_timeout_s=10.0, classes=("chat",), diversity="body")
SEGMENT = SegmentWeight(id=7, stage=3, weight_bp=5_000, scored=Scored.ALL)


def answers(n: int, *, cost: float = 1.0) -> Iterator[tuple[int, Fact]]:
    """With their strata: costs of half to one and a half times `cost`, scores of 7 to 9."""
    for index in range(n):
        spread = 0.5 + index % 100 / 100
        fact = a_fact(cost * spread, 7.0 + index % 3, exchange_id=index.to_bytes(16, "big"), answer=index.to_bytes(2, "big"))
        yield index % 2, fact


def scoring() -> Scoring:
    cells: dict[int, int] = {}
    for stratum, fact in answers(2_000):
        for key in (*profile_cells(fact), *value_profile_cells(SPEC.measures, fact, stratum)):
            cells[key] = cells.get(key, 0) + 1
    return freeze(Profile.of(cells), SPEC)


SCORING = scoring()


def row(minute: int, n: int, *, cost: float = 1.0, late: bool = False) -> CounterRow:
    """A minute of answers of both arms; `late`: the candidate's end a microsecond after the age."""
    cells: dict[int, int] = {}
    for arm, factor in ((Arm.STABLE, 1.0), (Arm.CANDIDATE, cost)):
        for index, (stratum, fact) in enumerate(answers(n, cost=factor)):
            at_us = (FIRST + minute) * MINUTE + index % 60 * 1_000_000
            keys = list(starts(SCORING, arm, at_us, stratum=stratum))
            after = late and arm is Arm.CANDIDATE
            answer = a_fact(*fact.values, age_us=SCORING.values.age_us + 1, exchange_id=fact.exchange_id) if after else fact
            keys += ends(SCORING, arm, at_us, answer, stratum=stratum)
            for key in keys:
                cells[key] = cells.get(key, 0) + 1
    return CounterRow(rollout="r", segment=7, journal="j", minute=FIRST + minute, cells=to_bytes(cells), revision=1 + minute)


def settled(*rows: CounterRow, tick_us: int) -> Totals:
    ledger = Ledger()
    ledger.add(rows)
    return ledger.settled([Horizon(journal="j", tick_at_us=tick_us, dead=False)], SCORING)


def evidence(totals: Totals) -> dict[str, MetricEvidence]:
    return {found.metric: found for found in weigh(totals, SCORING, [SEGMENT], stage=3).metrics}


def test_the_plan_is_part_of_the_scoring_and_of_its_budget() -> None:
    names = [metric.name for metric in SCORING.values.metrics]
    assert names == ["client_error", "abandoned", "cost", "cost_over_cap", "score", "diversity"]
    assert 0 < SCORING.values.share < 1
    assert abs(SCORING.values.share + sum(metric.share for metric in SCORING.metrics) - 1) < 1e-9
    assert SCORING.values.age_us == SCORING.pair_age_us


def test_a_minute_counts_once_it_is_settled_whole_for_the_timeout() -> None:
    found, end = row(0, 120), (FIRST + 1) * MINUTE
    before = evidence(settled(found, tick_us=end + SCORING.values.age_us - 1))
    assert before["cost"].n_candidate == 0
    after = evidence(settled(found, tick_us=end + SCORING.values.age_us))
    assert (after["cost"].n_candidate, after["cost"].n_stable) == (120, 120)
    assert after["cost"].mean_candidate == after["cost"].mean_stable


def test_an_end_after_the_age_leaves_its_value_unknown() -> None:
    totals = settled(row(0, 120, late=True), tick_us=(FIRST + 5) * MINUTE)
    cost = evidence(totals)["cost"]
    assert (cost.n_candidate, cost.mean_candidate, cost.abstains) == (120, None, "")


def test_a_dearer_candidate_is_found_in_each_class_and_again_from_what_was_stored() -> None:
    rows = [row(minute, 120, cost=1.6) for minute in range(8)]
    totals = settled(*rows, tick_us=(FIRST + 30) * MINUTE)
    cost = evidence(totals)["cost"]
    assert cost.breached
    assert [one.name for one in cost.classes] == ["", "chat"]
    assert all(one.log_e_rollback > 5 for one in cost.classes)
    assert evidence(Totals.of_bytes(totals.to_bytes(), SCORING))["cost"] == cost


def test_a_cost_that_breaks_late_is_found_by_bets_that_begin_late() -> None:
    good, bad = [row(minute, 120) for minute in range(40)], [row(40 + minute, 120, cost=2.0) for minute in range(4)]
    totals = settled(*good, *bad, tick_us=(FIRST + 60) * MINUTE)
    cost = evidence(totals)["cost"]
    assert cost.breached
