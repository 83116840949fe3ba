"""Plans of values: which metrics there are, their margins by stage, and what they may do without a profile."""

from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from canary.stats.facts import Fact
from canary.stats.grid import COST_POINTS, QUALITY_GRID
from canary.stats.means import RATE_GRID
from canary.stats.value_plan import NO_CAP, NO_MARGIN, NO_PAIRS, NO_PROFILE, Form, ValuePlan
from canary.stats.value_planning import LEAST_VALUES, plan_values
from tests.support.value_plans import (
    FACTORS,
    TIMEOUT_US,
    a_cost,
    a_fact,
    a_plan,
    a_preference,
    a_quality,
    a_rate,
    a_spec,
    metric_of,
    profile_of,
)

ALL = (a_cost(), a_quality(), a_rate(), a_preference())


def seen(n: int = 1_000) -> Iterator[Fact]:
    """Costs of .5 to 1.5, a score of 8, 2 % invalid."""
    for index in range(n):
        yield a_fact(0.5 + index / n, 8.0, float(index % 50 == 0), 1.0, client_error=index % 100 == 0)


def test_every_rollout_guards_client_errors_and_abandoned_answers_on_the_rollback_side_alone() -> None:
    plan = a_plan(a_spec(), seen())
    assert [metric.name for metric in plan.metrics] == ["client_error", "abandoned"]
    for metric in plan.metrics:
        assert metric.rollback is not None
        assert (metric.rollback.rho, metric.rollback.delta) == (1.10, 0.002)
        assert not metric.promote
        assert not metric.pair_margins
        assert not metric.promote_abstains
        assert len(metric.rollback.effects) == 8
    assert metric_of(plan, "client_error").mean.mean() == pytest.approx(10.5 / 1_001)  # type: ignore[union-attr]


def test_declared_metrics_come_in_their_order_with_an_amounts_guard_behind_it() -> None:
    plan = a_plan(a_spec(*ALL, diversity="body"), seen())
    assert [(metric.name, metric.form) for metric in plan.metrics[2:]] == [
        ("cost", Form.AMOUNT),
        ("cost_over_cap", Form.OVER_CAP),
        ("score", Form.QUALITY),
        ("invalid", Form.RATE),
        ("preference", Form.PREFERENCE),
        ("diversity", Form.DIVERSITY),
    ]
    assert [metric.index for metric in plan.metrics] == [-1, -1, 0, 0, 1, 2, 3, -1]
    assert metric_of(plan, "cost_over_cap").number == metric_of(plan, "cost").number


def test_cells_are_numbered_without_a_gap() -> None:
    plan = a_plan(a_spec(*ALL, diversity="body"), seen())
    own = [metric for metric in plan.metrics if metric.form is not Form.OVER_CAP]
    assert [metric.number for metric in own] == np.cumsum([0, *(metric.numbers for metric in own[:-1])]).tolist()
    assert {metric.name: metric.numbers for metric in own} == {
        "client_error": 1,
        "abandoned": 1,
        "cost": 6,  # its values, pairs for rollback, and for promotion at 10, 2, 1 and out of the shadow
        "score": 6,
        "invalid": 2,
        "preference": 1,
        "diversity": 1,
    }


def test_grids_and_scales() -> None:
    plan = a_plan(a_spec(*ALL), seen())
    cost, score, rate = (metric_of(plan, name).mean for name in ("cost", "score", "invalid"))
    assert cost is not None
    assert score is not None
    assert rate is not None
    assert len(cost.grid.points) == COST_POINTS
    assert cost.grid.cap == pytest.approx(1.5 * 1.5, rel=0.02)
    assert cost.mean() == pytest.approx(1.0, rel=0.01)
    assert (score.grid, score.mean()) == (QUALITY_GRID, pytest.approx(0.2, abs=1e-3))
    assert (rate.grid, rate.mean()) == (RATE_GRID, pytest.approx(20.5 / 1_001))
    rollback = metric_of(plan, "score").rollback
    assert rollback is not None
    assert (rollback.rho, rollback.delta) == (1.0, pytest.approx(0.005))  # .05 of 10


def test_a_rates_bets_are_tuned_for_multiples_of_the_null() -> None:
    metric = metric_of(a_plan(a_spec(a_rate()), [a_fact(float(i % 50 == 0)) for i in range(1_000)]), "invalid")
    assert metric.mean is not None
    assert metric.rollback is not None
    p0 = metric.mean.mean()
    rates = [p0 + effect.worst * (1 - p0) for effect in metric.rollback.effects]
    null = 1.1 * p0 + 0.002
    assert rates == pytest.approx([min(null * times, 0.999) for times in (1.2, 1.4, 1.8, 2.5, 4, 8, 20, 100)])
    none, half_way = (p0 + effect.worst * (1 - p0) for effect in metric.promote[-1].effects)
    assert (none, half_way) == pytest.approx((p0, p0 + (0.5 * p0 + 0.005) / 2))


def test_alternatives_are_counted_from_a_wide_tolerance() -> None:
    wide = metric_of(a_plan(a_spec(a_cost(rollback_rho=2.0, promote_rho=3.0)), seen()), "cost").rollback
    assert wide is not None
    assert [effect.times for effect in wide.effects] == pytest.approx([2.1, 2.2, 2.5, 3.2, 6.0])
    loose = metric_of(a_plan(a_spec(a_quality(rollback_delta=2.0)), ([a_fact(8.0)] * 200)), "score")
    assert loose.rollback is not None
    assert loose.mean is not None
    mean, least = loose.mean.mean(), loose.mean.mean() + 0.2
    assert all(mean + effect.worst * (1 - mean) > least for effect in loose.rollback.effects)


def test_early_stages_widen_the_promote_margin() -> None:
    cost, score = (metric_of(a_plan(a_spec(*ALL), seen()), name) for name in ("cost", "score"))
    assert [margin.rho for margin in cost.promote] == pytest.approx([2.0, 1.2, 1.1, 1.1])
    assert [margin.delta for margin in score.promote] == pytest.approx([0.2, 0.04, 0.02, 0.02])
    assert [margin.rho for margin in cost.promote_pairs] == pytest.approx([2.0, 1.2, 1.1, 3.0])  # 20 out of the shadow
    assert cost.stage_pairs == (0, 1, 2, -1)  # the last stage asks canary evidence alone
    assert cost.shadow_pairs == 3


def test_a_widened_margin_leaves_something_to_find_out() -> None:
    score = metric_of(a_plan(a_spec(a_quality(promote_delta=1.0)), ([a_fact(8.0)] * 200)), "score")
    assert [margin.delta for margin in score.promote_pairs] == pytest.approx([0.9, 0.2, 0.1, 0.9])


def test_preferences_promote_by_pairs_at_every_stage() -> None:
    preference = metric_of(a_plan(a_spec(a_preference()), []), "preference")
    assert [margin.delta for margin in preference.promote_pairs] == pytest.approx([0.5, 0.1, 0.05, 0.9])
    assert preference.stage_pairs == (0, 1, 2, 2)
    assert preference.shadow_weight == 1.0
    assert not preference.in_canary


def test_without_a_shadow_there_are_no_pairs_and_preferences_abstain() -> None:
    plan = a_plan(a_spec(*ALL, shadow_lane_weight=0.0), seen())
    assert metric_of(plan, "preference").abstains == NO_PAIRS
    assert all(not metric.pair_margins and not metric.shadow_weight for metric in plan.metrics)


def test_a_shadow_alone_has_pairs_alone() -> None:
    plan = a_plan(a_spec(*ALL, stage_factors=()), seen())
    for name in ("cost", "score", "invalid"):
        metric = metric_of(plan, name)
        assert metric.shadow_weight == 1.0
        assert not metric.promote
        assert len(metric.promote_pairs) == 1


def test_an_amount_without_profile_and_cap_abstains_and_leaves_its_share_to_others() -> None:
    spec = a_spec(a_cost())
    plan = plan_values(profile_of(spec, []), spec, age_us=TIMEOUT_US)
    assert (metric_of(plan, "cost").abstains, metric_of(plan, "cost").share) == (NO_PROFILE, 0.0)
    assert [metric.name for metric in plan.metrics] == ["client_error", "abandoned", "cost"]


@pytest.mark.parametrize("n", [0, LEAST_VALUES - 1])
def test_without_a_profile_only_the_rollback_side_may_act(n: int) -> None:
    plan = a_plan(a_spec(a_cost(cap=4.0), a_quality(), a_rate()), list(seen())[:n])
    for name in ("cost", "score", "invalid"):
        metric = metric_of(plan, name)
        assert not metric.abstains
        assert metric.promote_abstains == NO_PROFILE
        assert metric.rollback is not None
        assert not metric.promote
        assert metric.mean is not None
        assert not any(map(any, metric.mean.profile))
    cost = metric_of(plan, "cost").mean
    assert cost is not None
    assert (cost.grid.cap, cost.grid.points[1]) == (4.0, pytest.approx(0.004))


def test_a_declared_cap_is_the_grids_whatever_the_profile_says() -> None:
    mean = metric_of(a_plan(a_spec(a_cost(cap=1.2)), seen()), "cost").mean
    guard = metric_of(a_plan(a_spec(a_cost(cap=1.2)), seen()), "cost_over_cap").mean
    assert mean is not None
    assert guard is not None
    assert mean.grid.cap == 1.2
    assert guard.mean() == pytest.approx(0.3, abs=0.01)


def test_a_quality_without_a_cap_abstains() -> None:
    assert metric_of(a_plan(a_spec(a_quality(cap=None)), seen()), "score").abstains == NO_CAP


def test_a_margin_of_nothing_can_never_be_shown() -> None:
    plan = a_plan(a_spec(a_cost(promote_rho=1.0), a_preference(promote_delta=0.0)), seen())
    assert metric_of(plan, "cost").promote_abstains == NO_MARGIN
    assert metric_of(plan, "preference").promote_abstains == NO_MARGIN


def test_a_metric_that_does_not_promote_has_no_promote_side() -> None:
    plan = a_plan(a_spec(*(msgspec.structs.replace(spec, promotes=False) for spec in ALL)), seen())
    for name in ("cost", "score", "invalid", "preference"):
        metric = metric_of(plan, name)
        assert not metric.promote
        assert not metric.promote_pairs
        assert not metric.promote_abstains
        assert metric.rollback_pairs is not None


def test_a_tolerance_of_the_whole_scale_has_no_rollback_side() -> None:
    metric = metric_of(a_plan(a_spec(a_quality(rollback_delta=10.0)), seen()), "score")
    assert metric.rollback is None
    assert metric.rollback_pairs is None


def test_rare_guards_share_their_part_with_throughput_and_all_is_renormalised_once() -> None:
    spec = a_spec(*ALL, diversity="body")
    plan = plan_values(profile_of(spec, ((fact, 0) for fact in seen())), spec, age_us=TIMEOUT_US)
    assert plan.rare_share == pytest.approx(0.15 / 5)  # throughput, client errors, abandoned, over the cap, diversity
    shares = {metric.name: metric.share for metric in plan.metrics}
    assert shares["diversity"] == shares["cost_over_cap"] == shares["abandoned"] == plan.rare_share
    assert (shares["cost"], shares["invalid"]) == (0.1, 0.03)
    whole = plan.share + plan.rare_share + 0.55
    scaled = plan.scaled(whole)
    assert scaled.share + scaled.rare_share + 0.55 / whole == pytest.approx(1.0)


def test_classes_have_profiles_of_their_own() -> None:
    spec = a_spec(a_cost(), classes=("chat", "code"))
    facts = [(a_fact(1.0), 0)] * 100 + [(a_fact(5.0), 1)] * 100
    plan = plan_values(profile_of(spec, facts), spec, age_us=TIMEOUT_US)
    mean = metric_of(plan, "cost").mean
    assert mean is not None
    assert plan.strata == 3
    assert mean.centers() == pytest.approx([1.0, 5.0, 3.0], rel=0.01)  # a class that was not seen is an average one


def test_a_plan_is_json_and_back() -> None:
    plan = a_plan(a_spec(*ALL, diversity="body", classes=("a",)), seen())
    assert msgspec.json.decode(msgspec.json.encode(plan), type=ValuePlan) == plan
    assert plan.key == b"k" * 16
    assert a_spec().stage_factors == FACTORS
