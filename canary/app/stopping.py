"""The order of a stop: workers drain, the courier reads to the journal's end, then the controller. Decisions only."""

from collections.abc import Collection
from enum import StrEnum
from typing import Final

from canary.terms import Frozen


class Role(StrEnum):
    """What a child process does."""

    WORKER = "worker"
    COURIER = "courier"
    CONTROLLER = "controller"


COURIER_S: Final = 10.0
CONTROLLER_S: Final = 5.0
_ORDER: Final = (Role.WORKER, Role.COURIER, Role.CONTROLLER)


class Step(Frozen, frozen=True, kw_only=True):
    """Where a stop stands: `ask` and `kill` are to be done now; a role of None means that no child is left."""

    role: Role | None
    deadline: float
    ask: bool = False
    kill: bool = False


def first_step(*, now: float, drain_s: float) -> Step:
    """The stop begins with the workers."""
    return Step(role=Role.WORKER, deadline=now + drain_s, ask=True)


def next_step(step: Step, *, now: float, living: Collection[Role]) -> Step:
    """What to do now: wait, kill what is late, or ask the next role."""
    if step.role is None:
        return step
    if step.role in living:
        return Step(role=step.role, deadline=step.deadline, kill=now >= step.deadline)
    for role in _ORDER[_ORDER.index(step.role) + 1 :]:
        if role in living:
            return Step(role=role, deadline=now + (COURIER_S if role is Role.COURIER else CONTROLLER_S), ask=True)
    return Step(role=None, deadline=now)
