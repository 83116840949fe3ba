"""A plan's margins and a route's deadlines as the statistics ask for them."""

from canary.rollout.lean import lean_of
from canary.rollout.plan import QUANTILE_LIMITS, MarginSpec, Plan
from canary.rollout.state import RolloutState
from canary.stats.diversity import answer_key
from canary.stats.profile import Profile
from canary.stats.spec import PAIRED_SHARES, PAIRED_WEIGHT, ErrorMargin, LatencyMargin, ScoringSpec, Shares, stage_factors
from canary.terms import Measures


def scoring_spec(state: RolloutState, *, rate_per_s: float | None = None) -> ScoringSpec:
    """What is asked of the statistics for this rollout; frozen with the profile and its rate when it starts."""
    plan = state.plan
    leans = lean_of(plan, rate_per_s=rate_per_s, sticky=state.sticky).pairs
    weight = PAIRED_WEIGHT if leans else plan.shadow_lane_weight
    return ScoringSpec(
        answer_timeout_s=state.answer_timeout_s,
        connect_timeout_s=state.connect_timeout_s,
        error=_error(plan.margins.error),
        latency=_latency(plan),
        alpha_rollback=plan.alpha_rollback,
        alpha_promote=plan.alpha_promote,
        stage_factors=stage_factors([stage.weight_bp for stage in plan.stages]),
        shares=PAIRED_SHARES if leans else Shares(),
        shadow_lane_weight=weight if plan.has_shadow else 0.0,
        min_candidate_events=plan.min_candidate_events,
        first_byte=_first_byte(plan) if state.measures.first_byte else (),
        measures=state.measures,
        answer_key=answer_key(state.salt),
        limits_us=tuple((name, round(1e6 * plan.limits[name])) for name in QUANTILE_LIMITS if name in plan.limits),
        class_gates=plan.class_gates,
        sticky=state.sticky,
        leans_on_pairs=leans,
        rate_per_s=rate_per_s,
    )


def class_shares(profile: Profile, measures: Measures) -> tuple[float, ...]:
    """How the profile's requests fall into task classes, by stratum; empty where there are none."""
    if not measures.classes or not profile.n:
        return ()
    return tuple(profile.stratum(number).n / profile.n for number in range(1 + len(measures.classes)))


def _error(margin: MarginSpec) -> ErrorMargin:
    return ErrorMargin(
        rollback_rho=margin.rollback_rho,
        rollback_delta=margin.rollback_delta,
        promote_rho=margin.promote_rho,
        promote_delta=margin.promote_delta,
    )


def _first_byte(plan: Plan) -> tuple[LatencyMargin, ...]:
    margin = plan.margins.first_byte
    return (LatencyMargin(quantile=0.95, rollback_d=margin.rollback_d, promote_d=margin.promote_d),)


def _latency(plan: Plan) -> tuple[LatencyMargin, ...]:
    margins = ((0.5, plan.margins.p50), (0.95, plan.margins.p95), (0.99, plan.margins.p99))
    return tuple(
        LatencyMargin(quantile=quantile, rollback_d=margin.rollback_d, promote_d=margin.promote_d)
        for quantile, margin in margins
    )
