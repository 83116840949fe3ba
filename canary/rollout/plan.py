"""The plan of a rollout: shadow, stages, watch, margins and error budget; frozen and hashed when a rollout is created."""

import hashlib
from itertools import pairwise
from math import inf
from typing import Final, Literal

import msgspec

from canary.terms import BUCKETS, Frozen

QUANTILE_LIMITS: Final = {"p50": 0.5, "p95": 0.05, "p99": 0.01}
"""Latencies that may have a limit, and the share of answers that may be over it."""


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
    first_byte: MarginSpec = MarginSpec(rollback_d=0.05, promote_d=0.15)  # of its 95 % quantile, where a route guards it


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


class HarmBudget(Frozen, frozen=True, kw_only=True):
    """The most that a candidate may cost over what stable would have cost, before it is out; None: no bound."""

    failed: float | None = None  # requests
    cost: float | None = None  # in the unit of the metric `cost`


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
    harm_budget: HarmBudget = HarmBudget()
    # Of the candidate alone, over which people are told and nothing is rolled back: rate -> share, amount -> its mean (of a
    # quality the least), quantile -> seconds.
    limits: dict[str, float] = {}
    alpha_rollback: float = 0.05
    alpha_promote: float = 0.05
    min_profile: int = 2_000
    min_candidate_events: int = 3  # for error metrics
    warm_up_s: float = 30.0
    max_duration_s: float = 604_800.0
    on_timeout: Literal["hold", "roll_back"] = "hold"
    shadow_lane_weight: float = 0.25  # where the canary is leaned on; see `lean`
    lean_on: Literal["auto", "pairs", "canary"] = "auto"
    class_gates: bool = False  # each task class with enough traffic must pass the promote gates by itself too

    @property
    def hash(self) -> str:
        """Hex digest over the canonical JSON of all fields."""
        return hashlib.blake2b(msgspec.json.encode(self, order="sorted"), digest_size=16).hexdigest()

    @property
    def has_shadow(self) -> bool:
        """True where copies are made before any live traffic moves."""
        return self.shadow.share_bp > 0

    @property
    def has_watch(self) -> bool:
        """True where a holdback guards the candidate after its promotion."""
        return self.watch.for_s > 0 and self.watch.holdback_bp > 0

    @property
    def watch_weight_bp(self) -> int:
        """The candidate's share of live traffic during the watch."""
        return BUCKETS - self.watch.holdback_bp

    def problems(self) -> list[str]:
        """Everything in the plan that no rollout could follow, one sentence each; empty for a sound plan."""
        return [*self._traffic_problems(), *self._number_problems()]

    def _traffic_problems(self) -> list[str]:
        found = []
        weights = [stage.weight_bp for stage in self.stages]
        if not weights:
            found.append("stages: a plan needs at least one stage of live traffic")
        found += [
            f"stages: weight {weight / 100:g} % is not above 0 % and below 100 %: a comparison needs both arms"
            for weight in weights
            if not 0 < weight < BUCKETS
        ]
        if any(later <= earlier for earlier, later in pairwise(weights)):
            found.append("stages: each weight must be larger than the one before it, so that nobody moves back")
        if self.has_watch and weights and self.watch_weight_bp < max(weights):
            found.append(f"watch: a holdback of {self.watch.holdback_bp / 100:g} % would take traffic back from the last stage")
        if not 0 <= self.shadow.share_bp <= BUCKETS:
            found.append(f"shadow: share {self.shadow.share_bp / 100:g} % is not between 0 % and 100 %")
        if self.lean_on == "pairs" and not self.has_shadow:
            found.append("lean_on: pairs come from copies, and shadow.share is 0 %: give the shadow a share, or say auto")
        return found

    def _number_problems(self) -> list[str]:
        found = []
        for name, value in (("alpha_rollback", self.alpha_rollback), ("alpha_promote", self.alpha_promote)):
            if not 0 < value < 1:
                found.append(f"{name}: {value:g} is not between 0 and 1")
        if not 0 <= self.shadow_lane_weight < 1:
            found.append(f"shadow_lane_weight: {self.shadow_lane_weight:g} is not at least 0 and below 1")
        least = {
            "min_profile": self.min_profile,
            "min_candidate_events": self.min_candidate_events,
            "shadow.min_pairs": self.shadow.min_pairs,
            "warm_up_s": self.warm_up_s,
            "watch.for_s": self.watch.for_s,
            "watch.holdback_bp": self.watch.holdback_bp,
            "stages.dwell_s": min((stage.dwell_s for stage in self.stages), default=0.0),
        }
        found += [f"{name}: {value:g} is below 0" for name, value in least.items() if value < 0]
        for name, budget in (("failed", self.harm_budget.failed), ("cost", self.harm_budget.cost)):
            if budget is not None and budget <= 0:
                found.append(f"harm_budget.{name}: {budget:g} is not above 0: it would be spent before it begins")
        found += [
            f"limits.{name}: {limit:g} is not above 0 and finite" for name, limit in self.limits.items() if not 0 < limit < inf
        ]
        if self.max_duration_s <= 0:
            found.append(f"max_duration_s: {self.max_duration_s:g} is not above 0")
        return found
