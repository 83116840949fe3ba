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

    weight_bp: int
    metric: str = ""  # the one that finds it first; empty: none ever would
    median_s: float | None = None  # by then half of all rollouts are rolled back; None: never
    chance: float = 0.0  # of a rollback within the stage's time limit


def power(lab: Lab) -> tuple[Power, ...]:
    """At each weight of the plan, on live traffic alone."""
    rates = true_rates(lab)
    return tuple(_at(lab, stage.weight_bp, rates) for stage in lab.question.plan.stages)


def true_rates(lab: Lab) -> list[tuple[float, float]]:
    """Candidate's and stable's chance to score 1, for each contrast of the scoring."""
    cells = lab.candidate.expected(_MANY)
    for key, count in lab.stable.expected(_MANY).items():
        cells[key] = cells.get(key, 0) + count
    minute = int(T0.timestamp()) // 60
    ledger = Ledger()
    ledger.add([CounterRow(rollout="", segment=1, journal="j", minute=minute, cells=to_bytes(cells), revision=1)])
    totals = ledger.settled([Horizon(journal="j", tick_at_us=0, dead=True)], lab.scoring)
    counts, width = totals.segments[1].counts, CELLS * len(lab.scoring.contrasts)
    found = []
    for at in range(0, width, CELLS):
        one = [sum(int(counts[start + at + place]) for start in range(0, len(counts), width)) for place in range(CELLS)]
        found.append((one[0] / max(1, one[0] + one[1]), one[2] / max(1, one[2] + one[3])))
    return found


def _at(lab: Lab, weight_bp: int, rates: list[tuple[float, float]]) -> Power:
    rate = lab.question.rate_per_s
    requests = rate * lab.question.plan.max_duration_s
    best = Power(weight_bp=weight_bp)
    for name, need, growth, age_s in _growths(lab, weight_bp / BUCKETS, rates):
        chance, median = growth.chance(need, requests), growth.requests(need)
        median_s = None if median is None else median / rate + age_s
        sooner = median_s is not None and (best.median_s is None or median_s < best.median_s)
        if sooner or (best.median_s is None and chance > best.chance):
            best = Power(weight_bp=weight_bp, metric=name, median_s=median_s, chance=max(chance, best.chance))
    return best


def _growths(lab: Lab, weight: float, rates: list[tuple[float, float]]) -> Iterator[tuple[str, float, Growth, float]]:
    """(metric, log e that it needs, growth of one of its bets, seconds until a request counts)"""
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
