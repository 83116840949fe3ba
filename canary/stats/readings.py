"""What an answer's raw value is taken for: what is missing, unreadable or out of bounds, and what a failed answer is worth."""

import math
from typing import Final

from canary.stats.facts import UNTOLD, Fact
from canary.stats.grid import Known, Reading, Refused, Unknown, cost, quality_loss
from canary.stats.value_plan import Form, ValueMetric
from canary.terms import Better, MetricKind, MetricSpec

_UNKNOWN: Final = Unknown()
_WORST: Final = Known(value=1.0)
_BEST: Final = Known(value=0.0)
_BOUND_SLACK: Final = 1 + 1e-9
"""A bound that was written in decimals is not exceeded by a value that was."""


def form_of(spec: MetricSpec) -> Form:
    """How a declared metric's values become evidence."""
    match spec.kind, spec.better:
        case MetricKind.PREFERENCE, _:
            return Form.PREFERENCE
        case MetricKind.RATE, _:
            return Form.RATE
        case _, Better.HIGHER:
            return Form.QUALITY
        case _:
            return Form.AMOUNT


def reading_of(form: Form, spec: MetricSpec, raw: float | None, fact: Fact) -> Reading:
    """One answer's value as it is scored: larger is worse; a rate is 0 or 1, a quality the share of its cap that is lost."""
    if raw == UNTOLD and not (fact.failed and form is Form.QUALITY):
        return _UNKNOWN
    match form:
        case Form.RATE:
            return _rate(spec, raw)
        case Form.QUALITY:
            return _quality(spec, raw, fact)
        case _:
            return _amount(raw, fact)


def raw_of(metric: ValueMetric, fact: Fact) -> float | None:
    """The raw value: a declared one as it was read, that of a guard which every rollout has from the fact."""
    if metric.index < 0:
        return float(fact.client_error if metric.name == CLIENT_ERROR else fact.left)
    return fact.values[metric.index] if metric.index < len(fact.values) else None


CLIENT_ERROR: Final = "client_error"
ABANDONED: Final = "abandoned"


def _rate(spec: MetricSpec, raw: float | None) -> Known:
    """What cannot be read is bad: a version whose answers carry no yes or no must not pass for a good one."""
    if raw is None:
        return _WORST if spec.absent_is_bad else _BEST
    if not math.isfinite(raw) or raw < 0:
        return _WORST
    return _WORST if (raw > 0) is (spec.better is Better.LOWER) else _BEST


def _amount(raw: float | None, fact: Fact) -> Known | Refused:
    """An answer that did not end well, or refuses the request, costs what it says, or nothing; others must say it."""
    if raw is None and (fact.failed or fact.left or fact.client_error):
        return _BEST
    return cost(raw)


def _quality(spec: MetricSpec, raw: float | None, fact: Fact) -> Known | Refused:
    assert spec.cap is not None, "a quality has a cap, or it has no plan"
    if fact.failed:
        return _WORST
    if raw is None:
        return _WORST if spec.absent_is_bad else _BEST
    if math.isfinite(raw) and raw > spec.cap * _BOUND_SLACK:
        return Refused(reason=f"{raw:g} lies above the cap of {spec.cap:g}")
    return quality_loss(min(raw / spec.cap, 1.0) if math.isfinite(raw) else None, failed=False)


def preferred(
    spec: MetricSpec, candidate: float | None, stable: float | None, facts: tuple[Fact, Fact]
) -> tuple[Reading, Reading]:
    """A pair as (1, 0) where the candidate lost, (0, 1) where it won, equal in a tie; `facts` are the candidate's and stable's.

    A failed answer loses to one that did not fail. One without a readable value loses where absence is bad, and ties otherwise.
    Where nobody can tell a side's value the pair is unknown.
    """
    if UNTOLD in (candidate, stable):
        return _UNKNOWN, _UNKNOWN
    mine, theirs = (_strength(spec, raw, fact) for raw, fact in zip((candidate, stable), facts, strict=True))
    if mine is None or theirs is None or mine == theirs:
        return _BEST, _BEST
    return (_BEST, _WORST) if mine > theirs else (_WORST, _BEST)


def _strength(spec: MetricSpec, raw: float | None, fact: Fact) -> float | None:
    """Larger is better; None: it cannot be compared."""
    if fact.failed:
        return -math.inf
    if raw is None or not math.isfinite(raw):
        return -math.inf if spec.absent_is_bad else None
    return raw if spec.better is Better.HIGHER else -raw
