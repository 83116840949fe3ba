"""What the rollout page shows of each metric: its difference with an interval, and how long its evidence takes."""

from collections.abc import Sequence

from canary.control.sight import Sighted
from canary.rollout import words
from canary.rollout.estimates import Estimate
from canary.rollout.state import RolloutState
from canary.rollout.trend import gates_eta_s
from canary.rollout.verdicts import gates_of, verdicts_of
from canary.stats.evidence import MetricEvidence
from canary.stats.intervals import Interval
from canary.terms import Frozen

_NOTHING = "none"


class EstimateRow(Frozen, frozen=True, kw_only=True):
    """One metric."""

    name: str
    candidate: str
    stable: str
    difference: str
    rollback_eta: str
    promote_eta: str
    classes: tuple[str, ...]


class EstimateSheet(Frozen, frozen=True, kw_only=True):
    """All metrics of a rollout; `forecast` is one sentence."""

    rows: tuple[EstimateRow, ...]
    forecast: str


def sheet_of(state: RolloutState, seen: Sighted, found: Sequence[Estimate]) -> EstimateSheet | None:
    """The sheet, or None where nothing was counted."""
    if seen.evidence is None or not found:
        return None
    said = {estimate.metric: estimate for estimate in found}
    classes = {verdict.metric: verdict.classes for verdict in verdicts_of(seen.evidence, q=state.plan.alpha_rollback)}
    rows = [
        _row(row, said[row.metric], tuple(one.because for one in classes[row.metric]))
        for row in seen.evidence.metrics
        if row.metric in said and not row.abstains
    ]
    declared = [spec.name for spec in state.measures.metrics]
    eta_s = gates_eta_s(gates_of(state.phase, seen.evidence, declared=declared), seen.past)
    if seen.past is None:
        forecast = "A forecast takes half a minute of growth."
    elif eta_s is None:
        forecast = "At the growth of the last minutes not every gate opens."
    else:
        soon = f"At the growth of the last minutes every gate is open in {words.span(eta_s)}."
        forecast = soon if eta_s else "Every gate is open."
    return EstimateSheet(rows=tuple(rows), forecast=forecast)


def _row(row: MetricEvidence, estimate: Estimate, classes: tuple[str, ...]) -> EstimateRow:
    means = row.mean_candidate is not None
    return EstimateRow(
        name=words.name_of(row.metric),
        candidate=_value(estimate.candidate, row.unit, means=means),
        stable=_value(estimate.stable, row.unit, means=means),
        difference=_interval(estimate.difference, row.unit, means=means),
        rollback_eta=_eta(row.log_e_rollback, row.need_rollback, estimate.rollback_eta_s),
        promote_eta=_eta(row.log_e_promote, row.need_promote, estimate.promote_eta_s),
        classes=classes,
    )


def _value(value: float | None, unit: str, *, means: bool) -> str:
    if value is None:
        return _NOTHING
    return words.amount(value, unit) if means else f"{100 * value:.2f} %"


def _interval(found: Interval | None, unit: str, *, means: bool) -> str:
    if found is None:
        return _NOTHING

    def end(value: float | None) -> str:
        if value is None:
            return "open"
        return f"{value:+.4g}" if means else f"{100 * value:+.2f}"

    return f"{end(found.estimate)} ({end(found.lower)} to {end(found.upper)}) {unit if means else 'pp'}".strip()


def _eta(log_e: float | None, need: float | None, seconds: float | None) -> str:
    if log_e is None or need is None:
        return "no such side"
    if log_e >= need:
        return "reached"
    return "not growing" if seconds is None else words.span(seconds)
