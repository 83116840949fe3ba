"""What a rollout asks of the statistics before its profile is known: margins, error budget, stages, deadlines."""

from collections.abc import Sequence
from typing import Final

from canary.terms import Frozen, Measures

LARGEST_FACTOR: Final = 20.0
"""No early stage is asked for less than a twentieth of the final margin's precision."""


class ErrorMargin(Frozen, frozen=True, kw_only=True):
    """Worst candidate error rates, as rho * (stable's rate) + delta: tolerated, and still called harmless."""

    rollback_rho: float = 1.10
    rollback_delta: float = 0.0005
    promote_rho: float = 1.5
    promote_delta: float = 0.001

    def rho(self, factor: float) -> float:
        """The promote margin's rho, widened for an early stage."""
        return 1 + factor * (self.promote_rho - 1)

    def delta(self, factor: float) -> float:
        """The promote margin's delta, widened for an early stage."""
        return factor * self.promote_delta


class LatencyMargin(Frozen, frozen=True, kw_only=True):
    """Relative increases of one latency quantile: tolerated, and still called harmless (None: no promote side)."""

    quantile: float
    rollback_d: float
    promote_d: float | None = None

    @property
    def name(self) -> str:
        """`p95`"""
        return f"p{100 * self.quantile:g}"


class Shares(Frozen, frozen=True, kw_only=True):
    """Shares of the rollback error budget; renormalised over the metrics that a rollout has."""

    error_fast: float = 0.12
    error: float = 0.15
    error_timeout: float = 0.08
    latency: float = 0.20
    first_byte: float = 0.10
    rare: float = 0.15  # together: throughput, and what there is of client errors, abandoned, over the cap, diversity


PAIRED_WEIGHT: Final = 0.75
"""Of the shadow lane, where pairs are leaned on."""

PAIRED_SHARES: Final = Shares(error_fast=0.05, error=0.05, error_timeout=0.25)
"""Where pairs are leaned on: they tell of errors at the timeout's age alone, so most of the errors' part is there."""


class ScoringSpec(Frozen, frozen=True, kw_only=True):
    """Everything that scoring depends on beside the profile."""

    answer_timeout_s: float
    connect_timeout_s: float
    error: ErrorMargin = ErrorMargin()
    latency: tuple[LatencyMargin, ...] = (
        LatencyMargin(quantile=0.5, rollback_d=0.03, promote_d=0.10),
        LatencyMargin(quantile=0.95, rollback_d=0.05, promote_d=0.15),
        LatencyMargin(quantile=0.99, rollback_d=0.10, promote_d=0.25),
    )
    alpha_rollback: float = 0.05
    alpha_promote: float = 0.05
    shares: Shares = Shares()
    stage_factors: tuple[float, ...] = (1.0,)  # `stage_factors(weights)`; empty: a rollout that has only a shadow
    shadow_lane_weight: float = 0.25  # 0: a rollout without a shadow; a single lane has weight 1
    shadow_factor: float = LARGEST_FACTOR  # widens the errors' promote margin on the way out of the shadow
    min_candidate_events: int = 3  # for rare metrics
    first_byte: tuple[LatencyMargin, ...] = ()  # margins of the time to the first byte; empty: not guarded
    measures: Measures = Measures()
    answer_key: bytes = b""  # `diversity.answer_key(salt)`: which answers share a bin is the rollout's own
    limits_us: tuple[tuple[str, int], ...] = ()  # latencies that a quantile of the candidate's must keep to: ("p99", 2_000_000)
    class_gates: bool = False  # each task class with enough traffic must pass the promote gates by itself too
    sticky: bool = False  # units keep their arm: users are compared, not requests
    leans_on_pairs: bool = False  # the lanes' weights and the shares are those of little traffic
    rate_per_s: float | None = None  # of the route's requests when this was frozen; forecasts count with it


def stage_factors(weights_bp: Sequence[int]) -> tuple[float, ...]:
    """How much each stage widens the final margins: min(20, w_final / w_next), and 1 for the last stage.

    An early stage only has to exclude what could hurt at the next weight.
    """
    if not weights_bp:
        return ()
    final = weights_bp[-1]
    return (*(min(LARGEST_FACTOR, max(1.0, final / following)) for following in weights_bp[1:]), 1.0)
