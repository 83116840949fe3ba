"""What a page shows of a rollout: its timeline, its numbers and its reason, worked out before any markup."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from canary.control.sight import Sighted
from canary.rollout import words
from canary.rollout.harm import told
from canary.rollout.lean import leaning
from canary.rollout.state import MetricVerdict, RolloutState
from canary.rollout.troubled import alerts_of
from canary.stats.evidence import Evidence, MetricEvidence
from canary.terms import Frozen, Phase, Verdict

PHASES: Final = {
    Phase.PENDING: ("waiting to start", "calm"),
    Phase.SHADOWING: ("in shadow", "busy"),
    Phase.CANARYING: ("on live traffic", "busy"),
    Phase.WATCHING: ("promoted, watched", "good"),
    Phase.DONE: ("promoted", "good"),
    Phase.ROLLED_BACK: ("rolled back", "bad"),
    Phase.CANCELLED: ("cancelled", "calm"),
}

EXPLAINED: Final = (
    "Evidence is an e-value beside the one that is needed: where it is reached, that side is proven, however often one"
    " looks. Slow answers are those over a quantile of stable's profile; the candidate's, over that and what is allowed on top."
)


class Step(Frozen, frozen=True, kw_only=True):
    """One place on the timeline: `past`, `now`, `next`, or `ended` where the rollout stopped there."""

    name: str
    detail: str
    when: str


class Side(Frozen, frozen=True, kw_only=True):
    """Evidence for one side of a metric against what is needed; `filled` is 0 to 100."""

    words: str  # `e=21 of 20`
    filled: int
    crossed: bool


class Metric(Frozen, frozen=True, kw_only=True):
    """One row of the evidence table."""

    name: str
    candidate: str
    stable: str
    pairs: str
    rollback: Side | None
    promote: Side | None
    abstains: str


class Card(Frozen, frozen=True, kw_only=True):
    """One rollout."""

    state: RolloutState
    phase: str
    tone: str
    weight: str
    steps: tuple[Step, ...]
    metrics: tuple[Metric, ...]
    samples: str
    harm: str
    leaning: str  # why it leans on pairs; empty where it does not
    alerts: tuple[str, ...]
    no_evidence: str
    since: str


def card_of(state: RolloutState, seen: Sighted, *, now: datetime) -> Card:
    """Everything that a rollout's card shows."""
    evidence = seen.evidence
    phase, tone = PHASES[state.phase]
    return Card(
        state=state,
        phase=phase,
        tone="calm" if state.paused else tone,
        weight=_weight(state),
        steps=_steps(state),
        metrics=tuple(_metric(metric) for metric in evidence.metrics) if evidence else (),
        samples=_samples(evidence, over=state.phase.is_final) if evidence else "",
        harm=told(seen.harm, state.plan.harm_budget) if seen.harm is not None else "",
        leaning=leaning(state),
        alerts=tuple(alert.because for alert in alerts_of(state, evidence, unseen=seen.unseen)),
        no_evidence=_no_evidence(state, evidence),
        since=_since(state, now),
    )


def tally(verdicts: Sequence[MetricVerdict]) -> str:
    """A decision's verdicts in a few words: which failed, which passed, and how many are neither."""
    failed = [words.name_of(one.metric) for one in verdicts if one.rollback is Verdict.FAIL]
    passed = [words.name_of(one.metric) for one in verdicts if one.promote is Verdict.PASS]
    open_ = sum(one.rollback is not Verdict.FAIL and one.promote is not Verdict.PASS for one in verdicts)
    parts = [f"worse: {', '.join(failed)}"] if failed else []
    parts += [f"pass: {', '.join(passed)}"] if passed else []
    return "; ".join([*parts, f"{open_} undecided"])


def _weight(state: RolloutState) -> str:
    segment = state.segment
    if segment is None or state.phase in {Phase.PENDING, Phase.ROLLED_BACK, Phase.CANCELLED}:
        return "no traffic to the candidate"
    if state.phase is Phase.DONE:
        return "all traffic to the candidate"
    parts = [f"{words.weight(segment.weight_bp)} of live traffic"] if segment.weight_bp else []
    parts += [f"{words.weight(segment.shadow_bp)} of stable's requests copied"] if segment.shadow_bp else []
    return " and ".join(parts) or "no traffic to the candidate"


def _steps(state: RolloutState) -> tuple[Step, ...]:
    names = [("start", "profile of the stable version")]
    indexes: list[int | None] = [None]
    if state.plan.shadow.share_bp:
        names.append(("shadow", f"{words.weight(state.plan.shadow.share_bp)} copied, {state.plan.shadow.min_pairs:,} pairs"))
        indexes.append(-1)
    for index, stage in enumerate(state.plan.stages):
        names.append((words.weight(stage.weight_bp), f"at least {words.span(stage.dwell_s)}"))
        indexes.append(index)
    if state.plan.watch.for_s:
        names.append(("watch", f"{words.span(state.plan.watch.for_s)}, {words.weight(state.plan.watch.holdback_bp)} held back"))
        indexes.append(len(state.plan.stages))
    names.append(("done", "candidate in charge"))
    here = _here(state, indexes)
    return tuple(Step(name=name, detail=detail, when=_when(state, i, here)) for i, (name, detail) in enumerate(names))


def _here(state: RolloutState, indexes: list[int | None]) -> int:
    if state.phase is Phase.DONE:
        return len(indexes)
    at = state.segment.stage if state.segment else None
    return indexes.index(at) if at in indexes else 0


def _when(state: RolloutState, position: int, here: int) -> str:
    if position < here or (state.phase is Phase.DONE and position == here):
        return "past"
    if position > here:
        return "next"
    return "ended" if state.phase.is_final else "now"


def _metric(metric: MetricEvidence) -> Metric:
    return Metric(
        name=words.name_of(metric.metric),
        candidate=_arm(metric.mean_candidate, metric.bad_candidate, metric.n_candidate, metric.unit),
        stable=_arm(metric.mean_stable, metric.bad_stable, metric.n_stable, metric.unit),
        pairs=f"{metric.pairs_worse:,} worse, {metric.pairs_better:,} better of {metric.pairs:,}" if metric.pairs else "none",
        rollback=_side(metric.log_e_rollback, metric.need_rollback),
        promote=_side(*(words.promotion(metric) or (None, None, False))),
        abstains=metric.abstains,
    )


def _arm(mean: float | None, bad: int, n: int, unit: str) -> str:
    return _rate(bad, n) if mean is None else f"{words.amount(mean, unit)} ({n:,} values)"


def _rate(bad: int, n: int) -> str:
    return f"{100 * bad / n:.2f} % ({bad:,} of {n:,})" if n else "none"


def _side(log_e: float | None, need: float | None, by_pairs: bool = False) -> Side | None:
    if log_e is None or need is None:
        return None
    filled = round(100 * min(max(log_e / need, 0.0), 1.0)) if need > 0 else 100
    told_so = words.evidence(log_e, need) + (" by pairs" if by_pairs else "")
    return Side(words=told_so, filled=filled, crossed=log_e >= need)


def _samples(found: Evidence, *, over: bool) -> str:
    parts = [f"{found.assigned_candidate:,} requests on the candidate, {found.assigned_stable:,} on stable"]
    parts += [f"{found.pairs:,} pairs"]
    if found.sample_ratio_broken:
        parts.append("the split is not what was asked for: nothing can be concluded")
    if over:
        parts.append("as the last decision read it")
    elif found.newest_tick_age_s is not None:
        parts.append(f"counted up to {words.span(found.newest_tick_age_s)} ago")
    return ", ".join(parts)


def _no_evidence(state: RolloutState, evidence: Evidence | None) -> str:
    if evidence is not None and evidence.metrics:
        return evidence.abstains and f"People decide here: the statistics abstain ({evidence.abstains})."
    if state.phase is Phase.PENDING:
        return "Evidence begins once the stable version's profile is full: it fills with the route's traffic."
    if evidence is not None and evidence.abstains:
        return f"People decide here: the statistics abstain ({evidence.abstains})."
    if state.phase.is_final:
        return "It ended before any evidence was read."
    return "No settled outcomes yet: the first ones come a few seconds after the traffic does."


def _since(state: RolloutState, now: datetime) -> str:
    if state.ended_at is not None:
        return f"ended {words.span((now - state.ended_at).total_seconds())} ago"
    return f"began {words.span((now - state.created_at).total_seconds())} ago"
