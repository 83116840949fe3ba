"""The plan of a rollout: shadow, stages, watch, margins and error budget; frozen and hashed when a rollout is created."""

from typing import Literal

from canary.terms import Frozen


class MarginSpec(Frozen, frozen=True, kw_only=True):
    """One metric's two null values (STATISTICS form rho*mu_S + delta) or, for latency quantiles, relative increases d."""

    rollback_rho: float = 1.0
    rollback_delta: float = 0.0
    promote_rho: float = 1.0
    promote_delta: float = 0.0
    rollback_d: float = 0.0
    promote_d: float | None = None  # None: guarded on the rollback side only


class Margins(Frozen, frozen=True, kw_only=True):
    """Defaults of the comparison engine: tolerated on the rollback side, and the worst change still called harmless."""

    error: MarginSpec = MarginSpec(rollback_rho=1.10, rollback_delta=0.0005, promote_rho=1.5, promote_delta=0.001)
    p50: MarginSpec = MarginSpec(rollback_d=0.03, promote_d=0.10)
    p95: MarginSpec = MarginSpec(rollback_d=0.05, promote_d=0.15)
    p99: MarginSpec = MarginSpec(rollback_d=0.10, promote_d=0.25)


class ShadowStage(Frozen, frozen=True, kw_only=True):
    """The shadow before any live traffic; share_bp 0 skips it."""

    share_bp: int = 10_000
    min_pairs: int = 500


class Stage(Frozen, frozen=True, kw_only=True):
    """One step of live traffic."""

    weight_bp: int
    dwell_s: float = 300.0


class Watch(Frozen, frozen=True, kw_only=True):
    """After promotion: the old version keeps `holdback_bp` as a concurrent control for `for_s` seconds; 0 skips it."""

    for_s: float = 86_400.0
    holdback_bp: int = 500


class Plan(Frozen, frozen=True, kw_only=True):
    """Everything that a rollout's decisions depend on beside evidence and time."""

    name: str
    shadow: ShadowStage = ShadowStage()
    stages: tuple[Stage, ...] = (
        Stage(weight_bp=100),
        Stage(weight_bp=500),
        Stage(weight_bp=2_500),
        Stage(weight_bp=5_000),
    )
    watch: Watch = Watch()
    margins: Margins = Margins()
    alpha_rollback: float = 0.05
    alpha_promote: float = 0.05
    min_profile: int = 2_000
    min_candidate_events: int = 3  # for error metrics
    warm_up_s: float = 30.0
    max_duration_s: float = 604_800.0
    on_timeout: Literal["hold", "roll_back"] = "hold"
    shadow_lane_weight: float = 0.25
