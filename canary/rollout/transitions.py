"""The table of moves: which action leads from which phase to which, and the diagram drawn from it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from canary.errors import IllegalTransition
from canary.rollout.plan import Plan
from canary.terms import Action, Phase

MOVES: Final[Mapping[tuple[Phase, Action], Phase]] = MappingProxyType(
    {
        (Phase.PENDING, Action.START): Phase.SHADOWING,
        (Phase.PENDING, Action.HOLD): Phase.PENDING,
        (Phase.PENDING, Action.RESUME): Phase.PENDING,
        (Phase.PENDING, Action.ROLL_BACK): Phase.ROLLED_BACK,
        (Phase.PENDING, Action.CANCEL): Phase.CANCELLED,
        (Phase.SHADOWING, Action.OPEN): Phase.SHADOWING,
        (Phase.SHADOWING, Action.HOLD): Phase.SHADOWING,
        (Phase.SHADOWING, Action.RESUME): Phase.SHADOWING,
        (Phase.SHADOWING, Action.ADVANCE): Phase.CANARYING,
        (Phase.SHADOWING, Action.PROMOTE): Phase.WATCHING,
        (Phase.SHADOWING, Action.ROLL_BACK): Phase.ROLLED_BACK,
        (Phase.SHADOWING, Action.CANCEL): Phase.CANCELLED,
        (Phase.CANARYING, Action.OPEN): Phase.CANARYING,
        (Phase.CANARYING, Action.HOLD): Phase.CANARYING,
        (Phase.CANARYING, Action.RESUME): Phase.CANARYING,
        (Phase.CANARYING, Action.ADVANCE): Phase.CANARYING,
        (Phase.CANARYING, Action.PROMOTE): Phase.WATCHING,
        (Phase.CANARYING, Action.ROLL_BACK): Phase.ROLLED_BACK,
        (Phase.CANARYING, Action.CANCEL): Phase.CANCELLED,
        (Phase.WATCHING, Action.OPEN): Phase.WATCHING,
        (Phase.WATCHING, Action.HOLD): Phase.WATCHING,
        (Phase.WATCHING, Action.RESUME): Phase.WATCHING,
        (Phase.WATCHING, Action.FINISH): Phase.DONE,
        (Phase.WATCHING, Action.ROLL_BACK): Phase.ROLLED_BACK,
        (Phase.WATCHING, Action.CANCEL): Phase.CANCELLED,
    }
)
"""KEEP moves nothing and stands in no row; CREATE makes the first value."""

PASSED_THROUGH: Final[Mapping[Phase, Phase]] = MappingProxyType({Phase.SHADOWING: Phase.CANARYING, Phase.WATCHING: Phase.DONE})
"""Where a move leads instead when the plan leaves its target out."""


def next_phase(phase: Phase, action: Action, plan: Plan) -> Phase:
    """The phase after an action under this plan; raises IllegalTransition where the table has no such move."""
    if action is Action.KEEP:
        return phase
    target = MOVES.get((phase, action))
    if target is None:
        possible = ", ".join(sorted(a.value for p, a in MOVES if p is phase)) or "nothing: it has ended"
        raise IllegalTransition(f"'{action}' is no move of a rollout that is {phase}; possible here: {possible}")
    if target is phase or _has(plan, target):
        return target
    return PASSED_THROUGH[target]


def _has(plan: Plan, phase: Phase) -> bool:
    if phase is Phase.SHADOWING:
        return plan.has_shadow
    if phase is Phase.WATCHING:
        return plan.has_watch
    return True


def diagram() -> str:
    """The table as a Mermaid state diagram; moves of a plan without shadow or watch are marked."""
    arrows: dict[tuple[Phase, Phase, str], list[str]] = {}
    for (phase, action), target in MOVES.items():
        arrows.setdefault((phase, target, ""), []).append(action.value)
        instead = PASSED_THROUGH.get(target)
        if instead is not None and target is not phase:
            without = "no shadow" if target is Phase.SHADOWING else "no watch"
            arrows.setdefault((phase, instead, f" ({without})"), []).append(action.value)
    lines = ["stateDiagram-v2", f"    [*] --> {Phase.PENDING}: {Action.CREATE}"]
    lines += [f"    {source} --> {target}: {', '.join(names)}{mark}" for (source, target, mark), names in arrows.items()]
    lines += [f"    {phase} --> [*]" for phase in Phase if phase.is_final]
    return "\n".join(lines) + "\n"
