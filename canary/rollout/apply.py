"""A decision turned into the rollout's next value."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from canary.rollout.state import Decision, RolloutState
from canary.rollout.traffic import moves_traffic, segments_for
from canary.rollout.transitions import next_phase
from canary.stats.scoring import Scoring
from canary.terms import Action, Phase


def apply(
    state: RolloutState,
    decision: Decision,
    now: datetime,
    *,
    segment_ids: Sequence[int] = (),
    scoring: Scoring | None = None,
    class_shares: tuple[float, ...] = (),
) -> RolloutState:
    """The rollout after a decision, one revision on.

    `segment_ids` holds one id for each of `segments_for(state, decision.action)`. `scoring` is what START froze and
    `class_shares` how its profile's requests fell into task classes; all other actions leave both as they are. Raises
    IllegalTransition for a move that the table does not have and ValueError for a wrong number of ids.
    """
    action = decision.action
    needs = segments_for(state, action)
    opened = tuple(need.opened(segment, now) for need, segment in zip(needs, segment_ids, strict=True))
    phase = next_phase(state.phase, action, state.plan)
    moved = action is not Action.KEEP
    return msgspec.structs.replace(
        state,
        phase=phase,
        revision=state.revision + 1,
        paused=_paused(state, action, phase),
        resumed_at=now if action is Action.RESUME else state.resumed_at,
        waiting=decision.waiting,
        because=decision.because,
        segments=state.segments + opened,
        stage_acked_at=None if moves_traffic(action) else state.stage_acked_at,
        scoring=scoring if action is Action.START else state.scoring,
        class_shares=class_shares if action is Action.START else state.class_shares,
        ended_at=now if phase.is_final and moved else state.ended_at,
        trouble=None if phase.is_final else state.trouble,  # nobody looks at it any more
    )


def stable_after(before: RolloutState, after: RolloutState) -> str | None:
    """The version that the route's stable becomes with this move, or None where it stays."""
    return before.candidate if after.phase is Phase.DONE and before.phase is not Phase.DONE else None


def acknowledged(state: RolloutState, plan_revisions: Sequence[int], now: datetime) -> RolloutState:
    """The state with the acknowledgement of its present stage, or the same state where that is not complete.

    `plan_revisions` are those in force at the sidecars seen lately. No sidecar at all is no acknowledgement.
    """
    if state.stage_acked_at is not None or state.segment is None or state.phase.is_final:
        return state
    if not plan_revisions or min(plan_revisions) < state.plan_revision:
        return state
    return msgspec.structs.replace(state, stage_acked_at=now, revision=state.revision + 1)


def _paused(state: RolloutState, action: Action, phase: Phase) -> bool:
    if action is Action.HOLD:
        return True
    if action is Action.RESUME or phase.is_final:
        return False
    return state.paused  # a move by hand leaves the rollout in the person's hands
