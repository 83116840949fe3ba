"""A profile's values and a specification become the plan of a rollout's values: grids, margins, bets' effects, shares."""

import math
from collections.abc import Iterator
from typing import Final

import msgspec

from canary.stats.grid import QUALITY_GRID, Grid, cost_grid, spread
from canary.stats.means import COST_EFFECTS, QUALITY_EFFECTS, RATE_GRID, Effect, Margin, MeanMetric, promote_effects
from canary.stats.readings import form_of
from canary.stats.spec import ScoringSpec
from canary.stats.value_plan import NO_CAP, NO_MARGIN, NO_PAIRS, NO_PROFILE, Form, ValueMetric, ValuePlan
from canary.stats.value_profile import BUILT_IN, ValueProfile
from canary.terms import MetricSpec

RATE_EFFECTS: Final = (1.2, 1.4, 1.8, 2.5, 4.0, 8.0, 20.0, 100.0)
"""Times the null's rate, as of errors."""

LEAST_VALUES: Final = 100
"""Fewer are no profile: a cap of 1.5 times the largest of a handful would cut most of what comes."""

OVER_CAP: Final = "_over_cap"
"""How the guard of an amount's cap is called after it."""
DIVERSITY: Final = "diversity"

_RARE_DELTA: Final = 0.002
_LARGEST_RATE: Final = 0.999
_LARGEST_DELTA: Final = 0.9
"""Of the cap: widened for an early stage, a margin still leaves something to find out."""
_NO_SCALE: Final = 1e-3
"""Of a declared cap: the first point of a grid for amounts that nobody has seen yet."""


def plan_values(profile: ValueProfile, spec: ScoringSpec, *, age_us: int) -> ValuePlan:
    """What is counted of values and under which margins; `age_us` is the timeout's age. Shares are raw until `scaled`."""
    found = list(_Planner(profile, spec).metrics())
    rare = spec.shares.rare / (1 + sum(_is_rare_guard(metric) for metric in found))  # 1: throughput
    placed: list[ValueMetric] = []
    number = 0
    for metric in found:
        share = rare if _is_rare_guard(metric) else 0.0 if metric.abstains else metric.spec.share
        if metric.form is Form.OVER_CAP:
            place = placed[-1].number
        else:
            place, number = number, number + metric.numbers
        placed.append(msgspec.structs.replace(metric, share=share, number=place))
    strata = 1 + len(spec.measures.classes)
    return ValuePlan(metrics=tuple(placed), strata=strata, age_us=age_us, key=spec.answer_key, rare_share=rare)


def _is_rare_guard(metric: ValueMetric) -> bool:
    built_in = metric.form is Form.RATE and metric.index < 0
    return built_in or metric.form in {Form.OVER_CAP, Form.DIVERSITY}


class _Planner:
    """The metrics of one rollout, in their order."""

    def __init__(self, profile: ValueProfile, spec: ScoringSpec) -> None:
        self._profile = profile
        self._spec = spec
        self._classes = ("", *spec.measures.classes)
        has_shadow = spec.shadow_lane_weight > 0 or not spec.stage_factors
        self._lane = (spec.shadow_lane_weight if spec.stage_factors else 1.0) if has_shadow else 0.0

    def metrics(self) -> Iterator[ValueMetric]:
        for spec in BUILT_IN:
            yield self._rate(spec, -1)
        for index, spec in enumerate(self._spec.measures.metrics):
            match form_of(spec):
                case Form.RATE:
                    yield self._rate(spec, index)
                case Form.QUALITY:
                    yield self._quality(spec, index)
                case Form.PREFERENCE:
                    yield self._preference(spec, index)
                case _:
                    yield from self._amount(spec, index)
        if self._spec.measures.diversity:
            yield ValueMetric(form=Form.DIVERSITY, spec=_guard(DIVERSITY, self._spec.measures.diversity, promotes=True))

    def _seen(self, spec: MetricSpec) -> list[dict[float, int]]:
        """Counted values of each stratum; none at all where they are too few."""
        found = [self._profile.values(spec, name) for name in self._classes]
        n = sum(sum(values.values()) for values in found)
        return found if n >= LEAST_VALUES else [{} for _ in found]

    def _rate(self, spec: MetricSpec, index: int) -> ValueMetric:
        rows = tuple(_rate_row(values) for values in self._seen(spec))
        mean = MeanMetric(name=spec.name, grid=RATE_GRID, profile=rows, bounded=True)
        return self._with_margins(ValueMetric(form=Form.RATE, spec=spec, index=index, mean=mean), spec.rollback_delta, 1.0)

    def _quality(self, spec: MetricSpec, index: int) -> ValueMetric:
        metric = ValueMetric(form=Form.QUALITY, spec=spec, index=index)
        if spec.cap is None or not 0 < spec.cap < math.inf:
            return msgspec.structs.replace(metric, abstains=NO_CAP)
        rows = tuple(_row(QUALITY_GRID, values) for values in self._seen(spec))
        mean = MeanMetric(name=spec.name, grid=QUALITY_GRID, profile=rows, bounded=True)
        return self._with_margins(msgspec.structs.replace(metric, mean=mean), spec.rollback_delta, spec.cap)

    def _amount(self, spec: MetricSpec, index: int) -> Iterator[ValueMetric]:
        seen = self._seen(spec)
        metric, grid = ValueMetric(form=Form.AMOUNT, spec=spec, index=index), _amount_grid(spec, seen)
        if grid is None:
            yield msgspec.structs.replace(metric, abstains=NO_PROFILE)
            return
        mean = MeanMetric(name=spec.name, grid=grid, profile=tuple(_row(grid, values) for values in seen))
        yield self._with_margins(msgspec.structs.replace(metric, mean=mean), spec.rollback_delta, 1.0)
        over = tuple(_rate_row(_over(values, grid.cap)) for values in seen)
        guard = _guard(spec.name + OVER_CAP, spec.source, promotes=False)
        rate = MeanMetric(name=guard.name, grid=RATE_GRID, profile=over, bounded=True)
        rollback = _rollback_margin(Form.OVER_CAP, rate, guard, _RARE_DELTA)
        yield ValueMetric(form=Form.OVER_CAP, spec=guard, index=index, mean=rate, rollback=rollback)

    def _preference(self, spec: MetricSpec, index: int) -> ValueMetric:
        metric = ValueMetric(form=Form.PREFERENCE, spec=spec, index=index)
        if not self._lane:
            return msgspec.structs.replace(metric, abstains=NO_PAIRS)
        even = tuple((0.0, 0.0) for _ in self._classes)
        mean = MeanMetric(name=spec.name, grid=RATE_GRID, profile=even, bounded=True)
        rollback = Margin(name=f"{spec.name}.rollback.pairs", delta=spec.rollback_delta, pairs=True)
        metric = msgspec.structs.replace(metric, mean=mean, rollback_pairs=rollback, shadow_weight=1.0)
        if not spec.promotes:
            return metric
        if spec.promote_delta <= 0:
            return msgspec.structs.replace(metric, promote_abstains=NO_MARGIN)
        return self._with_pairs(metric, delta=spec.promote_delta, stages=self._spec.stage_factors)

    def _with_margins(self, metric: ValueMetric, rollback_delta: float, unit: float) -> ValueMetric:
        """With both sides of canary and pairs; `unit` is what one of the grid's units is in the metric's own."""
        spec, mean = metric.spec, metric.mean
        assert mean is not None, "margins are put on a grid"
        rollback = _rollback_margin(metric.form, mean, spec, rollback_delta / unit)
        pairs = None
        if rollback and self._lane and metric.index >= 0:
            pairs = Margin(name=f"{spec.name}.rollback.pairs", rho=rollback.rho, delta=rollback.delta, pairs=True)
        lane = self._lane if pairs else 0.0
        metric = msgspec.structs.replace(metric, rollback=rollback, rollback_pairs=pairs, shadow_weight=lane)
        if not spec.promotes:
            return metric
        if not any(map(any, mean.profile)):
            return msgspec.structs.replace(metric, promote_abstains=NO_PROFILE)
        if (spec.promote_rho - 1) * mean.mean() + spec.promote_delta <= 0:
            return msgspec.structs.replace(metric, promote_abstains=NO_MARGIN)
        delta = spec.promote_delta / unit
        margins = tuple(_promote_margin(mean, spec, delta, factor) for factor in self._spec.stage_factors)
        metric = msgspec.structs.replace(metric, promote=margins)
        return self._with_pairs(metric, delta=delta, stages=self._spec.stage_factors[:-1]) if self._lane else metric

    def _with_pairs(self, metric: ValueMetric, *, delta: float, stages: tuple[float, ...]) -> ValueMetric:
        """With promote margins over pairs for these stages and for the way out of the shadow."""
        assert metric.mean is not None, "pairs are put on a grid"
        factors = tuple(dict.fromkeys([*stages, self._spec.shadow_factor]))
        margins = tuple(_promote_margin(metric.mean, metric.spec, delta, factor, pairs=True) for factor in factors)
        places = [factors.index(factor) for factor in stages]
        places += [-1] * (len(self._spec.stage_factors) - len(stages))
        return msgspec.structs.replace(
            metric, promote_pairs=margins, stage_pairs=tuple(places), shadow_pairs=factors.index(self._spec.shadow_factor)
        )


def _guard(name: str, source: str, *, promotes: bool) -> MetricSpec:
    template = BUILT_IN[0]
    return msgspec.structs.replace(template, name=name, source=source, promotes=promotes)


def _rollback_margin(form: Form, mean: MeanMetric, spec: MetricSpec, delta: float) -> Margin | None:
    """None where the tolerance is the whole scale: nothing could be worse."""
    if delta >= mean.grid.cap:
        return None
    effects = _rollback_effects(form, mean, spec.rollback_rho * mean.mean() + delta)
    return Margin(name=f"{spec.name}.rollback", rho=spec.rollback_rho, delta=delta, effects=effects)


def _rollback_effects(form: Form, metric: MeanMetric, null: float) -> tuple[Effect, ...]:
    """Alternatives beyond the null: where a tolerance reaches past the smallest of them, all are counted from the null."""
    mean, cap = metric.mean(), metric.grid.cap
    if form is Form.AMOUNT:
        ratio = null / mean if mean else 1.0
        from_null = ratio >= COST_EFFECTS[0].times
        return tuple(Effect(times=effect.times * ratio) if from_null else effect for effect in COST_EFFECTS)
    left = cap - mean
    if form is Form.QUALITY:
        lost = (null - mean) / left if left else 0.0
        from_null = lost >= QUALITY_EFFECTS[0].worst
        shares = (lost + (1 - lost) * effect.worst if from_null else effect.worst for effect in QUALITY_EFFECTS)
    else:
        shares = ((min(null * times, _LARGEST_RATE) - mean) / left for times in RATE_EFFECTS)
    return tuple(Effect(worst=min(max(share, 0.0), _LARGEST_RATE)) for share in shares)


def _promote_margin(mean: MeanMetric, spec: MetricSpec, delta: float, factor: float, *, pairs: bool = False) -> Margin:
    """The final margin's distance widened for an early stage."""
    rho = 1 + max(1.0, factor) * (spec.promote_rho - 1) if spec.promote_rho > 1 else spec.promote_rho
    delta = min(factor * delta, _LARGEST_DELTA * mean.grid.cap)
    name = f"{spec.name}.promote.{factor:g}{'.pairs' if pairs else ''}"
    effects = () if pairs else promote_effects(mean, rho=rho, delta=delta)
    return Margin(name=name, rho=rho, delta=delta, promote=True, pairs=pairs, effects=effects)


def _row(grid: Grid, values: dict[float, int]) -> tuple[float, ...]:
    return spread(grid, values)


def _rate_row(values: dict[float, int]) -> tuple[float, ...]:
    """Half an event and half none beside those that were seen: no rate is 0 or 1."""
    n, bad = sum(values.values()), values.get(1.0, 0)
    return (n - bad + 0.5, bad + 0.5) if n else (0.0, 0.0)


def _over(values: dict[float, int], cap: float) -> dict[float, int]:
    over = sum(count for value, count in values.items() if value > cap)
    return {0.0: sum(values.values()) - over, 1.0: over} if values else {}


def _amount_grid(spec: MetricSpec, seen: list[dict[float, int]]) -> Grid | None:
    """None where neither a cap nor a profile says how large values are."""
    cap = spec.cap if spec.cap is not None and 0 < spec.cap < math.inf else None
    pooled: dict[float, int] = {}
    for values in seen:
        for value, count in values.items():
            pooled[value] = pooled.get(value, 0) + count
    if any(pooled):
        return cost_grid(pooled, hard_bound=cap)
    return None if cap is None else cost_grid({cap * _NO_SCALE: 1}, hard_bound=cap)
