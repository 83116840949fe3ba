"""What a state means for traffic: the split that sidecars follow, and the segment that a move opens."""

from datetime import datetime

from canary.errors import IllegalTransition
from canary.rollout.plan import Plan
from canary.rollout.state import RolloutState, SegmentRef
from canary.rollout.transitions import next_phase
from canary.split.spec import Split
from canary.terms import Action, Frozen, Phase, Scored

SHADOW_STAGE = -1
"""Stage index of the shadow's segments; the watch has the number of the plan's stages."""


class SegmentNeed(Frozen, frozen=True, kw_only=True):
    """A segment that a move opens, before it has its id."""

    stage: int
    weight_bp: int
    shadow_bp: int
    scored: Scored

    def opened(self, segment: int, at: datetime) -> SegmentRef:
        """The segment under its id."""
        return SegmentRef(
            id=segment,
            stage=self.stage,
            weight_bp=self.weight_bp,
            shadow_bp=self.shadow_bp,
            scored=self.scored,
            opened_at=at,
        )


def traffic(state: RolloutState) -> Split | None:
    """How sidecars divide the route's traffic now; None while the rollout is pending and after its end.

    Under None no exchange belongs to the rollout, so no open frames are written; stable outcomes still feed the profile.
    """
    segment = state.segment
    if state.phase is Phase.PENDING or state.phase.is_final or segment is None:
        return None
    return Split(
        rollout=state.id,
        segment=segment.id,
        salt=state.salt,
        candidate=state.candidate,
        weight_bp=segment.weight_bp,
        shadow_bp=segment.shadow_bp,
    )


def moves_traffic(action: Action) -> bool:
    """True for actions after which sidecars need a new snapshot."""
    return action not in {Action.CREATE, Action.KEEP, Action.HOLD, Action.RESUME}


def segments_for(state: RolloutState, action: Action) -> tuple[SegmentNeed, ...]:
    """The segments that an action opens, in order: none where it keeps the split or ends the rollout.

    A stage with a warm-up opens a segment that is scored for failures only; OPEN replaces it with the stage's own segment,
    at the same weight. Raises IllegalTransition where the action is no move of this phase.
    """
    target = next_phase(state.phase, action, state.plan)
    if not moves_traffic(action) or target.is_final:
        return ()
    if action is Action.OPEN:
        present = state.segment
        assert present is not None, "OPEN is decided in a stage only"
        return (need_of(state.plan, present.stage, Scored.ALL),)
    return (need_of(state.plan, _stage_after(state, target), _first_scored(state)),)


def need_of(plan: Plan, stage: int, scored: Scored) -> SegmentNeed:
    """The segment of one stage of a plan."""
    weight_bp, shadow_bp = stage_split(plan, stage)
    return SegmentNeed(stage=stage, weight_bp=weight_bp, shadow_bp=shadow_bp, scored=scored)


def stage_split(plan: Plan, stage: int) -> tuple[int, int]:
    """Live weight and shadow share of a stage, in basis points.

    Copies go on during the canary, where pairs are evidence beside the live arms; during the watch the candidate serves
    nearly everyone and copies would double its load for nothing.
    """
    if stage == SHADOW_STAGE:
        return 0, plan.shadow.share_bp
    if stage >= len(plan.stages):
        return plan.watch_weight_bp, 0
    return plan.stages[stage].weight_bp, plan.shadow.share_bp


def _stage_after(state: RolloutState, target: Phase) -> int:
    if target is Phase.SHADOWING:
        return SHADOW_STAGE
    if target is Phase.WATCHING:
        return len(state.plan.stages)
    if state.stage is None:
        return 0
    if state.is_last_stage:
        raise IllegalTransition(f"stage {state.stage + 1} is the plan's last; the next move is '{Action.PROMOTE}'")
    return state.stage + 1


def _first_scored(state: RolloutState) -> Scored:
    return Scored.FAILURES if state.plan.warm_up_s > 0 else Scored.ALL
