"""Freezing: which contrasts a profile and a plan lead to, at which ages, with which budget."""

import msgspec
import numpy as np
import pytest

from canary.stats.contrast import Metric, Rule
from canary.stats.forecast import rate_growth
from canary.stats.frozen import Scoring
from canary.stats.scoring import freeze
from canary.stats.spec import LatencyMargin, stage_factors
from tests.support.scorings import a_profile, a_scoring, a_spec
from tests.support.streams import Answers, profile_of

CANARY_ONLY = {"shadow_lane_weight": 0.0}


def metric(scoring: Scoring, name: str) -> Metric:
    return next(found for found in scoring.metrics if found.name == name)


def budget(scoring: Scoring) -> float:
    return sum(found.share for found in scoring.metrics) + scoring.values.share


def age_s(scoring: Scoring, name: str) -> float:
    return next(contrast.age_us for contrast in scoring.contrasts if contrast.name == name) / 1e6


def test_stages_widen_the_margins_by_what_could_hurt_next() -> None:
    assert stage_factors([100, 500, 2_500, 5_000]) == (10.0, 2.0, 1.0, 1.0)
    assert stage_factors([10, 50, 5_000]) == (20.0, 1.0, 1.0)
    assert stage_factors([2_000, 5_000]) == (1.0, 1.0)
    assert stage_factors([5_000, 1_000]) == (1.0, 1.0)
    assert stage_factors([500]) == (1.0,)
    assert stage_factors([]) == ()


def test_errors_have_three_ages_and_latency_one() -> None:
    scoring = a_scoring()
    p99 = a_profile().quantile_us(0.99)
    assert p99 is not None
    assert age_s(scoring, "error_fast.rollback") == 1
    assert age_s(scoring, "error.rollback") == np.ceil(1.1 * p99 / 1e6 + 3)
    assert age_s(scoring, "error_timeout.rollback") == 11  # a second after the deadline: the proxy's ticker is coarse
    latency = [scoring.contrasts[index] for index in metric(scoring, "latency").canary]
    assert [contrast.name for contrast in latency] == ["p50.rollback", "p95.rollback", "p99.rollback"]
    assert {contrast.age_us for contrast in latency} == {round(1e6 * age_s(scoring, "error.rollback"))}


def test_each_side_waits_for_its_own_largest_threshold() -> None:
    p99_us = a_profile().quantile_us(0.99)
    assert p99_us is not None
    scoring = a_scoring(connect_timeout_s=2.999 - 1.1 * p99_us / 1e6)
    assert age_s(scoring, "p50.rollback") == 3
    assert age_s(scoring, "p50.promote.1") == 4  # 1.25 times the p99 comes later


def test_ages_that_coincide_are_one_metric_and_their_shares_add() -> None:
    apart, merged = a_scoring(**CANARY_ONLY), a_scoring(answer_timeout_s=2.0, **CANARY_ONLY)
    budgeted = ["error_fast", "error", "error_timeout", "latency", "throughput"]
    assert [found.name for found in apart.metrics if found.share] == budgeted
    assert [found.name for found in merged.metrics if found.share] == [name for name in budgeted if name != "error_timeout"]
    assert age_s(merged, "error.rollback") == 3
    assert metric(merged, "error").share == pytest.approx(0.23 / 0.70)
    assert metric(merged, "error").promote  # the row at the timeout's age carries the errors' gate
    assert metric(apart, "error_timeout").promote
    assert not metric(apart, "error").promote


def test_the_budget_is_spent_once() -> None:
    for changes in ({}, CANARY_ONLY, {"answer_timeout_s": 2.0}, {"latency": ()}):
        assert budget(a_scoring(**changes)) == pytest.approx(1.0)


def test_the_shadow_feeds_errors_at_the_timeouts_age_and_latency() -> None:
    scoring = a_scoring()
    fed = {found.name for found in scoring.metrics if found.shadow}
    assert fed == {"error_timeout", "latency"}
    assert {found.shadow_weight for found in scoring.metrics if found.shadow} == {0.25}
    assert {found.shadow_weight for found in scoring.metrics if not found.shadow} == {0.0}
    names = [scoring.contrasts[index].name for index in metric(scoring, "latency").shadow]
    assert names == ["p50.rollback.pairs", "p95.rollback.pairs", "p99.rollback.pairs", "later.rollback.pairs"]
    gate = scoring.contrasts[metric(scoring, "shadow_error").promote_pairs or 0]
    assert (gate.rho, gate.delta) == (pytest.approx(11.0), pytest.approx(0.02))


def test_a_rollout_without_a_shadow_has_no_lane_for_it() -> None:
    scoring = a_scoring(**CANARY_ONLY)
    assert not any(contrast.pairs for contrast in scoring.contrasts)
    assert not any(found.shadow or found.shadow_weight or found.name == "shadow_error" for found in scoring.metrics)


def test_early_stages_count_failures_and_the_last_ones_only_what_is_open() -> None:
    scoring = a_scoring()
    contrasts = [scoring.contrasts[index] for index in metric(scoring, "p95").promote]
    assert [contrast.rule for contrast in contrasts] == [Rule.SLOW, Rule.SLOW, Rule.OPEN, Rule.OPEN]
    first, second, last, _ = contrasts
    stable = first.stable_us
    assert first.candidate_us == round(2.5 * stable)  # f = 10
    assert second.candidate_us == round(1.3 * stable)  # f = 2
    assert last.candidate_us == round(1.15 * stable)
    p0 = a_profile().p_not_well(11e6)
    assert first.delta == pytest.approx(5 * p0 + 0.01)
    assert last.delta == 0


def test_no_stage_may_triple_a_latency() -> None:
    scoring = a_scoring(stage_factors=(20.0, 1.0))
    contrast = scoring.contrasts[metric(scoring, "p99").promote[0]]
    assert contrast.candidate_us == 3 * contrast.stable_us


def test_a_quantile_without_a_promote_margin_is_guarded_only() -> None:
    scoring = a_scoring(
        latency=(LatencyMargin(quantile=0.5, rollback_d=0.03, promote_d=0.1), LatencyMargin(quantile=0.99, rollback_d=0.1))
    )
    assert [found.name for found in scoring.metrics] == [
        "error_fast",
        "error",
        "error_timeout",
        "latency",
        "p50",
        "throughput",
        "shadow_error",
    ]
    assert len(metric(scoring, "latency").canary) == 2


def test_thresholds_stay_below_the_timeout() -> None:
    scoring = a_scoring(answer_timeout_s=0.55)
    largest = int(0.99 * 0.55e6)
    assert max(scoring.candidate_us) == largest
    assert max(scoring.ages_us) == 1_550_000
    assert all(contrast.stable_us < largest for contrast in scoring.contrasts)


def test_quantiles_that_the_profile_cannot_know_are_left_out() -> None:
    few = freeze(a_profile(60), a_spec())
    assert [
        contrast.name for contrast in few.contrasts if contrast.rule is Rule.SLOW and contrast.name.endswith("rollback")
    ] == [
        "p50.rollback",
        "p95.rollback",
    ]
    broken = Answers.of(age_us=np.full(50, 9_000), latency_us=np.full(50, 8_000), failed=np.ones(50, dtype=bool))
    none = freeze(profile_of(broken), a_spec())
    assert [found.name for found in none.metrics] == ["error_fast", "error_timeout", "throughput", "shadow_error"]
    assert budget(none) == pytest.approx(1.0)


def test_effects_start_from_the_nulls_rate() -> None:
    scoring = freeze(a_profile(error_rate=0.0), a_spec())
    contrast = scoring.contrasts[metric(scoring, "error_timeout").canary[0]]
    assert contrast.effects[0] == pytest.approx(1.2 * (1.1 * contrast.center + 0.0005))
    assert contrast.effects[-1] <= 0.999


def test_promotion_bets_on_no_effect_and_on_half_the_margin() -> None:
    profile = a_profile()
    contrasts = {contrast.name: contrast for contrast in freeze(profile, a_spec()).contrasts}
    errors, p95 = contrasts["error.promote.1"], contrasts["p95.promote.1"]
    assert errors.effects == pytest.approx((errors.center, 1.25 * errors.center + 0.0005))
    over = [profile.still_open(p95.candidate_us, scale=scale) for scale in (1.0, 1.075)]
    assert p95.effects == pytest.approx([(count + 0.5) / (profile.n + 1) for count in over])


def test_what_is_better_passes_sooner_by_the_bet_for_no_effect() -> None:
    """So it needs no alternative of its own, which would make everybody else's evidence smaller."""
    errors = next(contrast for contrast in a_scoring().contrasts if contrast.name == "error.promote.1")
    growth = [rate_growth(errors, 0.5, candidate=times * 0.005, stable=0.005).mean for times in (1.0, 0.9, 0.5)]
    assert growth[0][0] < growth[1][0] < growth[2][0]
    assert growth[0][0] > growth[0][1], "an equal candidate by the bet that is its own"


def test_a_scoring_is_plain_data() -> None:
    scoring = a_scoring()
    again = msgspec.json.decode(msgspec.json.encode(scoring), type=Scoring)
    assert again == scoring
    assert hash(again) == hash(scoring)
