"""A plan as the statistics ask for it."""

import pytest

from canary.rollout.plan import Margins, MarginSpec, ShadowStage, Stage
from canary.rollout.scoring_of import scoring_spec
from tests.support.rollouts import a_plan, a_state

RAMP = tuple(Stage(weight_bp=weight) for weight in (100, 500, 2_500, 5_000))


def test_deadlines_margins_and_budgets_are_carried_over() -> None:
    margins = Margins(error=MarginSpec(rollback_rho=1.2, rollback_delta=0.01, promote_rho=2.0, promote_delta=0.03))
    plan = a_plan(margins=margins, alpha_rollback=0.005, alpha_promote=0.04, min_candidate_events=5, shadow_lane_weight=0.4)
    spec = scoring_spec(a_state(plan=plan, answer_timeout_s=2.0, connect_timeout_s=0.5))
    assert (spec.answer_timeout_s, spec.connect_timeout_s) == (2.0, 0.5)
    assert (spec.error.rollback_rho, spec.error.rollback_delta) == (1.2, 0.01)
    assert (spec.error.promote_rho, spec.error.promote_delta) == (2.0, 0.03)
    assert (spec.alpha_rollback, spec.alpha_promote) == (0.005, 0.04)
    assert (spec.min_candidate_events, spec.shadow_lane_weight) == (5, 0.4)


def test_each_latency_quantile_keeps_its_margins() -> None:
    margins = Margins(p99=MarginSpec(rollback_d=0.3, promote_d=None))
    spec = scoring_spec(a_state(plan=a_plan(margins=margins)))
    assert [(m.name, m.rollback_d, m.promote_d) for m in spec.latency] == [
        ("p50", 0.03, 0.10),
        ("p95", 0.05, 0.15),
        ("p99", 0.3, None),
    ]


def test_early_stages_exclude_only_what_could_hurt_next() -> None:
    spec = scoring_spec(a_state(plan=a_plan(stages=RAMP)))
    assert spec.stage_factors == (10.0, 2.0, 1.0, 1.0)


def test_a_plan_without_a_shadow_has_one_lane() -> None:
    assert scoring_spec(a_state(plan=a_plan(shadow=ShadowStage(share_bp=0)))).shadow_lane_weight == 0.0


@pytest.mark.parametrize(
    ("per_s", "fields", "weight"),
    [
        (0.1, {}, 0.75),  # 6 a minute: 18 an hour for the candidate
        (10.0, {}, 0.25),
        (None, {}, 0.25),
        (0.1, {"lean_on": "canary"}, 0.25),
        (10.0, {"lean_on": "pairs"}, 0.75),
        (0.1, {"shadow": ShadowStage(share_bp=0)}, 0.0),
    ],
)
def test_little_traffic_turns_the_lanes_round(per_s: float | None, fields: dict[str, object], weight: float) -> None:
    spec = scoring_spec(a_state(plan=a_plan(**fields)), rate_per_s=per_s)
    assert (spec.shadow_lane_weight, spec.leans_on_pairs, spec.rate_per_s) == (weight, weight == 0.75, per_s)
    errors = (spec.shares.error_fast, spec.shares.error, spec.shares.error_timeout)
    assert errors == ((0.05, 0.05, 0.25) if spec.leans_on_pairs else (0.12, 0.15, 0.08))
    assert sum(errors) == pytest.approx(0.35), "what all errors have together stays"


def test_users_that_stay_are_weighed_as_ever() -> None:
    plan = a_plan(lean_on="pairs")
    spec = scoring_spec(a_state(plan=plan, sticky=True), rate_per_s=0.1)
    assert (spec.shadow_lane_weight, spec.leans_on_pairs) == (0.25, False)
