"""An estimate as people read it: values, interval, evidence against what is needed, and how long that takes."""

from typing import Final

from canary.rollout import words
from canary.rollout.estimates import Estimate, Scale
from canary.rollout.past import Past
from canary.rollout.state import RolloutState
from canary.rollout.trend import gates_eta_s, is_told, least_s
from canary.rollout.verdicts import SHADOW_GATE, gates_of
from canary.stats.evidence import Evidence, MetricEvidence
from canary.stats.intervals import Interval
from canary.terms import Frozen

NOTHING: Final = "-"
_PAIRED: Final = ".pairs"


class EstimateWords(Frozen, frozen=True, kw_only=True):
    """One metric in words."""

    name: str
    candidate: str
    stable: str
    difference: str
    rollback: str  # evidence against what is needed, or why there is none
    rollback_eta: str
    promote: str
    promote_eta: str


class Outlook(Frozen, frozen=True, kw_only=True):
    """The gates of a stage, and when all of them will be open."""

    gates: tuple[MetricEvidence, ...] = ()
    eta_s: float | None = None
    sentence: str = ""


def words_of(row: MetricEvidence, found: Estimate, past: Past | None, *, over: bool = False) -> EstimateWords:
    """A metric's row for people; `over`: the rollout has ended, and nothing is forecast of it."""
    return EstimateWords(
        name=_name(row.metric, found.of),
        candidate=_value(found.candidate, found),
        stable=_value(found.stable, found),
        difference=_difference(found),
        rollback=words.evidence(row.log_e_rollback, row.need_rollback) or "no guard",
        rollback_eta=_eta(found.rollback_eta_s, past, there=row.need_rollback is not None, over=over),
        promote=promotion_of(row) or "no gate",
        promote_eta=_eta(found.promote_eta_s, past, there=row.need_promote is not None, over=over),
    )


def promotion_of(row: MetricEvidence) -> str:
    """The promote side's evidence, by requests or by pairs, whichever is further; empty without a promote side."""
    if row.promote_abstains:
        return f"cannot pass: {row.promote_abstains}"
    found = words.promotion(row)
    if found is None:
        return ""
    log_e, need, by_pairs = found
    return words.evidence(log_e, need) + (" by pairs" if by_pairs else "")


def forecast_of(gates_eta_s: float | None, past: Past | None, *, over: bool = False) -> str:
    """All gates in one sentence; empty for a rollout that has ended."""
    if over:
        return ""
    if gates_eta_s == 0:
        return "Every gate is open."
    if past is None or not is_told(past):
        return f"No forecast yet: {_looked(past)}."
    if gates_eta_s is None:
        return "No forecast: at the present growth not every gate opens."
    return f"At the present growth every gate is open in {words.span(gates_eta_s)}."


def outlook_of(state: RolloutState, evidence: Evidence, past: Past | None) -> Outlook:
    """What a rollout waits for; without gates there is nothing to foretell."""
    gates = gates_of(state.phase, evidence, declared=[spec.name for spec in state.measures.metrics])
    if not gates:
        return Outlook()
    eta_s = gates_eta_s(gates, past)
    return Outlook(gates=gates, eta_s=eta_s, sentence=forecast_of(eta_s, past, over=state.phase.is_final))


def _looked(past: Past | None) -> str:
    """Looks are kept by the controller that decides: a new one has none."""
    seen_s = 0.0 if past is None else past.age_s
    return f"{words.span(seen_s)} of looks, {words.span(least_s(past))} are needed"


def _name(metric: str, of: str) -> str:
    """With the threshold that is shown of several, and whether pairs are."""
    name, place = words.name_of(metric), of.removesuffix(_PAIRED).removeprefix("first_byte_")
    if not of or metric == SHADOW_GATE:  # whose name says it
        return name
    lane = ", pairs" if of.endswith(_PAIRED) or of == "pairs" else ""
    return f"{name}{lane}" if place == "pairs" else f"{name} ({place}{lane})"


def _value(value: float | None, found: Estimate) -> str:
    if value is None:
        return NOTHING
    return words.amount(value, found.unit) if found.scale is Scale.AMOUNT else f"{100 * value:.2f} %"


def _difference(found: Estimate) -> str:
    if found.difference is None and found.ratio is None:
        return f"no interval: {found.no_interval}" if found.no_interval else NOTHING
    parts = []
    if found.difference is not None:
        scale, unit = (1.0, found.unit) if found.scale is Scale.AMOUNT else (100.0, "pp")
        unit = "% net loss" if found.scale is Scale.NET_LOSS else unit
        parts.append(_interval(found.difference, scale, unit))
    if found.ratio is not None:
        parts.append(_times(found.ratio) + (" of stable's completions" if found.scale is Scale.COMPLETIONS else ""))
    return ", ".join(parts)


def _interval(found: Interval, scale: float, unit: str) -> str:
    def end(value: float | None) -> str:
        if value is None:
            return "open"
        return words.number(value, sign=True) if scale == 1.0 else f"{scale * value:+.2f}"

    return f"{end(found.estimate)} ({end(found.lower)} to {end(found.upper)}) {unit}".strip()


def _times(found: Interval) -> str:
    lower, upper = (f"{value:.3g}x" if value is not None else "open" for value in (found.lower, found.upper))
    return f"{found.estimate:.3g}x ({lower} to {upper})"


def _eta(seconds: float | None, past: Past | None, *, there: bool, over: bool) -> str:
    if not there:
        return NOTHING
    if seconds == 0:
        return "reached"
    if over:
        return NOTHING
    if seconds is not None:
        return words.span(seconds)
    return "not growing" if past is not None and is_told(past) else "no forecast yet"
