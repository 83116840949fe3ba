"""What each metric's evidence means for the rollout: breaches, gates, and their words."""

from collections.abc import Collection
from typing import Final

from canary.rollout import words
from canary.rollout.state import ClassVerdict, MetricVerdict
from canary.stats.evidence import ClassEvidence, Evidence, MetricEvidence
from canary.stats.fleet import discoveries
from canary.terms import Phase, Verdict

ERRORS: Final = frozenset({"error_fast", "error", "error_timeout"})
"""Rows of failures, one for each age."""

SHADOW_GATE: Final = "shadow_error"
"""The row whose promote side opens the way out of the shadow; it guards nothing else."""


def worst_breach(evidence: Evidence | None) -> MetricEvidence | None:
    """The metric that is furthest over its rollback threshold, or None where none is over it.

    Errors are named before all others: a failed answer is later than any threshold, so it breaches latency too.
    """
    if evidence is None or evidence.abstains:
        return None
    breached = [metric for metric in evidence.metrics if metric.breached]
    failures = [metric for metric in breached if metric.metric in ERRORS]
    return max(failures or breached, key=_excess, default=None)


def gates_of(phase: Phase, evidence: Evidence, *, declared: Collection[str] = ()) -> tuple[MetricEvidence, ...]:
    """The metrics that must be cleared to leave the present stage: those that have a promote side.

    In the shadow that is the pairs' error row and those `declared` metrics that pairs tell of; on live traffic it is every
    row but the shadow's, a metric that abstains included, so that silence never passes. Empty where nothing could ever pass.
    """
    if evidence.abstains:
        return ()
    if phase is Phase.SHADOWING:
        rows = [row for row in evidence.metrics if row.metric == SHADOW_GATE or (row.metric in declared and row.pairs)]
    else:
        rows = [row for row in evidence.metrics if row.metric != SHADOW_GATE]
    return tuple(row for row in rows if _has_promote(row) or row.abstains or row.promote_abstains)


def weakest(gates: tuple[MetricEvidence, ...] | list[MetricEvidence]) -> MetricEvidence:
    """The gate that is furthest below its threshold (or least over it)."""
    return min(gates, key=_margin)


def proof_of(metric: MetricEvidence) -> str:
    """How far one gate is: `p95 latency e=3.4 of the needed 20 (4/812 against 31/15,540)`."""
    name = words.name_of(metric.metric)
    if metric.abstains:
        return f"{name} abstains ({metric.abstains})"
    if metric.promote_abstains:
        return f"{name} cannot be promoted ({metric.promote_abstains})"
    found = words.promotion(metric)
    if found is None:
        return f"{name} has nothing counted yet"
    log_e, need, by_pairs = found
    counts = words.pairs(metric) if by_pairs else words.counts(metric)
    return f"{name} {words.e_value(log_e)} of the needed {words.needed(need)} ({counts})"


def verdicts_of(evidence: Evidence | None, *, q: float) -> tuple[MetricVerdict, ...]:
    """Every metric's word at this look; `q` bounds the share of wrong words among the classes called worse."""
    if evidence is None:
        return ()
    return tuple(_verdict(metric, evidence.abstains, q=q) for metric in evidence.metrics)


def _verdict(metric: MetricEvidence, silenced: str, *, q: float) -> MetricVerdict:
    abstains = silenced or metric.abstains
    breached = metric.breached and not silenced
    cleared = _has_promote(metric) and metric.cleared and not silenced
    if abstains:
        because = f"{words.name_of(metric.metric)} abstains ({abstains})"
    elif breached:
        because = f"{words.comparison(metric)}: worse than tolerated"
    elif cleared:
        because = f"{words.comparison(metric)}: not worse than the margin"
    elif _has_promote(metric):
        because = proof_of(metric)
    else:
        because = f"{words.comparison(metric)}: guarded, not a gate"
    if breached and cleared:
        because += ", though not worse than the margin: it lies between the two"
    return MetricVerdict(
        metric=metric.metric,
        rollback=Verdict.FAIL if breached else Verdict.UNDECIDED,
        promote=Verdict.PASS if cleared else Verdict.UNDECIDED,
        because=because,
        classes=() if abstains else class_verdicts(metric, q=q),
    )


def class_verdicts(metric: MetricEvidence, *, q: float) -> tuple[ClassVerdict, ...]:
    """Which classes the candidate is worse in: e-BH over the metric's classes, so a share q of these words is wrong at most."""
    worse = discoveries({one.name: one.log_e_rollback for one in metric.classes}, q) if metric.classes else frozenset()
    return tuple(_class_verdict(one, one.name in worse) for one in metric.classes)


def _class_verdict(found: ClassEvidence, worse: bool) -> ClassVerdict:
    name = found.name or "other"
    numbers = f"{found.bad_candidate:,g}/{found.n_candidate:,} against {found.bad_stable:,g}/{found.n_stable:,}"
    word = "worse than tolerated" if worse else "not found worse"
    because = f"class {name}: {word} ({numbers}, {words.e_value(found.log_e_rollback)})"
    return ClassVerdict(name=name, rollback=Verdict.FAIL if worse else Verdict.UNDECIDED, because=because)


def _has_promote(metric: MetricEvidence) -> bool:
    return metric.need_promote is not None


def _excess(metric: MetricEvidence) -> float:
    return (metric.log_e_rollback or 0.0) - (metric.need_rollback or 0.0)


def _margin(metric: MetricEvidence) -> float:
    found = None if metric.abstains or metric.promote_abstains else words.promotion(metric)
    return float("-inf") if found is None else found[0] - found[1]
