"""What a plan can find out at each of its weights, from the growth of its bets: no runs, no chance."""

import math
from collections.abc import Iterable, Iterator
from typing import Final

from canary.rollout.counted import CELLS
from canary.rollout.simulate import T0, Lab
from canary.stats import forecast, means
from canary.stats.contrast import Rule
from canary.stats.counts import CounterRow, Horizon, Ledger, to_bytes
from canary.stats.forecast import Growth
from canary.stats.restarts import FROM_START
from canary.stats.value_plan import ValueMetric
from canary.terms import BUCKETS, Frozen

_MANY: Final = 10_000_000
"""Requests of each arm by which true rates are read off: exact to what any bet could tell."""


class Power(Frozen, frozen=True, kw_only=True):
    """One imagined candidate at one weight, were it to stay there."""

    weight_bp: int  # 0: the shadow
    metric: str = ""  # the one that finds it first; empty: none ever would
    median_s: float | None = None  # by then half of all rollouts are rolled back; None: never
    chance: float = 0.0  # of a rollback within the stage's time limit


def power(lab: Lab) -> tuple[Power, ...]:
    """In the shadow, where there is one, and at each weight of the plan: by the canary or by pairs, whichever is sooner."""
    plan, rates, pairs = lab.question.plan, true_rates(lab), true_pairs(lab)
    weights = [0, *(stage.weight_bp for stage in plan.stages)] if plan.has_shadow else [one.weight_bp for one in plan.stages]
    return tuple(_at(lab, weight_bp, rates, pairs) for weight_bp in weights)


def true_rates(lab: Lab) -> list[tuple[float, float]]:
    """Candidate's and stable's chance to score 1, for each contrast of the scoring."""
    cells = lab.candidate.expected(_MANY)
    for key, count in lab.stable.expected(_MANY).items():
        cells[key] = cells.get(key, 0) + count
    found = _counted(lab, cells)
    return [(a / max(1, a + b), c / max(1, c + d)) for a, b, c, d in found]


def true_pairs(lab: Lab) -> list[tuple[float, float, float]]:
    """Chances of a pair in each contrast: both score 1, the candidate alone, stable alone; 0 where nothing is copied."""
    if not lab.question.plan.has_shadow:
        return [(0.0, 0.0, 0.0)] * len(lab.scoring.contrasts)
    found = _counted(lab, lab.pairs.expected(_MANY))
    return [(a / max(1, n), b / max(1, n), c / max(1, n)) for (a, b, c, d) in found for n in [a + b + c + d]]


def _counted(lab: Lab, cells: dict[int, int]) -> list[list[int]]:
    """Each contrast's four counts, of all classes together, in cells that are all settled."""
    minute = int(T0.timestamp()) // 60
    ledger = Ledger()
    ledger.add([CounterRow(rollout="", segment=1, journal="j", minute=minute, cells=to_bytes(cells), revision=1)])
    totals = ledger.settled([Horizon(journal="j", tick_at_us=0, dead=True)], lab.scoring)
    counts, width = totals.segments[1].counts, CELLS * len(lab.scoring.contrasts)
    strata = range(0, len(counts), width)
    return [
        [sum(int(counts[stratum + at + place]) for stratum in strata) for place in range(CELLS)]
        for at in range(0, width, CELLS)
    ]


def _at(lab: Lab, weight_bp: int, rates: list[tuple[float, float]], pairs: list[tuple[float, float, float]]) -> Power:
    plan, weight, best = lab.question.plan, weight_bp / BUCKETS, Power(weight_bp=weight_bp)
    per_s = lab.question.rate_per_s
    pairs_per_s = per_s * (1 - weight) * plan.shadow.share_bp / BUCKETS
    found = [(per_s, _by_canary(lab, weight, rates))] if weight else []
    found += [(pairs_per_s, _by_pairs(lab, pairs))] if pairs_per_s else []
    for each_s, name, need, growth, age_s in ((each_s, *one) for each_s, lane in found for one in lane):
        chance, median = growth.chance(need, each_s * plan.max_duration_s), growth.requests(need)
        median_s = None if median is None else median / each_s + age_s
        sooner = median_s is not None and (best.median_s is None or median_s < best.median_s)
        if sooner or (best.median_s is None and chance > best.chance):
            best = Power(weight_bp=weight_bp, metric=name, median_s=median_s, chance=max(chance, best.chance))
    return best


_Bet = tuple[str, float, Growth, float]
"""Metric, log e that it needs, growth of one of its bets, seconds until a request or a pair counts."""


def _by_pairs(lab: Lab, pairs: list[tuple[float, float, float]]) -> Iterator[_Bet]:
    """Of errors and latency; pairs of declared values are left out, so these are found sooner than is said."""
    scoring = lab.scoring
    for metric in scoring.metrics:
        for index in metric.shadow if metric.share else ():
            both, worse, better = pairs[index]
            contrast = scoring.contrasts[index]
            growth = forecast.pair_growth(contrast, both=both, worse=worse, better=better, shares=len(metric.shadow))
            need = _need(scoring.spec.alpha_rollback * metric.share, metric.shadow_weight)
            yield metric.name, need, growth, contrast.age_us / 1e6


def _by_canary(lab: Lab, weight: float, rates: list[tuple[float, float]]) -> Iterator[_Bet]:
    scoring = lab.scoring
    alpha = scoring.spec.alpha_rollback
    for metric in scoring.metrics:
        for index in metric.canary if metric.share else ():
            contrast = scoring.contrasts[index]
            if contrast.rule is Rule.GONE:
                continue  # it has a form of its own, and sees what the errors see
            candidate, stable = rates[index]
            growth = forecast.rate_growth(contrast, weight, candidate=candidate, stable=stable, shares=len(metric.canary))
            yield metric.name, _need(alpha * metric.share, 1 - metric.shadow_weight), growth, contrast.age_us / 1e6
    for value in _changed(lab, scoring.values.metrics):
        assert value.mean is not None
        assert value.rollback is not None
        effect = means.Effect(times=_times(lab, value), worst=_worst(lab, value))
        growth = forecast.mean_growth(value.mean, value.rollback, weight, effect)
        yield value.name, _need(alpha * value.share, 1 - value.shadow_weight), growth, scoring.values.age_us / 1e6


def _need(alpha: float, lane: float) -> float:
    """What one bet has to reach: its metric's threshold, behind the lane's part and the half that begins at the start."""
    return -math.log(alpha) - math.log(lane) - math.log(FROM_START)


def _changed(lab: Lab, found: Iterable[ValueMetric]) -> Iterator[ValueMetric]:
    for value in found:
        if value.name == lab.effect.metric and value.share and value.mean is not None and value.rollback is not None:
            yield value


def _times(lab: Lab, value: ValueMetric) -> float:
    return 1.0 if value.mean is not None and value.mean.bounded else lab.effect.times


def _worst(lab: Lab, value: ValueMetric) -> float:
    """Of a rate that grows by a factor: the share of good answers that become bad."""
    assert value.mean is not None
    mean = value.mean.mean()
    if not value.mean.bounded or lab.effect.times == 1.0:
        return lab.effect.worst
    return min(1.0, (lab.effect.times - 1) * mean / (1 - mean)) if mean < 1 else 0.0
