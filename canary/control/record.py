"""A decision as it is stored: under whose name, and what it was read from."""

from datetime import datetime
from typing import Final

from canary.control.identity import new_id
from canary.ports import Fence
from canary.rollout.state import Before, Decision, DecisionRow, RolloutState
from canary.stats.evidence import Evidence
from canary.stats.scoring import Scoring
from canary.terms import Frozen

CONTROLLER: Final = "controller"
"""The actor of every decision that no person ordered."""


class Mandate(Frozen, frozen=True, kw_only=True):
    """Under whose name, at which instant and behind which fence something is written."""

    actor: str
    at: datetime
    fence: Fence | None = None  # None: a person's order


class Basis(Frozen, frozen=True, kw_only=True):
    """What a decision was read from; stored with it."""

    evidence: Evidence | None = None
    read: bytes = b""
    before: Before | None = None
    scoring: Scoring | None = None  # what START freezes
    class_shares: tuple[float, ...] = ()  # of the profile, likewise


NO_BASIS: Final = Basis()


def row_of(after: RolloutState, decision: Decision, *, mandate: Mandate, basis: Basis = NO_BASIS) -> DecisionRow:
    """The decision as it is stored."""
    return DecisionRow(
        id=new_id(mandate.at),
        rollout=after.id,
        revision=after.revision,
        decision=decision,
        phase=after.phase,
        actor=mandate.actor,
        at=mandate.at,
        epoch=mandate.fence.epoch if mandate.fence is not None else 0,
        plan_hash=after.plan_hash,
        evidence=basis.evidence,
        read=basis.read,
        before=basis.before,
    )
