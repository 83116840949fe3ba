"""A profile and a specification become the scoring of one rollout."""

import math
from collections.abc import Iterable
from typing import Final

from canary.stats.contrast import Contrast, Metric, Rule
from canary.stats.frozen import Scoring
from canary.stats.profile import Profile
from canary.stats.spec import LatencyMargin, ScoringSpec
from canary.terms import Frozen

SECOND_US: Final = 1_000_000

ERROR_EFFECTS: Final = (1.2, 1.4, 1.8, 2.5, 4.0, 8.0, 20.0, 100.0)
"""Times the null's rate; times stable's own rate a service without errors would have only zero bets."""

SLOW_EFFECTS: Final = (1.1, 1.3, 1.8, 3.0, 8.0)
"""Times stable's share of exceedances."""

LARGEST_ERROR_RATE: Final = 0.999
LARGEST_SLOW_RATE: Final = 0.97

TIMEOUT_SLACK_US: Final = SECOND_US
"""The proxy looks at its deadlines every 100 ms: a hanging exchange ends up to .2 s after its deadline, and must have
ended at the timeout's age, where errors promote. A second more costs nothing."""

_BELOW_TIMEOUT: Final = 0.99
"""Thresholds lie below the timeout, or a hanging answer, whose latency is the timeout less its connect time, could pass."""


def freeze(profile: Profile, spec: ScoringSpec) -> Scoring:
    """The scoring that a rollout keeps for life. Latency metrics exist where the profile has quantiles to offer."""
    plan = _Plan.of(profile, spec)
    contrasts = {contrast.name: contrast for contrast in _contrasts(plan)}
    order = {name: index for index, name in enumerate(contrasts)}
    canary = [contrast for contrast in contrasts.values() if not contrast.pairs]
    slow_pairs = [c for c in contrasts.values() if c.pairs and c.rule is Rule.SLOW]
    return Scoring(
        spec=spec,
        profile_n=profile.n,
        ages_us=tuple(sorted({contrast.age_us for contrast in canary})),
        candidate_us=tuple(sorted({contrast.candidate_us for contrast in canary if contrast.candidate_us})),
        stable_us=tuple(sorted({contrast.stable_us for contrast in canary if contrast.stable_us})),
        pair_age_us=plan.timeout_age_us,
        pair_candidate_us=tuple(sorted({contrast.candidate_us for contrast in slow_pairs})),
        pair_stable_us=tuple(sorted({contrast.stable_us for contrast in slow_pairs})),
        pair_later=1 + (spec.latency[0].rollback_d if spec.latency else 0.0),
        contrasts=tuple(contrasts.values()),
        metrics=tuple(_metrics(plan, order)),
    )


class _Quantile(Frozen, frozen=True, kw_only=True):
    """One latency margin with the threshold that the profile gives it."""

    margin: LatencyMargin
    stable_us: int
    largest_us: int

    def candidate_us(self, d: float) -> int:
        """(1 + d) T, below the timeout."""
        return min(round((1 + d) * self.stable_us), self.largest_us)

    def promote_d(self, factor: float) -> float:
        """The promote margin, widened for an early stage, at most tripling the latency."""
        return min(factor * (self.margin.promote_d or 0.0), 2.0)


class _Plan(Frozen, frozen=True, kw_only=True):
    """What all contrasts are built from."""

    profile: Profile
    spec: ScoringSpec
    quantiles: tuple[_Quantile, ...]
    error_ages_us: tuple[tuple[str, int, float], ...]  # name, age, share of the budget
    latency_age_us: int  # of the rollback side
    timeout_age_us: int

    @classmethod
    def of(cls, profile: Profile, spec: ScoringSpec) -> "_Plan":
        quantiles = tuple(_quantiles(profile, spec))
        timeout = round(spec.answer_timeout_s * SECOND_US) + TIMEOUT_SLACK_US
        latency = _latency_age(spec, timeout, (q.candidate_us(q.margin.rollback_d) for q in quantiles))
        shares = spec.shares
        wanted = [("error", latency, shares.error)] if quantiles else []
        wanted += [("error_timeout", timeout, shares.error_timeout)]
        wanted += [("error_fast", min(SECOND_US, timeout), shares.error_fast)]
        merged: dict[int, tuple[str, int, float]] = {}
        for name, age, share in wanted:  # ages that coincide are one metric, under the first name, and the shares add
            first = merged.get(age, (name, age, 0.0))
            merged[age] = (first[0], age, first[2] + share)
        return cls(
            profile=profile,
            spec=spec,
            quantiles=quantiles,
            error_ages_us=tuple(merged[age] for age in sorted(merged)),
            latency_age_us=latency,
            timeout_age_us=timeout,
        )

    @property
    def factors(self) -> tuple[float, ...]:
        """The distinct factors by which stages widen the margins."""
        return tuple(dict.fromkeys(self.spec.stage_factors))

    @property
    def has_shadow(self) -> bool:
        return self.spec.shadow_lane_weight > 0 or not self.spec.stage_factors


def _quantiles(profile: Profile, spec: ScoringSpec) -> Iterable[_Quantile]:
    """Thresholds that the profile supports: at least one success is expected above them, and they lie below the timeout."""
    largest_us = int(_BELOW_TIMEOUT * spec.answer_timeout_s * SECOND_US)
    for margin in spec.latency:
        stable_us = profile.quantile_us(margin.quantile)
        if stable_us is not None and stable_us < largest_us and profile.successes * (1 - margin.quantile) >= 1:
            yield _Quantile(margin=margin, stable_us=stable_us, largest_us=largest_us)


def _latency_age(spec: ScoringSpec, timeout_us: int, thresholds: Iterable[int]) -> int:
    """The age by which every threshold is decided: the largest, and the time to connect, in whole seconds."""
    slowest_us = max(thresholds, default=0) + spec.connect_timeout_s * SECOND_US
    return min(math.ceil(slowest_us / SECOND_US) * SECOND_US, timeout_us)


def _contrasts(plan: _Plan) -> Iterable[Contrast]:
    for name, age_us, _ in plan.error_ages_us:
        yield _error_rollback(plan, name, age_us)
    for quantile in plan.quantiles:
        yield _slow_rollback(plan, quantile)
    for factor in plan.factors:
        yield _error_promote(plan, factor)
        age_us = _promote_age(plan, factor)
        for quantile in plan.quantiles:
            if quantile.margin.promote_d is not None:
                yield _slow_promote(plan, quantile, factor, age_us)
    if plan.has_shadow:
        yield from _pair_contrasts(plan)


def _error_rollback(plan: _Plan, name: str, age_us: int) -> Contrast:
    margin, center = plan.spec.error, plan.profile.p_not_well(age_us)
    null = margin.rollback_rho * center + margin.rollback_delta
    return Contrast(
        name=f"{name}.rollback",
        rule=Rule.BAD,
        age_us=age_us,
        rho=margin.rollback_rho,
        delta=margin.rollback_delta,
        center=center,
        effects=tuple(min(null * times, LARGEST_ERROR_RATE) for times in ERROR_EFFECTS),
    )


def _error_promote(plan: _Plan, factor: float) -> Contrast:
    margin, center = plan.spec.error, plan.profile.p_not_well(plan.timeout_age_us)
    rho, delta = margin.rho(factor), margin.delta(factor)
    half_way = center + ((rho - 1) * center + delta) / 2
    return Contrast(
        name=f"error.promote.{factor:g}",
        rule=Rule.UNWELL,
        promote=True,
        age_us=plan.timeout_age_us,
        rho=rho,
        delta=delta,
        center=center,
        effects=tuple(min(rate, LARGEST_ERROR_RATE) for rate in (center, half_way, 0.9 * center)),
    )


def _slow_rollback(plan: _Plan, quantile: _Quantile) -> Contrast:
    center = plan.profile.p_exceed(quantile.stable_us)
    return Contrast(
        name=f"{quantile.margin.name}.rollback",
        rule=Rule.SLOW,
        age_us=plan.latency_age_us,
        candidate_us=quantile.candidate_us(quantile.margin.rollback_d),
        stable_us=quantile.stable_us,
        center=center,
        effects=tuple(min(center * times, LARGEST_SLOW_RATE) for times in SLOW_EFFECTS),
    )


def _promote_age(plan: _Plan, factor: float) -> int:
    guarded = [quantile for quantile in plan.quantiles if quantile.margin.promote_d is not None]
    thresholds = (quantile.candidate_us(quantile.promote_d(factor)) for quantile in guarded)
    return _latency_age(plan.spec, plan.timeout_age_us, thresholds)


def _slow_promote(plan: _Plan, quantile: _Quantile, factor: float, age_us: int) -> Contrast:
    """At the final margin only answers still open exceed, so that no tolerance for errors can pay for a longer tail.

    Early stages count failures too and allow the stage's own error margin on top.
    """
    error, d = plan.spec.error, quantile.promote_d(factor)
    limit_us = quantile.candidate_us(d)
    early = factor > 1
    rate = plan.profile.p_exceed if early else plan.profile.p_open
    allowed = (error.rho(factor) - 1) * plan.profile.p_not_well(plan.timeout_age_us) + error.delta(factor)
    scales = (1.0, 1 + d / 2, 0.9)
    return Contrast(
        name=f"{quantile.margin.name}.promote.{factor:g}",
        rule=Rule.SLOW if early else Rule.OPEN,
        promote=True,
        age_us=age_us,
        candidate_us=limit_us,
        stable_us=quantile.stable_us,
        delta=allowed if early else 0.0,
        center=rate(quantile.stable_us),
        effects=tuple(min(rate(limit_us, scale=scale), LARGEST_SLOW_RATE) for scale in scales),
    )


def _pair_contrasts(plan: _Plan) -> Iterable[Contrast]:
    """All at the timeout's age: nobody is harmed by a shadow, so it waits until both answers had their time."""
    margin, factor, age_us = plan.spec.error, plan.spec.shadow_factor, plan.timeout_age_us
    yield Contrast(
        name="error.rollback.pairs",
        rule=Rule.BAD,
        pairs=True,
        age_us=age_us,
        rho=margin.rollback_rho,
        delta=margin.rollback_delta,
    )
    yield Contrast(
        name="error.promote.pairs",
        rule=Rule.UNWELL,
        pairs=True,
        promote=True,
        age_us=age_us,
        rho=margin.rho(factor),
        delta=margin.delta(factor),
    )
    for quantile in plan.quantiles:
        yield Contrast(
            name=f"{quantile.margin.name}.rollback.pairs",
            rule=Rule.SLOW,
            pairs=True,
            age_us=age_us,
            candidate_us=quantile.candidate_us(quantile.margin.rollback_d),
            stable_us=quantile.stable_us,
        )
    if plan.quantiles:
        yield Contrast(name="later.rollback.pairs", rule=Rule.LATER, pairs=True, age_us=age_us)


def _metrics(plan: _Plan, order: dict[str, int]) -> Iterable[Metric]:
    spec = plan.spec
    whole = sum(share for _, _, share in plan.error_ages_us) + (spec.shares.latency if plan.quantiles else 0.0)
    lane = (spec.shadow_lane_weight if spec.stage_factors else 1.0) if plan.has_shadow else 0.0
    for name, age_us, share in plan.error_ages_us:
        at_timeout = age_us == plan.timeout_age_us
        yield Metric(
            name=name,
            share=share / whole,
            canary=(order[f"{name}.rollback"],),
            shadow=(order["error.rollback.pairs"],) if at_timeout and lane else (),
            shadow_weight=lane if at_timeout else 0.0,
            promote=tuple(order[f"error.promote.{factor:g}"] for factor in spec.stage_factors) if at_timeout else (),
            counts_failures=True,
        )
    if plan.quantiles:
        names = [quantile.margin.name for quantile in plan.quantiles]
        slow_pairs = [*(order[f"{name}.rollback.pairs"] for name in names), order["later.rollback.pairs"]] if lane else []
        yield Metric(
            name="latency",
            share=spec.shares.latency / whole,
            canary=tuple(order[f"{name}.rollback"] for name in names),
            shadow=tuple(slow_pairs),
            shadow_weight=lane,
        )
    for quantile in plan.quantiles:
        if quantile.margin.promote_d is not None:
            indices = tuple(order[f"{quantile.margin.name}.promote.{factor:g}"] for factor in spec.stage_factors)
            yield Metric(name=quantile.margin.name, promote=indices)
    if lane:
        yield Metric(name="shadow_error", promote_pairs=order["error.promote.pairs"])
