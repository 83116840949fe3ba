"""A decision turned into the next value of a rollout."""

import pytest

from canary.errors import IllegalTransition
from canary.rollout.apply import acknowledged, apply, stable_after
from canary.rollout.plan import Watch
from canary.rollout.state import Decision
from canary.rollout.traffic import traffic
from canary.terms import Action, Phase
from tests.support.rollouts import a_plan, a_state, at


def decided(action: Action, **fields: str) -> Decision:
    """A decision of that action."""
    return Decision(action=action, because=f"because of {action}", **fields)  # type: ignore[arg-type]


def test_an_advance_opens_its_segment_and_asks_for_a_new_acknowledgement() -> None:
    after = apply(a_state(Phase.SHADOWING), decided(Action.ADVANCE), at(50), segment_ids=(8,))
    assert (after.phase, after.revision, after.stage_acked_at) == (Phase.CANARYING, 4, None)
    assert after.because == "because of advance"
    assert [(s.id, s.weight_bp, s.opened_at) for s in after.segments] == [(7, 0, at(0)), (8, 500, at(50))]


def test_a_wrong_number_of_segment_ids_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        apply(a_state(Phase.SHADOWING), decided(Action.ADVANCE), at(50))
    with pytest.raises(ValueError, match="longer"):
        apply(a_state(Phase.SHADOWING), decided(Action.HOLD), at(50), segment_ids=(8,))


def test_an_illegal_move_is_refused() -> None:
    with pytest.raises(IllegalTransition):
        apply(a_state(Phase.SHADOWING), decided(Action.FINISH), at(50))


def test_hold_and_resume_set_the_flag_and_keep_the_acknowledgement() -> None:
    held = apply(a_state(Phase.CANARYING), decided(Action.HOLD), at(50))
    assert (held.paused, held.phase, held.stage_acked_at) == (True, Phase.CANARYING, at(1))
    resumed = apply(held, decided(Action.RESUME), at(60))
    assert (resumed.paused, resumed.resumed_at) == (False, at(60))


def test_a_move_by_hand_leaves_a_held_rollout_held() -> None:
    after = apply(a_state(Phase.SHADOWING, paused=True), decided(Action.ADVANCE), at(50), segment_ids=(8,))
    assert after.paused


def test_keep_changes_only_its_words() -> None:
    after = apply(a_state(Phase.CANARYING), decided(Action.KEEP, waiting="no evidence for 42 s"), at(50))
    assert (after.waiting, after.phase, after.segments) == (
        "no evidence for 42 s",
        Phase.CANARYING,
        a_state(Phase.CANARYING).segments,
    )


def test_a_move_clears_what_was_waited_for() -> None:
    assert apply(a_state(Phase.CANARYING, waiting="traffic"), decided(Action.HOLD), at(50)).waiting == ""


def test_rolling_back_ends_the_rollout_and_its_split() -> None:
    after = apply(a_state(Phase.CANARYING, paused=True), decided(Action.ROLL_BACK), at(50))
    assert (after.phase, after.ended_at, after.paused) == (Phase.ROLLED_BACK, at(50), False)
    assert traffic(after) is None


def test_the_stable_changes_only_where_the_rollout_is_done() -> None:
    watching = a_state(Phase.WATCHING)
    assert stable_after(watching, apply(watching, decided(Action.FINISH), at(50))) == "v2"
    assert stable_after(watching, apply(watching, decided(Action.ROLL_BACK), at(50))) is None
    canary = a_state(Phase.CANARYING, stage=1)
    assert stable_after(canary, apply(canary, decided(Action.PROMOTE), at(50), segment_ids=(8,))) is None


def test_a_promotion_without_a_watch_is_done_at_once() -> None:
    canary = a_state(Phase.CANARYING, stage=1, plan=a_plan(watch=Watch(for_s=0)))
    after = apply(canary, decided(Action.PROMOTE), at(50))
    assert (after.phase, stable_after(canary, after)) == (Phase.DONE, "v2")


def test_a_stage_is_acknowledged_when_the_slowest_sidecar_follows() -> None:
    state = a_state(Phase.CANARYING, stage_acked_at=None, plan_revision=9)
    assert acknowledged(state, [9, 8], at(5)) is state
    assert acknowledged(state, [], at(5)) is state
    after = acknowledged(state, [9, 12], at(5))
    assert (after.stage_acked_at, after.revision) == (at(5), 4)
    assert acknowledged(after, [20], at(9)) is after


def test_what_has_no_traffic_needs_no_acknowledgement() -> None:
    pending = a_state(Phase.PENDING)
    ended = a_state(Phase.DONE, stage=0, stage_acked_at=None)
    assert acknowledged(pending, [9], at(5)) is pending
    assert acknowledged(ended, [9], at(5)) is ended
