"""Which lane a rollout leans on: chosen once, by the plan and the rate that are frozen when it starts."""

from typing import Final

from canary.rollout import words
from canary.rollout.plan import Plan
from canary.rollout.state import RolloutState
from canary.terms import BUCKETS, Frozen

ENOUGH_AN_HOUR: Final = 60.0
"""Requests of the candidate in the first stage. A gross regression (errors 2 -> 10 %, latency doubled) takes 15 to 60 of
them: with fewer, it would serve clients for more than an hour before the canary's own evidence ended it."""

_HOUR_S: Final = 3_600.0


class Lean(Frozen, frozen=True, kw_only=True):
    """What most of a metric's evidence against the candidate is looked for in."""

    pairs: bool  # False: the canary
    because: str


def lean_of(plan: Plan, *, rate_per_s: float | None, sticky: bool = False) -> Lean:
    """The lane for this plan at this rate of requests; a function of what a start freezes.

    Pairs where the plan says so, or where its first stage would give the candidate fewer than `ENOUGH_AN_HOUR` and copies
    give more. The canary else: without a shadow, while the rate is not known, and for users that stay on their arm, whose
    pairs are compared user by user.
    """
    if plan.lean_on == "canary" or not plan.has_shadow:
        return Lean(pairs=False, because="leans on the canary: the plan says so" if plan.has_shadow else "has no shadow")
    if sticky:
        return Lean(pairs=False, because="leans on the canary: its users stay on their arm")
    numbers = "" if rate_per_s is None else _numbers(plan, rate_per_s)
    if plan.lean_on == "pairs":
        return Lean(pairs=True, because=f"leans on pairs, as its plan says{numbers and f', at {numbers}'}")
    if rate_per_s is None:
        return Lean(pairs=False, because="leans on the canary: its rate is not known")
    mine, pairs = _an_hour(plan, rate_per_s)
    if mine < ENOUGH_AN_HOUR and pairs > mine:
        return Lean(pairs=True, because=f"leans on pairs at {numbers}")
    return Lean(pairs=False, because=f"leans on the canary at {numbers}")


def leaning(state: RolloutState) -> str:
    """Why a started rollout leans on pairs, in one sentence with numbers; empty where it does not."""
    if state.scoring is None or not state.scoring.spec.leans_on_pairs:
        return ""
    return lean_of(state.plan, rate_per_s=state.scoring.spec.rate_per_s).because


def _an_hour(plan: Plan, rate_per_s: float) -> tuple[float, float]:
    """The candidate's requests and the pairs of the first stage."""
    weight = plan.stages[0].weight_bp / BUCKETS
    requests = rate_per_s * _HOUR_S
    return requests * weight, requests * (1 - weight) * plan.shadow.share_bp / BUCKETS


def _numbers(plan: Plan, rate_per_s: float) -> str:
    mine, pairs = _an_hour(plan, rate_per_s)
    weight = words.weight(plan.stages[0].weight_bp)
    return f"{_rate(rate_per_s)}: a {weight} canary gets {_plain(mine)} an hour, copies give {_plain(pairs)} pairs"


def _rate(per_s: float) -> str:
    """By the minute, or by the hour where that is less than one."""
    each, unit = (per_s * 60, "a minute") if per_s * 60 >= 1 else (per_s * _HOUR_S, "an hour")
    return f"{_plain(each)} requests {unit}"


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
