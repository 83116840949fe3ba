"""The one door to a rollout's state: decisions of the controller and orders of people go through it alike."""

from collections.abc import Callable
from typing import Final, NamedTuple

from canary.control.books import Books
from canary.control.creating import Wish, create_rollout
from canary.control.record import NO_BASIS, Basis, Mandate, row_of
from canary.errors import Conflict, IllegalTransition, Refused, StaleRevision
from canary.rollout.apply import apply, stable_after
from canary.rollout.state import Decision, Reason, RolloutState
from canary.rollout.traffic import moves_traffic, segments_for
from canary.terms import Action, Phase

__all__ = ["ORDERS", "Wish", "create_rollout", "enact", "order", "promote_to_full"]

ORDERS: Final = (Action.HOLD, Action.RESUME, Action.ADVANCE, Action.PROMOTE, Action.FINISH, Action.ROLL_BACK, Action.CANCEL)
"""What people may order. ADVANCE and PROMOTE are one step on: the next stage, the promotion, or the end of the watch."""

_TRIES: Final = 5


async def enact(
    books: Books, state: RolloutState, *, decision: Decision, mandate: Mandate, basis: Basis = NO_BASIS
) -> RolloutState:
    """Applies a decision and saves state, decision row and (when done) the route's stable in one transaction.

    Raises IllegalTransition, StaleRevision or Deposed; nothing is written then.
    """
    ids = [await books.rollouts.next_segment() for _ in segments_for(state, decision.action)]
    after = apply(state, decision, mandate.at, segment_ids=ids, scoring=basis.scoring, class_shares=basis.class_shares)
    return await books.rollouts.save(
        state,
        after,
        row_of(after, decision, mandate=mandate, basis=basis),
        fence=mandate.fence,
        stable=stable_after(state, after),
        moves_traffic=moves_traffic(decision.action),
    )


async def order(
    books: Books, rollout: str, action: Action, *, actor: str, reason: str, expected_revision: int | None = None
) -> RolloutState:
    """Does what a person orders and returns the rollout after it.

    `expected_revision` is the one that the person saw: a move since then raises StaleRevision, a mere note does not.
    Raises NotFound, Refused (no such order, no reason), Conflict (already on hold) or IllegalTransition.
    """
    if action not in ORDERS:
        raise Refused(f"'{action}' cannot be ordered; possible: {', '.join(ORDERS)}")
    return await _give(books, rollout, _one_step(action), asked=_Asked(actor, reason, expected_revision))


async def promote_to_full(
    books: Books, rollout: str, *, actor: str, reason: str, expected_revision: int | None = None
) -> RolloutState:
    """Promotes at once, past the stages that are left; the plan's watch still guards. Raises as `order` does."""
    return await _give(books, rollout, _straight, asked=_Asked(actor, reason, expected_revision))


class _Asked(NamedTuple):
    actor: str
    reason: str
    expected_revision: int | None


async def _give(books: Books, rollout: str, step: Callable[[RolloutState], Action], *, asked: _Asked) -> RolloutState:
    if not asked.reason.strip():
        raise Refused("an order needs a reason: it stands in the record for those who ask later")
    for attempt in range(_TRIES):
        state = await books.rollouts.get(rollout)
        await _check_unmoved(books, state, asked.expected_revision)
        decision = _ordered(state, step(state), asked)
        mandate = Mandate(actor=asked.actor, at=books.clock.now())
        try:
            return await enact(books, state, decision=decision, mandate=mandate)
        except StaleRevision:
            # The controller noted something between our reading and our writing: the order still stands.
            if attempt == _TRIES - 1:
                raise
    raise AssertionError("unreachable")


async def _check_unmoved(books: Books, state: RolloutState, expected: int | None) -> None:
    if expected is None or expected == state.revision:
        return
    text = f"rollout {state.id} is at revision {state.revision}, the order expected {expected}"
    if expected > state.revision:
        raise StaleRevision(text, hint="it may have been read from another database")
    last = await books.rollouts.moved_since(state.id, expected)
    if last is not None:
        raise StaleRevision(f"{text}; since then {last.actor}: {last.because}", hint="look at it again, then order")


def _ordered(state: RolloutState, action: Action, asked: _Asked) -> Decision:
    if state.phase.is_final:
        raise IllegalTransition(f"rollout {state.id} is over: {state.because}")
    if state.phase is Phase.PENDING and action in {Action.ADVANCE, Action.PROMOTE}:
        raise IllegalTransition(
            f"rollout {state.id} has not begun, there is no step to go on to; it waits for {state.waiting or 'its first look'}",
            hint="until then it can be held, rolled back or cancelled",
        )
    if action is Action.HOLD and state.paused:
        raise Conflict(f"rollout {state.id} is on hold already: {state.because}")
    if action is Action.RESUME and not state.paused:
        raise Conflict(f"rollout {state.id} is not on hold")
    because = f"{_WORDS[action]} by {asked.actor}: {asked.reason.strip()}"
    return Decision(action=action, because=because, reason=Reason.ORDERED)


def _one_step(action: Action) -> Callable[[RolloutState], Action]:
    """The move that an order means in each phase."""

    def step(state: RolloutState) -> Action:
        if action not in {Action.ADVANCE, Action.PROMOTE}:
            return action
        if state.phase is Phase.WATCHING:
            return Action.FINISH
        if state.phase is Phase.CANARYING and state.is_last_stage:
            return Action.PROMOTE
        return Action.ADVANCE

    return step


def _straight(state: RolloutState) -> Action:
    return Action.FINISH if state.phase is Phase.WATCHING else Action.PROMOTE


_WORDS: Final = {
    Action.HOLD: "held",
    Action.RESUME: "resumed",
    Action.ADVANCE: "advanced",
    Action.PROMOTE: "promoted",
    Action.FINISH: "finished",
    Action.ROLL_BACK: "rolled back",
    Action.CANCEL: "cancelled",
}
