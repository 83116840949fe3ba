"""What a rollout does next: questions in a fixed order, and the first answer wins."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec

from canary.rollout import words
from canary.rollout.harm import overspent
from canary.rollout.lean import lean_of
from canary.rollout.past import Past
from canary.rollout.signs import FRESH_S, NO_SIGNS, Signs
from canary.rollout.state import Decision, Reason, RolloutState
from canary.rollout.trend import gates_eta_s, is_told
from canary.rollout.verdicts import gates_of, proof_of, verdicts_of, weakest, worst_breach
from canary.stats.evidence import Evidence, MetricEvidence
from canary.terms import Action, Frozen, Phase, Scored

STALE_AFTER_S: Final = FRESH_S


class Look(Frozen, frozen=True, kw_only=True):
    """Everything that one decision depends on."""

    state: RolloutState
    evidence: Evidence | None  # None: nothing has been counted
    now: datetime
    profile_n: int
    profile_per_s: float | None
    signs: Signs = NO_SIGNS

    @property
    def staged(self) -> bool:
        """True while traffic is split or copied."""
        return not self.state.phase.is_final and self.state.phase is not Phase.PENDING

    @property
    def declared(self) -> frozenset[str]:
        """Names of the metrics that the route declares."""
        return frozenset(spec.name for spec in self.state.measures.metrics)


def decide(
    state: RolloutState,
    evidence: Evidence | None,
    now: datetime,
    *,
    profile_n: int,
    profile_per_s: float | None = None,
    signs: Signs = NO_SIGNS,
) -> Decision:
    """The decision at one look, with the verdict of every metric and the reason in one sentence.

    `profile_n` is the size of the route's profile as yet; `profile_per_s` is its growth, for the forecast; `signs` is what
    the same counts say beside the evidence. The result is a function of the arguments alone. (A breached guardrail and a
    spent harm budget are asked before `paused`: a paused canary still serves people.)
    """
    look = Look(state=state, evidence=evidence, now=now, profile_n=profile_n, profile_per_s=profile_per_s, signs=signs)
    answers = (question(look) for question in QUESTIONS)
    decision = next((answer for answer in answers if answer is not None), None) or _short_of_proof(look)
    return msgspec.structs.replace(decision, verdicts=verdicts_of(evidence, q=state.plan.alpha_rollback))


def _finished(look: Look) -> Decision | None:
    if not look.state.phase.is_final:
        return None
    return _keep(f"finished: {look.state.phase.replace('_', ' ')}", Reason.FINISHED)


def _breached(look: Look) -> Decision | None:
    breach = worst_breach(look.evidence) if look.staged else None
    if breach is None:
        return None
    assert breach.log_e_rollback is not None
    assert breach.need_rollback is not None
    where = {Phase.SHADOWING: " in the shadow", Phase.WATCHING: " in the watch"}.get(look.state.phase, "")
    because = (
        f"rolled back{where}: {words.comparison(breach)},"
        f" evidence {words.e_value(breach.log_e_rollback)} over the needed {words.needed(breach.need_rollback)}"
    )
    return Decision(action=Action.ROLL_BACK, because=because, reason=Reason.GUARDRAIL)


def _too_harmful(look: Look) -> Decision | None:
    harm = look.signs.harm if look.staged else None
    spent = overspent(harm, look.state.plan.harm_budget) if harm is not None else ""
    if not spent:
        return None
    return Decision(action=Action.ROLL_BACK, because=f"rolled back: the harm budget is spent, {spent}", reason=Reason.HARM)


def _paused(look: Look) -> Decision | None:
    if not look.state.paused:
        return None
    opening = _warm_up_over(look)  # changes what is guarded, not the traffic: a held canary is guarded in full
    return opening or _keep("on hold: a person resumes it; guardrails stay", Reason.PAUSED)


def _abstaining(look: Look) -> Decision | None:
    if not look.staged or look.evidence is None or not look.evidence.abstains:
        return None
    waits = f"a person: the statistics abstain ({look.evidence.abstains})"
    return _out_of_time(look) or _wait(waits, Reason.ABSTAINS)


def _stale(look: Look) -> Decision | None:
    if not look.staged:
        return None
    age_s = look.evidence.newest_tick_age_s if look.evidence is not None else None
    if age_s is None:
        opened_at = look.state.stage_opened_at or look.state.created_at
        return _wait(f"no evidence yet, {words.span(_since(opened_at, look.now))} into the stage", Reason.STALE)
    if age_s >= STALE_AFTER_S:
        return _wait(f"no evidence for {words.span(age_s)}", Reason.STALE)
    return None


def _silent(look: Look) -> Decision | None:
    if not look.staged or look.state.phase is Phase.SHADOWING or not look.signs.silence:
        return None
    return _out_of_time(look) or _wait(look.signs.silence, Reason.SILENT)


def _sample_ratio_broken(look: Look) -> Decision | None:
    evidence = look.evidence
    if not look.staged or evidence is None or not evidence.sample_ratio_broken:
        return None
    segment = look.state.segment
    meant = words.weight(segment.weight_bp) if segment is not None else "0 %"
    total = evidence.assigned_candidate + evidence.assigned_stable
    because = (
        f"held: the sample ratio is broken, {evidence.assigned_candidate:,} of {total:,} requests went to the candidate"
        f" (now meant: {meant}; {words.e_value(evidence.sample_ratio_log_e)} over the needed 1,000):"
        " the arms cannot be compared, so nothing is promoted; find what drops or moves requests of one arm"
    )
    return Decision(action=Action.HOLD, because=because, reason=Reason.SAMPLE_RATIO)


def _profile_short(look: Look) -> Decision | None:
    if look.state.phase is not Phase.PENDING:
        return None
    need = look.state.plan.min_profile
    if look.profile_n >= need:
        because = f"started: profile of {look.profile_n:,} stable outcomes frozen ({need:,} needed){_leaning(look)}"
        return Decision(action=Action.START, because=because, reason=Reason.PROFILE)
    waits = f"profile {look.profile_n}/{need}"
    if look.profile_per_s:
        waits += f", about {words.span((need - look.profile_n) / look.profile_per_s)} more at the present rate"
    return _wait(waits, Reason.PROFILE)


def _leaning(look: Look) -> str:
    plan = look.state.plan
    lean = lean_of(plan, rate_per_s=look.profile_per_s, sticky=look.state.sticky)
    return f"; {lean.because}" if lean.pairs or plan.lean_on == "pairs" else ""


def _unacknowledged(look: Look) -> Decision | None:
    segment = look.state.segment
    if not look.staged or segment is None or look.state.stage_acked_at is not None:
        return None
    waits = f"sidecars to acknowledge this stage, {words.span(_since(segment.opened_at, look.now))} so far"
    return _wait(waits, Reason.ACKNOWLEDGEMENT)


def _too_young(look: Look) -> Decision | None:
    state, evidence = look.state, look.evidence
    if not look.staged or evidence is None:
        return None
    if state.segment is not None and state.segment.scored is Scored.FAILURES:
        return _warm_up_over(look) or _keep(_warming_text(look), Reason.WARM_UP)
    young = _too_few_pairs(look, evidence) if state.phase is Phase.SHADOWING else _too_short(look, evidence)
    return (_out_of_time(look) or young) if young is not None else None


def _too_short(look: Look, evidence: Evidence) -> Decision | None:
    state = look.state
    need_s = state.plan.watch.for_s if state.phase is Phase.WATCHING else state.plan.stages[state.stage or 0].dwell_s
    lasted_s = _lasted_s(look, evidence)
    if lasted_s >= need_s:
        return None
    if evidence.stage_settled_s <= 0:
        return _wait("the first settled requests of this stage", Reason.TRAFFIC)
    word = "watched" if state.phase is Phase.WATCHING else "of this stage settled"
    return _keep(f"too early: {words.span(lasted_s)} of {words.span(need_s)} {word}", Reason.AGE)


def _lasted_s(look: Look, evidence: Evidence) -> float:
    """The span of the stage's settled starts, and at most the database's time since it was acknowledged.

    Starts are told by the sidecars' clocks: were one of them an hour ahead of another, the first minute would span an hour.
    """
    acked_at = look.state.stage_acked_at or look.now
    return min(evidence.stage_settled_s, max(0.0, _since(acked_at, look.now)))


def _too_few_pairs(look: Look, evidence: Evidence) -> Decision | None:
    need = look.state.plan.shadow.min_pairs
    if evidence.pairs >= need:
        return None
    if evidence.pairs == 0:
        return _wait(f"pairs 0/{need}: no copy has been answered and settled", Reason.TRAFFIC)
    return _keep(f"too early: {evidence.pairs:,} of {need:,} pairs settled", Reason.AGE)


def _gates_passed(look: Look) -> Decision | None:
    state, evidence = look.state, look.evidence
    if not look.staged or evidence is None:
        return None
    if state.phase is Phase.WATCHING:
        because = (
            f"finished: {state.candidate} stayed within its guardrails for {words.span(_lasted_s(look, evidence))} of watch"
        )
        return Decision(action=Action.FINISH, because=because, reason=Reason.GATES)
    gates = gates_of(state.phase, evidence, declared=look.declared)
    if not gates or not all(gate.cleared for gate in gates):
        return None
    proof = f"{len(gates)} of {len(gates)} gates passed, the last with {proof_of(weakest(gates))}"
    if state.phase is Phase.SHADOWING:
        proof = f"{evidence.pairs:,} pairs, {proof_of(weakest(gates))}"
        return _advance(state, f"out of the shadow: {proof}")
    if state.is_last_stage:
        return Decision(action=Action.PROMOTE, because=f"promoted {state.candidate}: {proof}", reason=Reason.GATES)
    return _advance(state, proof)


def _out_of_time(look: Look) -> Decision | None:
    state = look.state
    opened_at = state.stage_opened_at
    if not look.staged or state.phase is Phase.WATCHING or opened_at is None:
        return None
    since = max(opened_at, state.resumed_at or opened_at)
    if _since(since, look.now) < state.plan.max_duration_s:
        return None
    text = f"inconclusive: out of time after {words.span(state.plan.max_duration_s)}, {_missing_text(look)}"
    if state.plan.on_timeout == "roll_back":
        return Decision(action=Action.ROLL_BACK, because=f"rolled back, {text}", reason=Reason.INCONCLUSIVE)
    return Decision(action=Action.HOLD, because=f"held, {text}", reason=Reason.INCONCLUSIVE)


QUESTIONS: Final[tuple[Callable[[Look], Decision | None], ...]] = (
    _finished,
    _breached,
    _too_harmful,
    _paused,
    _abstaining,
    _stale,
    _silent,
    _sample_ratio_broken,
    _profile_short,
    _unacknowledged,
    _too_young,
    _gates_passed,
    _out_of_time,
)
"""The order is part of the promise: see the architecture page."""


def _short_of_proof(look: Look) -> Decision:
    return _keep(f"undecided: {_missing_text(look)}", Reason.GATES)


def _missing_text(look: Look) -> str:
    evidence = look.evidence
    if evidence is None:
        return "nothing is counted"
    if evidence.abstains:
        return f"the statistics abstain ({evidence.abstains})"
    gates = gates_of(look.state.phase, evidence, declared=look.declared)
    if not gates:
        return "no metric has a promote side that could pass, so a person moves it"
    missing = [gate for gate in gates if not gate.cleared]
    others = len(missing) - 1
    more = f" ({others} more of {len(gates)} gates still open)" if others > 0 else ""
    return f"{proof_of(weakest(missing or gates))}{more}{_forecast(gates, look.signs.past)}"


def _forecast(gates: tuple[MetricEvidence, ...], past: Past | None) -> str:
    eta_s = gates_eta_s(gates, past)
    if past is None or not is_told(past) or eta_s == 0:
        return ""
    growth = f"at the growth of the last {words.span(past.window_s)}"
    return f"; {growth} it is never proven" if eta_s is None else f"; about {words.span(eta_s)} more {growth}"


def _warm_up_over(look: Look) -> Decision | None:
    segment, acked_at = look.state.segment, look.state.stage_acked_at
    if not look.staged or segment is None or segment.scored is not Scored.FAILURES or acked_at is None:
        return None
    if _since(acked_at, look.now) < look.state.plan.warm_up_s:
        return None
    because = f"warm-up of {words.span(look.state.plan.warm_up_s)} is over: every metric counts from here"
    return Decision(action=Action.OPEN, because=because, reason=Reason.WARM_UP)


def _warming_text(look: Look) -> str:
    acked_at = look.state.stage_acked_at or look.now
    return f"warming up: {words.span(_since(acked_at, look.now))} of {words.span(look.state.plan.warm_up_s)}, only errors count"


def _advance(state: RolloutState, proof: str) -> Decision:
    following = state.plan.stages[(state.stage or 0) + 1] if state.phase is Phase.CANARYING else state.plan.stages[0]
    because = f"advanced to {words.weight(following.weight_bp)}: {proof}"
    return Decision(action=Action.ADVANCE, because=because, reason=Reason.GATES)


def _keep(because: str, reason: Reason) -> Decision:
    return Decision(action=Action.KEEP, because=because, reason=reason)


def _wait(waits: str, reason: Reason) -> Decision:
    return Decision(action=Action.KEEP, because=f"waiting: {waits}", waiting=waits, reason=reason)


def _since(then: datetime, now: datetime) -> float:
    return (now - then).total_seconds()
