"""Evidence of values: both sides, lanes, stages, classes, and who keeps silent for which reason."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from canary.stats.diversity import BINS, AnswerCounts, diversity_log_e
from canary.stats.evidence import MetricEvidence
from canary.stats.facts import UNTOLD, Fact
from canary.stats.means import MeanCounts, log_e, over_cap
from canary.stats.side import Counted
from canary.stats.value_cells import columns_of_plan
from canary.stats.value_plan import NO_ANSWERS, NO_PAIRS, NO_PROFILE
from canary.stats.value_sides import sides_of_plan
from canary.terms import Arm, Scored
from tests.support.plain_guards import preference_log_e
from tests.support.value_plans import (
    Tally,
    a_cost,
    a_fact,
    a_plan,
    a_preference,
    a_quality,
    a_rate,
    a_spec,
    evidence_of,
    metric_of,
    rollback_log_e,
)

ALL = (a_cost(), a_quality(), a_rate(), a_preference())
SPEC = a_spec(*ALL, diversity="body")


def answers(n: int, *, cost: float = 1.0, score: float = 8.0, invalid: float = 0.02, first: int = 0) -> Iterator[Fact]:
    """Costs of half to one and a half times `cost`, scores around `score`."""
    for index in range(n):
        bad = float(int(index * invalid) != int((index + 1) * invalid))
        yield a_fact(
            cost * (0.5 + index % 100 / 100),
            min(10.0, score - 1 + index % 3),
            bad,
            score,
            exchange_id=(first + index).to_bytes(16, "big"),
            answer=index.to_bytes(2, "big"),
        )


PLAN = a_plan(SPEC, answers(2_000))


def canary(n: int, **changes: Any) -> Tally:
    """As many answers of each arm; the candidate's are changed."""
    tally = Tally(PLAN)
    for fact in answers(n):
        tally.answer(Arm.STABLE, fact)
    for fact in answers(n, first=n, **changes):
        tally.answer(Arm.CANDIDATE, fact)
    return tally


def rows(*tallies: Tally, stage: int = 0, **changes: Any) -> dict[str, MetricEvidence]:
    return evidence_of(PLAN, SPEC, *(tally.counted(**changes) for tally in tallies), stage=stage)


def test_before_anything_has_settled_nothing_is_said() -> None:
    for stage in (-1, 0, 3, 4):
        for row in evidence_of(PLAN, SPEC, stage=stage).values():
            assert not row.breached
            assert row.log_e_rollback == pytest.approx(0.0)
            assert row.log_e_promote in (None, pytest.approx(0.0))
            assert (row.mean_candidate, row.abstains) == (None, "")


def test_an_equal_candidate_is_promoted_and_not_rolled_back() -> None:
    found = rows(canary(3_000), stage=0)
    for name in ("cost", "score", "invalid", "diversity"):
        assert not found[name].breached
        assert found[name].cleared
    assert not found["preference"].cleared  # no pairs
    for name in ("client_error", "abandoned", "cost_over_cap"):
        assert found[name].log_e_promote is None
        assert found[name].cleared


@pytest.mark.parametrize(
    ("name", "changes"), [("cost", {"cost": 1.4}), ("score", {"score": 6.5}), ("invalid", {"invalid": 0.2})]
)
def test_a_worse_candidate_is_rolled_back_for_what_is_worse_alone(name: str, changes: dict[str, float]) -> None:
    found = rows(canary(1_500, **changes), stage=3)
    assert [row.metric for row in found.values() if row.breached] == [name]
    assert not found[name].cleared


def test_means_are_in_the_metrics_own_unit_and_a_quality_is_shown_as_one() -> None:
    found = rows(canary(1_000, cost=1.2, score=7.0))
    cost, score = found["cost"], found["score"]
    assert (cost.mean_candidate, cost.mean_stable, cost.unit) == (
        pytest.approx(1.194, rel=0.01),
        pytest.approx(0.995, rel=0.01),
        "USD",
    )
    assert (score.mean_candidate, score.mean_stable) == (pytest.approx(7.0, abs=0.02), pytest.approx(8.0, abs=0.02))
    assert (cost.n_candidate, cost.n_stable, cost.bad_candidate) == (1_000, 1_000, 0)
    assert (found["invalid"].bad_candidate, found["invalid"].mean_candidate) == (20, None)


def test_neither_a_ramp_nor_other_shares_of_classes_move_the_means() -> None:
    """Requests get dearer during the ramp, and most of the candidate's come late: pooled, it would look dearer."""
    early, late = Tally(PLAN), Tally(PLAN)
    for tally, cost, mine, theirs in ((early, 0.5, 100, 1_900), (late, 1.5, 1_000, 1_000)):
        for fact in answers(mine, cost=cost):
            tally.answer(Arm.CANDIDATE, fact)
        for fact in answers(theirs, cost=cost, first=mine):
            tally.answer(Arm.STABLE, fact)
    row = evidence_of(PLAN, SPEC, early.counted(500), late.counted(5_000))["cost"]
    assert row.mean_candidate == pytest.approx(row.mean_stable, rel=0.01)
    overlap = (100 * 1_900 / 2_000, 500)
    assert row.mean_stable == pytest.approx((overlap[0] * 0.5 + overlap[1] * 1.5) / sum(overlap) * 0.995, rel=0.01)
    assert row.n_candidate == 1_100


def test_lanes_share_one_share_of_the_budget() -> None:
    """3/4 of the canary's e-value and 1/4 of the pairs'."""
    tally = canary(200, cost=1.3)
    for stable, candidate in zip(answers(300), answers(300, cost=1.3), strict=True):
        tally.pair(stable, candidate)
    metric, found = metric_of(PLAN, "cost"), tally.counted()
    assert metric.mean is not None
    assert metric.rollback is not None
    assert metric.rollback_pairs is not None
    blocks = columns_of_plan(PLAN).blocks
    lanes = [
        log_e(
            metric.mean,
            margin,
            [MeanCounts(segment=1, weight_bp=5_000, counts=tuple(map(tuple, block.of(found.values).tolist())))],
        )
        for margin, block in zip((metric.rollback, metric.rollback_pairs), blocks[metric.number :], strict=False)
    ]
    assert lanes[1] > lanes[0] > 0
    expected = math.log(0.75 * math.exp(lanes[0]) + 0.25 * math.exp(lanes[1]))
    assert rollback_log_e(PLAN, [found])["cost"] == pytest.approx(expected, abs=1e-9)


def test_components_add_over_segments_and_minutes() -> None:
    one, two = canary(300, cost=1.1).counted(), canary(200, score=7.0).counted()
    both = Counted(5_000, Scored.ALL, one.rates, one.values + two.values)
    for side in sides_of_plan(PLAN):
        assert len(side.components(one)) == side.size
        assert side.components(one) + side.components(two) == pytest.approx(side.components(both), abs=1e-9)
        many = np.stack([side.components(one), side.components(two)])
        assert side.combine(many).tolist() == [float(side.combine(row)) for row in many]


def test_a_warm_up_and_an_unscored_segment_say_nothing() -> None:
    for scored in (Scored.FAILURES, Scored.NONE):
        for row in rows(canary(300, cost=3.0), scored=scored).values():
            assert (row.n_candidate, row.log_e_rollback) == (0, pytest.approx(0.0))


def test_without_a_coin_only_pairs_speak() -> None:
    tally = canary(300, cost=3.0)
    for stable, candidate in zip(answers(300), answers(300, cost=3.0), strict=True):
        tally.pair(stable, candidate)
    row = rows(tally, weight_bp=0, stage=-1)["cost"]
    assert (row.n_candidate, row.pairs) == (0, 300)
    assert row.breached


def test_a_rare_metric_needs_a_few_events() -> None:
    spec = a_spec(a_rate(share=0.5, rollback_rho=1.0, rollback_delta=0.0))
    plan = a_plan(spec, [a_fact(0.0)] * 50_000)
    tally = Tally(plan)
    tally.answer(Arm.STABLE, a_fact(0.0), times=9_900)
    tally.answer(Arm.CANDIDATE, a_fact(1.0), times=2)
    row = evidence_of(plan, spec, tally.counted(100))["invalid"]
    assert row.log_e_rollback is not None
    assert row.need_rollback is not None
    assert row.log_e_rollback > row.need_rollback
    assert not row.breached
    tally.answer(Arm.CANDIDATE, a_fact(1.0))
    assert evidence_of(plan, spec, tally.counted(100))["invalid"].breached


@pytest.mark.parametrize("value", [None, math.nan, -0.01, -math.inf])
@pytest.mark.parametrize("arm", list(Arm))
def test_one_amount_that_is_none_silences_its_metric_and_blocks_promotion(value: float | None, arm: Arm) -> None:
    tally = canary(1_500, cost=1.5)
    tally.answer(arm, a_fact(value, 8.0, 0.0, 8.0))
    found = rows(tally, stage=3)
    for name in ("cost", "cost_over_cap"):
        whose = "the candidate's" if arm is Arm.CANDIDATE else "stable's"
        assert found[name].abstains == f"no usable value in 1 of {whose} answers"
        assert not found[name].breached
        assert not found[name].cleared
    assert found["score"].cleared


def test_an_amount_that_nobody_can_tell_is_unknown_and_silences_nothing() -> None:
    tally = canary(1_500)
    tally.answer(Arm.CANDIDATE, a_fact(UNTOLD, 8.0, 0.0, 8.0))
    row = rows(tally)["cost"]
    assert (row.abstains, row.n_candidate) == ("", 1_501)
    assert row.log_e_promote < rows(canary(1_500))["cost"].log_e_promote  # type: ignore[operator]


def test_a_pair_with_no_amount_silences_it_as_well() -> None:
    tally = canary(100)
    tally.pair(a_fact(None, 8.0, 0.0, 8.0), a_fact(1.0, 8.0, 0.0, 8.0), times=2)
    assert rows(tally)["cost"].abstains == "no usable value in 2 pairs"


def test_a_metric_of_which_no_answer_says_anything_abstains() -> None:
    tally = Tally(PLAN)
    for arm in Arm:
        tally.answer(arm, a_fact(None, 8.0, 0.0), times=1_000)
    assert rows(tally)["cost"].abstains == "no usable value in 1000 of the candidate's answers and 1000 of stable's answers"


def test_costs_over_the_cap_are_guarded_although_the_mean_is_cut_there() -> None:
    """One answer in 40 costs a thousand times as much; cut to the cap it moves the mean a little."""
    tally = canary(1_000)
    for index in range(25):
        tally.answer(Arm.CANDIDATE, a_fact(1_000.0, 8.0, 0.0, 8.0, exchange_id=index.to_bytes(16, "big")))
    row = rows(tally)["cost_over_cap"]
    assert (row.bad_candidate, row.bad_stable, row.n_candidate) == (25, 0, 1_025)
    assert row.breached
    metric = metric_of(PLAN, "cost")
    assert metric.mean is not None
    block = columns_of_plan(PLAN).blocks[metric.number].of(tally.vector())
    assert over_cap(metric.mean.grid, block)[0, [0, 1]].tolist() == [1_000, 25]


def test_starts_without_a_value_score_against_both_claims() -> None:
    known, open_ones = canary(2_000), canary(2_000)
    for arm in Arm:
        open_ones.start(arm, times=300)
    before, after = rows(known, stage=3), rows(open_ones, stage=3)
    for name in ("cost", "score", "invalid"):
        for side in ("log_e_rollback", "log_e_promote"):
            assert getattr(after[name], side) < getattr(before[name], side)
        assert after[name].mean_candidate == before[name].mean_candidate


def test_an_early_gate_passes_on_either_evidence_each_at_half_the_error() -> None:
    tally = Tally(PLAN)
    for stable, candidate in zip(answers(2_500), answers(2_500), strict=True):
        tally.pair(stable, candidate)
    early, last, shadow = (rows(tally, stage=stage)["score"] for stage in (0, 3, -1))
    assert early.need_promote == early.need_promote_pairs == pytest.approx(math.log(40))
    assert early.log_e_promote == pytest.approx(0.0)
    assert early.cleared
    assert (last.need_promote, last.log_e_promote_pairs) == (pytest.approx(math.log(20)), None)
    assert not last.cleared
    assert shadow.log_e_promote is not None
    assert early.log_e_promote_pairs is not None
    assert shadow.log_e_promote > early.log_e_promote_pairs  # a wider margin out of the shadow
    assert shadow.need_promote == pytest.approx(math.log(20))


def test_promote_margins_are_those_of_the_stage_and_of_the_last_one_after_it() -> None:
    found = [rows(canary(1_000, score=7.5), stage=stage)["score"].log_e_promote for stage in range(5)]
    assert found[0] > found[1] > found[2] == found[3] == found[4]  # type: ignore[operator]


def test_preference_is_the_ladder_over_wins_ties_and_losses() -> None:
    tally = Tally(PLAN)
    better, worse = a_fact(1.0, 8.0, 0.0, 9.0), a_fact(1.0, 8.0, 0.0, 3.0)
    for live, shadow, times in ((better, worse, 60), (worse, better, 20), (better, better, 120)):
        tally.pair(live, shadow, times=times)
    row = rows(tally, stage=2)["preference"]
    assert (row.pairs, row.pairs_worse, row.pairs_better) == (200, 60, 20)
    assert row.log_e_rollback == pytest.approx(preference_log_e(0.01, losses=60, ties=120, wins=20))
    assert row.log_e_promote == pytest.approx(preference_log_e(0.05, losses=60, ties=120, wins=20, promote=True))
    assert row.breached
    wide = rows(tally, stage=0)["preference"]
    assert wide.log_e_promote == pytest.approx(preference_log_e(0.5, losses=60, ties=120, wins=20, promote=True))


def test_without_a_shadow_a_preference_says_why_it_is_silent() -> None:
    spec = a_spec(a_preference(), shadow_lane_weight=0.0)
    row = evidence_of(a_plan(spec), spec)["preference"]
    assert row.abstains == NO_PAIRS
    assert not row.cleared


def test_without_a_profile_a_declared_cap_lets_the_rollback_side_act() -> None:
    spec = a_spec(a_cost(cap=4.0))
    plan = a_plan(spec)
    tally = Tally(plan)
    for index in range(1_500):
        tally.answer(Arm.STABLE, a_fact(1.0, exchange_id=index.to_bytes(16, "big")))
        tally.answer(Arm.CANDIDATE, a_fact(2.0, exchange_id=index.to_bytes(16, "little")))
    row = evidence_of(plan, spec, tally.counted(), stage=3)["cost"]
    assert row.breached
    assert (row.promote_abstains, row.cleared, row.abstains) == (NO_PROFILE, False, "")
    silent = a_spec(a_cost())
    row = evidence_of(a_plan(silent), silent, stage=3)["cost"]
    assert (row.abstains, row.cleared, row.log_e_rollback) == (NO_PROFILE, False, None)


def test_a_share_of_nothing_never_rolls_back() -> None:
    spec = a_spec(a_cost(share=0.0))
    plan = a_plan(spec, answers(2_000))
    tally = Tally(plan)
    for fact in answers(500):
        tally.answer(Arm.STABLE, fact)
        tally.answer(Arm.CANDIDATE, a_fact(9.0, exchange_id=fact.exchange_id))
    row = evidence_of(plan, spec, tally.counted())["cost"]
    assert row.log_e_rollback is not None
    assert row.log_e_rollback > 10
    assert row.need_rollback is None
    assert not row.breached


CLASSED = a_spec(a_cost(), a_rate(), classes=("chat", "code"))


def classed(**dearer: float) -> tuple[Tally, dict[int, float]]:
    plan = a_plan(CLASSED, answers(2_000), stratum=1)
    tally, times = Tally(plan), {1: dearer.get("chat", 1.0), 2: dearer.get("code", 1.0)}
    for stratum, factor in times.items():
        for fact in answers(1_500, first=stratum * 10_000):
            tally.answer(Arm.STABLE, a_fact(fact.values[0], 0.0, exchange_id=fact.exchange_id), stratum=stratum)
        for fact in answers(1_500, cost=factor, first=stratum * 10_000 + 5_000):
            tally.answer(Arm.CANDIDATE, a_fact(fact.values[0], 0.0, exchange_id=fact.exchange_id), stratum=stratum)
    return tally, times


def test_each_class_has_a_word_of_its_own() -> None:
    tally, _ = classed(code=1.6)
    row = evidence_of(tally.plan, CLASSED, tally.counted())["cost"]
    assert [one.name for one in row.classes] == ["", "chat", "code"]
    none, chat, code = row.classes
    assert (none.n_candidate, none.log_e_rollback) == (0, pytest.approx(0.0))
    assert (chat.n_candidate, chat.n_stable) == (1_500, 1_500)
    assert code.bad_candidate / code.bad_stable == pytest.approx(1.6, rel=0.01)
    assert chat.log_e_rollback < 0 < 10 < code.log_e_rollback
    assert row.breached


def test_a_class_that_is_a_gate_of_its_own_is_not_carried_by_another() -> None:
    tally, _ = classed(chat=0.5, code=1.3)
    found = [evidence_of(tally.plan, CLASSED, tally.counted(), stage=3, gated=gated)["cost"] for gated in ((), (1,), (1, 2))]
    assert [row.cleared for row in found] == [True, True, False]
    assert found[0].log_e_promote == found[1].log_e_promote or found[1].log_e_promote < found[0].log_e_promote  # type: ignore[operator]


def test_diversity_is_weighed_by_segment_and_gates_promotion() -> None:
    tally = canary(400)
    row = rows(tally)["diversity"]
    block = columns_of_plan(PLAN).blocks[metric_of(PLAN, "diversity").number].of(tally.vector())[0]
    expected = AnswerCounts(
        weight_bp=5_000, candidate=tuple(block[:BINS].tolist()), stable=tuple(block[BINS + 1 : -1].tolist())
    )
    assert row.log_e_rollback == pytest.approx(diversity_log_e([expected]))
    assert row.log_e_promote == pytest.approx(diversity_log_e([expected], promote=True))
    assert row.cleared
    assert rows(tally, stage=-1)["diversity"].log_e_promote is None


def test_a_constant_answerer_is_rolled_back() -> None:
    tally = Tally(PLAN)
    for fact in answers(300):
        tally.answer(Arm.STABLE, fact)
        tally.answer(Arm.CANDIDATE, a_fact(*fact.values, exchange_id=fact.exchange_id, answer=b"I do not know."))
    found = rows(tally, stage=3)
    assert [row.metric for row in found.values() if row.breached] == ["diversity"]
    assert not found["diversity"].cleared


def test_where_no_answer_is_found_diversity_says_so() -> None:
    tally = Tally(PLAN)
    for arm in Arm:
        tally.answer(arm, a_fact(1.0, 8.0, 0.0, 8.0), times=10)
    row = rows(tally)["diversity"]
    assert (row.abstains, row.n_candidate, row.cleared) == (NO_ANSWERS, 10, False)


def test_a_failing_candidate_is_no_better_for_costing_nothing() -> None:
    """Its failures cost what was billed; the error guardrail stops it, and the quality is lost."""
    tally = Tally(PLAN)
    for fact in answers(800):
        tally.answer(Arm.STABLE, fact)
        tally.answer(Arm.CANDIDATE, a_fact(None, None, None, None, failed=True, exchange_id=fact.exchange_id))
    found = rows(tally)
    assert found["cost"].mean_candidate == 0.0
    assert not found["cost"].abstains
    assert found["score"].breached
    assert found["invalid"].breached
