"""What a state means for traffic."""

import pytest

from canary.errors import IllegalTransition
from canary.rollout.plan import ShadowStage, Watch
from canary.rollout.traffic import moves_traffic, segments_for, traffic
from canary.terms import Action, Phase, Scored
from tests.support.rollouts import a_plan, a_state


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.DONE, Phase.ROLLED_BACK, Phase.CANCELLED])
def test_no_split_before_the_start_and_after_the_end(phase: Phase) -> None:
    assert traffic(a_state(phase, stage=None if phase is Phase.PENDING else 0)) is None


@pytest.mark.parametrize(
    ("phase", "stage", "weight_bp", "shadow_bp"),
    [
        (Phase.SHADOWING, -1, 0, 10_000),
        (Phase.CANARYING, 0, 500, 10_000),
        (Phase.CANARYING, 1, 5_000, 10_000),
        (Phase.WATCHING, 2, 9_500, 0),
    ],
)
def test_each_phase_has_its_split(phase: Phase, stage: int, weight_bp: int, shadow_bp: int) -> None:
    split = traffic(a_state(phase, stage=stage))
    assert split is not None
    assert (split.weight_bp, split.shadow_bp) == (weight_bp, shadow_bp)
    assert (split.rollout, split.segment, split.candidate) == ("r1", 7, "v2")


def test_a_hold_keeps_the_weight() -> None:
    split = traffic(a_state(Phase.CANARYING, stage=1, paused=True))
    assert split is not None
    assert split.weight_bp == 5_000


def test_starting_opens_the_shadow() -> None:
    (need,) = segments_for(a_state(Phase.PENDING), Action.START)
    assert (need.stage, need.weight_bp, need.shadow_bp, need.scored) == (-1, 0, 10_000, Scored.ALL)


def test_starting_without_a_shadow_opens_the_first_stage() -> None:
    plan = a_plan(shadow=ShadowStage(share_bp=0))
    (need,) = segments_for(a_state(Phase.PENDING, plan=plan), Action.START)
    assert (need.stage, need.weight_bp, need.shadow_bp) == (0, 500, 0)


def test_a_warm_up_opens_a_segment_for_failures_and_then_the_stages_own() -> None:
    plan = a_plan(warm_up_s=30.0)
    (first,) = segments_for(a_state(Phase.SHADOWING, plan=plan), Action.ADVANCE)
    assert (first.stage, first.weight_bp, first.scored) == (0, 500, Scored.FAILURES)
    (second,) = segments_for(a_state(Phase.CANARYING, plan=plan, scored=Scored.FAILURES), Action.OPEN)
    assert (second.stage, second.weight_bp, second.scored) == (0, 500, Scored.ALL)


def test_sticky_routes_warm_up_like_any_other() -> None:
    (need,) = segments_for(a_state(Phase.PENDING, plan=a_plan(warm_up_s=30.0), sticky=True), Action.START)
    assert need.scored is Scored.FAILURES


def test_promotion_opens_the_watch_with_its_holdback() -> None:
    (need,) = segments_for(a_state(Phase.CANARYING, stage=1), Action.PROMOTE)
    assert (need.stage, need.weight_bp, need.shadow_bp) == (2, 9_500, 0)


def test_promotion_without_a_watch_opens_nothing() -> None:
    state = a_state(Phase.CANARYING, stage=1, plan=a_plan(watch=Watch(for_s=0)))
    assert segments_for(state, Action.PROMOTE) == ()


@pytest.mark.parametrize("action", [Action.HOLD, Action.RESUME, Action.ROLL_BACK, Action.CANCEL, Action.KEEP])
def test_these_actions_open_no_segment(action: Action) -> None:
    assert segments_for(a_state(Phase.CANARYING), action) == ()


def test_there_is_no_stage_after_the_last() -> None:
    with pytest.raises(IllegalTransition, match="last; the next move is 'promote'"):
        segments_for(a_state(Phase.CANARYING, stage=1), Action.ADVANCE)


def test_only_moves_that_change_a_split_ask_for_a_new_snapshot() -> None:
    still = {action for action in Action if not moves_traffic(action)}
    assert still == {Action.CREATE, Action.KEEP, Action.HOLD, Action.RESUME}
