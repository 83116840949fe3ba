"""One look thought through: counts and evidence become alerts, harm, silence and a decision. The loop and a replay share it."""

import msgspec

from canary.rollout.decide import decide
from canary.rollout.harm import Harm
from canary.rollout.signs import alerted, signs_of
from canary.rollout.state import Before, Decision, RolloutState
from canary.stats.counts import Totals
from canary.stats.evidence import Evidence
from canary.terms import Frozen


class Considered(Frozen, frozen=True, kw_only=True):
    """What one look comes to."""

    evidence: Evidence | None  # with every alert
    harm: Harm | None
    decision: Decision


def considered(state: RolloutState, totals: Totals | None, evidence: Evidence | None, *, before: Before) -> Considered:
    """The decision at one look; a function of what a decision row stores alone."""
    evidence = alerted(state, totals, evidence, past=before.past)
    signs = signs_of(state, totals, evidence, past=before.past)
    decision = decide(state, evidence, before.now, profile_n=before.profile_n, profile_per_s=before.profile_per_s, signs=signs)
    return Considered(evidence=evidence, harm=signs.harm, decision=decision)


def seen_before(state: RolloutState, before: Before) -> RolloutState:
    """The rollout as a decision saw it: what is not kept of it never changes."""
    return msgspec.structs.replace(
        state,
        phase=before.phase,
        paused=before.paused,
        segments=state.segments[: before.segments],
        stage_acked_at=before.stage_acked_at,
        resumed_at=before.resumed_at,
        scoring=state.scoring if before.scored else None,
        waiting="",
        because="",
        ended_at=None,
    )
