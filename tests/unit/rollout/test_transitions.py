"""The table of moves."""

import pytest

from canary.errors import IllegalTransition
from canary.rollout.plan import ShadowStage, Watch
from canary.rollout.transitions import MOVES, diagram, next_phase
from canary.terms import Action, Phase
from tests.support.rollouts import a_plan

NO_SHADOW = a_plan(shadow=ShadowStage(share_bp=0))
NO_WATCH = a_plan(watch=Watch(for_s=0))


def test_the_usual_way_leads_through_every_phase() -> None:
    plan = a_plan()
    assert next_phase(Phase.PENDING, Action.START, plan) is Phase.SHADOWING
    assert next_phase(Phase.SHADOWING, Action.ADVANCE, plan) is Phase.CANARYING
    assert next_phase(Phase.CANARYING, Action.PROMOTE, plan) is Phase.WATCHING
    assert next_phase(Phase.WATCHING, Action.FINISH, plan) is Phase.DONE


def test_a_plan_without_shadow_starts_with_live_traffic() -> None:
    assert next_phase(Phase.PENDING, Action.START, NO_SHADOW) is Phase.CANARYING


def test_a_plan_without_a_watch_is_done_when_promoted() -> None:
    assert next_phase(Phase.CANARYING, Action.PROMOTE, NO_WATCH) is Phase.DONE


@pytest.mark.parametrize("phase", [p for p in Phase if not p.is_final])
def test_every_open_phase_has_a_way_back(phase: Phase) -> None:
    assert next_phase(phase, Action.ROLL_BACK, a_plan()) is Phase.ROLLED_BACK
    assert next_phase(phase, Action.CANCEL, a_plan()) is Phase.CANCELLED


@pytest.mark.parametrize("phase", [p for p in Phase if p.is_final])
@pytest.mark.parametrize("action", [a for a in Action if a is not Action.KEEP])
def test_nothing_leads_out_of_an_end(phase: Phase, action: Action) -> None:
    with pytest.raises(IllegalTransition, match="it has ended"):
        next_phase(phase, action, a_plan())


def test_an_illegal_move_names_the_legal_ones() -> None:
    with pytest.raises(
        IllegalTransition, match=r"'finish' is no move of a rollout that is pending; possible here: cancel, hold"
    ):
        next_phase(Phase.PENDING, Action.FINISH, a_plan())


@pytest.mark.parametrize("phase", list(Phase))
def test_keep_keeps_every_phase(phase: Phase) -> None:
    assert next_phase(phase, Action.KEEP, a_plan()) is phase


def test_the_diagram_holds_every_move_and_no_other() -> None:
    drawn = set()
    for line in diagram().splitlines()[1:]:
        ends, _, names = line.strip().partition(": ")
        source, _, target = ends.partition(" --> ")
        if "[*]" not in ends and "(" not in names:
            drawn |= {(Phase(source), Action(name), Phase(target)) for name in names.split(", ")}
    assert drawn == {(phase, action, target) for (phase, action), target in MOVES.items()}


def test_the_diagram_shows_where_a_plan_passes_through() -> None:
    assert "pending --> canarying: start (no shadow)" in diagram()
    assert "canarying --> done: promote (no watch)" in diagram()
    assert "shadowing --> done: promote (no watch)" in diagram()
