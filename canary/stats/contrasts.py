"""The contrasts that a specification asks for, tuned by a profile."""

import math
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from canary.stats.contrast import Contrast, Rule, Stratum
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

Count: TypeAlias = Callable[[Profile], tuple[int, int]]
"""How many of how many outcomes of a profile."""
Rate: TypeAlias = Callable[[Count], float]


class Quantile(Frozen, frozen=True, kw_only=True):
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


class Draft(Frozen, frozen=True, kw_only=True):
    """What all contrasts are built from."""

    profile: Profile
    spec: ScoringSpec
    quantiles: tuple[Quantile, ...]
    first_bytes: tuple[Quantile, ...]
    error_ages_us: tuple[tuple[str, int, float], ...]  # name, age, share of the budget
    latency_age_us: int  # of the rollback side
    timeout_age_us: int

    @classmethod
    def of(cls, profile: Profile, spec: ScoringSpec) -> "Draft":
        """The draft of a rollout."""
        largest_us = int(_BELOW_TIMEOUT * spec.answer_timeout_s * SECOND_US)
        quantiles = tuple(_quantiles(spec.latency, profile.quantile_us, n=profile.successes, largest_us=largest_us))
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
        answered = profile.timed - profile.failed
        return cls(
            profile=profile,
            spec=spec,
            quantiles=quantiles,
            first_bytes=tuple(_quantiles(spec.first_byte, profile.first_byte_us, n=answered, largest_us=largest_us)),
            error_ages_us=tuple(merged[age] for age in sorted(merged)),
            latency_age_us=latency,
            timeout_age_us=timeout,
        )

    @property
    def factors(self) -> tuple[float, ...]:
        """The distinct factors by which stages widen the margins."""
        return tuple(dict.fromkeys(self.spec.stage_factors))

    @property
    def early_pairs(self) -> tuple[float, ...]:
        """Factors of the early stages, whose gate for errors pairs may open too; of users that stay pairs are not enough."""
        return self.spec.stage_factors[:-1] if self.has_shadow and not self.spec.sticky else ()

    @property
    def has_canary(self) -> bool:
        """Whether live traffic is ever split."""
        return bool(self.spec.stage_factors)

    @property
    def has_shadow(self) -> bool:
        """Whether requests are ever copied."""
        return self.spec.shadow_lane_weight > 0 or not self.spec.stage_factors

    @property
    def first_byte_age_us(self) -> int:
        """When its rollback side scores: once nearly all answers have ended, as only then the journal tells."""
        return self.latency_age_us if self.quantiles else self.timeout_age_us

    def tuned(self, center: Count, effects: Callable[[Rate], tuple[float, ...]]) -> dict[str, Any]:
        """A contrast's centring and effects, of all requests and of each stratum.

        A stratum's rate has half an event in it, and as many requests as have half an event on average: a rare class
        takes the rate of all, where a half alone would make it look many times as bad.
        """

        def pooled(count: Count) -> float:
            x, n = count(self.profile)
            return (x + 0.5) / (n + 1)

        def within(part: Profile) -> Rate:
            def rate(count: Count) -> float:
                x, n = count(part)
                return (x + 0.5) / (n + 0.5 / pooled(count))

            return rate

        named = self.spec.measures.classes
        parts = [self.profile.stratum(number) for number in range(1 + len(named))] if named else []
        return {
            "center": pooled(center),
            "effects": effects(pooled),
            "strata": tuple(
                Stratum(share=part.n / self.profile.n if self.profile.n else 0.0, center=rate(center), effects=effects(rate))
                for part, rate in ((part, within(part)) for part in parts)
            ),
        }


def _quantiles(
    margins: Iterable[LatencyMargin], quantile_us: Callable[[float], int | None], *, n: int, largest_us: int
) -> Iterable[Quantile]:
    """Thresholds that the profile supports: at least one outcome is expected above them, and they lie below the timeout."""
    for margin in margins:
        stable_us = quantile_us(margin.quantile)
        if stable_us is not None and stable_us < largest_us and n * (1 - margin.quantile) >= 1:
            yield Quantile(margin=margin, stable_us=stable_us, largest_us=largest_us)


def _latency_age(spec: ScoringSpec, timeout_us: int, thresholds: Iterable[int]) -> int:
    """The age by which every threshold is decided: the largest, and the time to connect, in whole seconds."""
    slowest_us = max(thresholds, default=0) + spec.connect_timeout_s * SECOND_US
    return min(math.ceil(slowest_us / SECOND_US) * SECOND_US, timeout_us)


def contrasts_of(draft: Draft) -> Iterable[Contrast]:
    """All contrasts of a rollout, in a fixed order."""
    for name, age_us, _ in draft.error_ages_us:
        yield _error_rollback(draft, name, age_us)
    for quantile in draft.quantiles:
        yield _slow_rollback(draft, quantile)
    for factor in draft.factors:
        yield _error_promote(draft, factor)
        age_us = _promote_age(draft, factor)
        for quantile in draft.quantiles:
            if quantile.margin.promote_d is not None:
                yield _slow_promote(draft, quantile, factor, age_us)
    for quantile in draft.first_bytes:
        yield _tardy_rollback(draft, quantile)
        if quantile.margin.promote_d is not None:
            yield from (_tardy_promote(draft, quantile, factor) for factor in draft.factors)
    if draft.has_canary:
        yield Contrast(name="throughput.rollback", rule=Rule.GONE, age_us=draft.timeout_age_us)
    if draft.has_shadow:
        yield from _pair_contrasts(draft)
    if draft.has_canary:
        yield from _limits(draft)


def _limits(draft: Draft) -> Iterable[Contrast]:
    """What counts the candidate's answers over a limit of its own; no metric reads them, so nothing is decided by them."""
    for name, limit_us in draft.spec.limits_us:
        if limit_us < _BELOW_TIMEOUT * draft.spec.answer_timeout_s * SECOND_US:
            yield Contrast(
                name=f"{name}.limit",
                rule=Rule.SLOW,
                age_us=draft.timeout_age_us,
                candidate_us=limit_us,
                stable_us=limit_us,
            )


def _not_well(age_us: int) -> Count:
    return lambda profile: (profile.not_well(age_us), profile.n)


def _error_rollback(draft: Draft, name: str, age_us: int) -> Contrast:
    margin, count = draft.spec.error, _not_well(age_us)
    return Contrast(
        name=f"{name}.rollback",
        rule=Rule.BAD,
        age_us=age_us,
        rho=margin.rollback_rho,
        delta=margin.rollback_delta,
        **draft.tuned(
            count,
            lambda rate: tuple(
                min((margin.rollback_rho * rate(count) + margin.rollback_delta) * times, LARGEST_ERROR_RATE)
                for times in ERROR_EFFECTS
            ),
        ),
    )


def _error_promote(draft: Draft, factor: float) -> Contrast:
    margin, count = draft.spec.error, _not_well(draft.timeout_age_us)
    rho, delta = margin.rho(factor), margin.delta(factor)

    def effects(rate: Rate) -> tuple[float, ...]:
        center = rate(count)
        half_way = center + ((rho - 1) * center + delta) / 2
        return tuple(min(found, LARGEST_ERROR_RATE) for found in (center, half_way))

    return Contrast(
        name=f"error.promote.{factor:g}",
        rule=Rule.UNWELL,
        promote=True,
        age_us=draft.timeout_age_us,
        rho=rho,
        delta=delta,
        **draft.tuned(count, effects),
    )


def _slower(draft: Draft, count: Count) -> dict[str, Any]:
    """Rollback side of a threshold: more of the candidate's answers are over it."""
    return draft.tuned(count, lambda rate: tuple(min(rate(count) * times, LARGEST_SLOW_RATE) for times in SLOW_EFFECTS))


def _slow_rollback(draft: Draft, quantile: Quantile) -> Contrast:
    def count(profile: Profile) -> tuple[int, int]:
        return profile.exceeding(quantile.stable_us), profile.n

    return Contrast(
        name=f"{quantile.margin.name}.rollback",
        rule=Rule.SLOW,
        age_us=draft.latency_age_us,
        candidate_us=quantile.candidate_us(quantile.margin.rollback_d),
        stable_us=quantile.stable_us,
        **_slower(draft, count),
    )


def _promote_age(draft: Draft, factor: float) -> int:
    guarded = [quantile for quantile in draft.quantiles if quantile.margin.promote_d is not None]
    thresholds = (quantile.candidate_us(quantile.promote_d(factor)) for quantile in guarded)
    return _latency_age(draft.spec, draft.timeout_age_us, thresholds)


def _early_delta(draft: Draft, factor: float) -> float:
    """What an early stage allows for errors on top, as its latency rules count failures too."""
    error = draft.spec.error
    return (error.rho(factor) - 1) * draft.profile.p_not_well(draft.timeout_age_us) + error.delta(factor)


def _scaled(
    draft: Draft, quantile: Quantile, d: float, *, over: Callable[[Profile, float, float], tuple[int, int]]
) -> dict[str, Any]:
    """Promote side of a threshold: no effect and half the margin."""
    limit_us = quantile.candidate_us(d)

    def scaled(scale: float) -> Count:
        return lambda profile: over(profile, limit_us, scale)

    return draft.tuned(
        lambda profile: over(profile, quantile.stable_us, 1.0),
        lambda rate: tuple(min(rate(scaled(scale)), LARGEST_SLOW_RATE) for scale in (1.0, 1 + d / 2)),
    )


def _slow_promote(draft: Draft, quantile: Quantile, factor: float, age_us: int) -> Contrast:
    """At the final margin only answers still open exceed, so that no tolerance for errors can pay for a longer tail.

    Early stages count failures too and allow the stage's own error margin on top.
    """
    early, d = factor > 1, quantile.promote_d(factor)

    def over(profile: Profile, threshold_us: float, scale: float) -> tuple[int, int]:
        count = profile.exceeding if early else profile.still_open
        return count(threshold_us, scale=scale), profile.n

    return Contrast(
        name=f"{quantile.margin.name}.promote.{factor:g}",
        rule=Rule.SLOW if early else Rule.OPEN,
        promote=True,
        age_us=age_us,
        candidate_us=quantile.candidate_us(d),
        stable_us=quantile.stable_us,
        delta=_early_delta(draft, factor) if early else 0.0,
        **_scaled(draft, quantile, d, over=over),
    )


def _tardy_rollback(draft: Draft, quantile: Quantile) -> Contrast:
    def count(profile: Profile) -> tuple[int, int]:
        return profile.unanswered(quantile.stable_us), profile.timed

    return Contrast(
        name=f"first_byte_{quantile.margin.name}.rollback",
        rule=Rule.TARDY,
        age_us=draft.first_byte_age_us,
        candidate_us=quantile.candidate_us(quantile.margin.rollback_d),
        stable_us=quantile.stable_us,
        **_slower(draft, count),
    )


def _tardy_promote(draft: Draft, quantile: Quantile, factor: float) -> Contrast:
    """As for latency, at the timeout's age: errors promote there too, so it costs no time, and all answers have ended."""
    early, d = factor > 1, quantile.promote_d(factor)

    def over(profile: Profile, threshold_us: float, scale: float) -> tuple[int, int]:
        count = profile.unanswered if early else profile.still_silent
        return count(threshold_us, scale=scale), profile.timed

    return Contrast(
        name=f"first_byte_{quantile.margin.name}.promote.{factor:g}",
        rule=Rule.UNMET if early else Rule.SILENT,
        promote=True,
        age_us=draft.timeout_age_us,
        candidate_us=quantile.candidate_us(d),
        stable_us=quantile.stable_us,
        delta=_early_delta(draft, factor) if early else 0.0,
        **_scaled(draft, quantile, d, over=over),
    )


def _pair_contrasts(draft: Draft) -> Iterable[Contrast]:
    """All at the timeout's age: nobody is harmed by a shadow, so it waits until both answers had their time."""
    margin, age_us = draft.spec.error, draft.timeout_age_us
    yield Contrast(
        name="error.rollback.pairs",
        rule=Rule.BAD,
        pairs=True,
        age_us=age_us,
        rho=margin.rollback_rho,
        delta=margin.rollback_delta,
    )
    yield _error_pairs(draft, "error.promote.pairs", draft.spec.shadow_factor)
    for factor in dict.fromkeys(draft.early_pairs):
        yield _error_pairs(draft, f"error.promote.{factor:g}.pairs", factor)
    for quantile in draft.quantiles:
        yield Contrast(
            name=f"{quantile.margin.name}.rollback.pairs",
            rule=Rule.SLOW,
            pairs=True,
            age_us=age_us,
            candidate_us=quantile.candidate_us(quantile.margin.rollback_d),
            stable_us=quantile.stable_us,
        )
    if draft.quantiles:
        yield Contrast(name="later.rollback.pairs", rule=Rule.LATER, pairs=True, age_us=age_us)


def _error_pairs(draft: Draft, name: str, factor: float) -> Contrast:
    """Promote side of the errors over pairs, under the margin widened by a factor."""
    margin = draft.spec.error
    return Contrast(
        name=name,
        rule=Rule.UNWELL,
        pairs=True,
        promote=True,
        age_us=draft.timeout_age_us,
        rho=margin.rho(factor),
        delta=margin.delta(factor),
    )
