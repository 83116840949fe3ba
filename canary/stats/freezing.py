"""A profile and a specification become the scoring of one rollout."""

from collections.abc import Iterable
from typing import Final

from canary.stats.contrast import FIRST_BYTE_RULES, Metric, Rule
from canary.stats.contrasts import Draft, contrasts_of
from canary.stats.frozen import Scoring
from canary.stats.profile import Profile
from canary.stats.spec import ScoringSpec
from canary.stats.value_plan import ValuePlan
from canary.stats.values import plan_values

GATED_SHARE: Final = 0.05
GATED_OUTCOMES: Final = 100
"""A class with less of the profile would hold every gate shut for want of traffic, so it has none of its own."""


def freeze(profile: Profile, spec: ScoringSpec) -> Scoring:
    """The scoring that a rollout keeps for life. Latency metrics exist where the profile has quantiles to offer."""
    draft = Draft.of(profile, spec)
    values = plan_values(profile.values, spec, age_us=draft.timeout_age_us)
    whole = _whole(draft, values)
    contrasts = {contrast.name: contrast for contrast in contrasts_of(draft)}
    order = {name: index for index, name in enumerate(contrasts)}
    canary = [contrast for contrast in contrasts.values() if not contrast.pairs]
    slow = [contrast for contrast in canary if contrast.rule not in FIRST_BYTE_RULES]
    first = [contrast for contrast in canary if contrast.rule in FIRST_BYTE_RULES]
    slow_pairs = [c for c in contrasts.values() if c.pairs and c.rule is Rule.SLOW]
    return Scoring(
        spec=spec,
        profile_n=profile.n,
        ages_us=tuple(sorted({contrast.age_us for contrast in canary})),
        candidate_us=_thresholds(contrast.candidate_us for contrast in slow),
        stable_us=_thresholds(contrast.stable_us for contrast in slow),
        first_candidate_us=_thresholds(contrast.candidate_us for contrast in first),
        first_stable_us=_thresholds(contrast.stable_us for contrast in first),
        pair_age_us=draft.timeout_age_us,
        pair_candidate_us=_thresholds(contrast.candidate_us for contrast in slow_pairs),
        pair_stable_us=_thresholds(contrast.stable_us for contrast in slow_pairs),
        pair_later=1 + (spec.latency[0].rollback_d if spec.latency else 0.0),
        contrasts=tuple(contrasts.values()),
        metrics=tuple(_metrics(draft, order, whole=whole, throughput=_throughput(draft, values))),
        values=values.scaled(whole),
        classes=spec.measures.classes,
        gated=tuple(_gated(profile, spec)),
    )


def _thresholds(found: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted({threshold for threshold in found if threshold}))


def _gated(profile: Profile, spec: ScoringSpec) -> Iterable[int]:
    if not spec.class_gates or not spec.measures.classes:
        return
    for number in range(1 + len(spec.measures.classes)):
        if profile.stratum(number).n >= max(GATED_OUTCOMES, GATED_SHARE * profile.n):
            yield number


def _throughput(draft: Draft, values: ValuePlan) -> float:
    """Raw share of the throughput guard: that of every rare one; none where users keep their arm, who are no events."""
    if not draft.has_canary or draft.spec.sticky:
        return 0.0
    return values.rare_share or draft.spec.shares.rare


def _whole(draft: Draft, values: ValuePlan) -> float:
    """What the raw shares of all metrics of the rollout add up to."""
    shares = draft.spec.shares
    whole = sum(share for _, _, share in draft.error_ages_us) + _throughput(draft, values) + values.share
    return whole + (shares.latency if draft.quantiles else 0.0) + (shares.first_byte if draft.first_bytes else 0.0)


def _metrics(draft: Draft, order: dict[str, int], *, whole: float, throughput: float) -> Iterable[Metric]:
    lane = _shadow_lane(draft)
    yield from _error_metrics(draft, order, whole=whole, lane=lane)
    if draft.quantiles:
        names = [quantile.margin.name for quantile in draft.quantiles]
        slow_pairs = [*(order[f"{name}.rollback.pairs"] for name in names), order["later.rollback.pairs"]] if lane else []
        yield Metric(
            name="latency",
            share=draft.spec.shares.latency / whole,
            canary=tuple(order[f"{name}.rollback"] for name in names),
            shadow=tuple(slow_pairs),
            shadow_weight=lane,
        )
        yield from _promote_rows(draft, order, names, prefix="")
    if draft.first_bytes:
        names = [quantile.margin.name for quantile in draft.first_bytes]
        yield Metric(
            name="first_byte",
            share=draft.spec.shares.first_byte / whole,
            canary=tuple(order[f"first_byte_{name}.rollback"] for name in names),
        )
        yield from _promote_rows(draft, order, names, prefix="first_byte_")
    if throughput:
        yield Metric(name="throughput", share=throughput / whole, canary=(order["throughput.rollback"],))
    if lane:
        yield Metric(name="shadow_error", promote_pairs=order["error.promote.pairs"])


def _shadow_lane(draft: Draft) -> float:
    """Weight of the shadow lane in each metric that it feeds."""
    if not draft.has_shadow:
        return 0.0
    return draft.spec.shadow_lane_weight if draft.has_canary else 1.0


def _error_metrics(draft: Draft, order: dict[str, int], *, whole: float, lane: float) -> Iterable[Metric]:
    for name, age_us, share in draft.error_ages_us:
        at_timeout = age_us == draft.timeout_age_us
        yield Metric(
            name=name,
            share=share / whole,
            canary=(order[f"{name}.rollback"],),
            shadow=(order["error.rollback.pairs"],) if at_timeout and lane else (),
            shadow_weight=lane if at_timeout else 0.0,
            promote=tuple(order[f"error.promote.{factor:g}"] for factor in draft.spec.stage_factors) if at_timeout else (),
            stage_pairs=tuple(order[f"error.promote.{factor:g}.pairs"] for factor in draft.early_pairs) if at_timeout else (),
            counts_failures=True,
        )


def _promote_rows(draft: Draft, order: dict[str, int], names: list[str], *, prefix: str) -> Iterable[Metric]:
    """Every threshold promotes by itself: averaged, a good median would carry a bad tail."""
    for name in names:
        stages = [f"{prefix}{name}.promote.{factor:g}" for factor in draft.spec.stage_factors]
        if stages and all(stage in order for stage in stages):
            yield Metric(name=f"{prefix}{name}", promote=tuple(order[stage] for stage in stages))
