"""A stored decision made again from what its row kept, and how the two differ."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from canary.rollout.considered import considered, seen_before
from canary.rollout.state import DecisionRow, RolloutState
from canary.rollout.weighing import weighed_again
from canary.terms import Frozen

TOLERANCE: Final = 1e-9
"""Of a log e, relative above 1: sums of logs differ in their last digits from machine to machine."""


class Replay(Frozen, frozen=True, kw_only=True):
    """What came of making a decision again."""

    decision: str
    replayed: bool  # False: the row holds nothing to make it from
    note: str = ""  # why not
    differences: tuple[str, ...] = ()
    action: str = ""
    because: str = ""

    @property
    def same(self) -> bool:
        """True where nothing differs; an order of a person is as it is."""
        return not self.differences


def replay(row: DecisionRow, state: RolloutState) -> Replay:
    """Makes a row's decision again under the rollout's frozen plan and scoring, and compares. `state` is any later state."""
    before = row.before
    if before is None:
        return Replay(
            decision=row.id, replayed=False, note=_note(row), action=row.decision.action, because=row.decision.because
        )
    then = seen_before(state, before)
    if row.plan_hash != then.plan.hash:
        return _broken(row, f"plan: the row was decided under {row.plan_hash}, the rollout keeps {then.plan.hash}")
    try:
        found = weighed_again(row.read, then, newest_tick_age_s=before.newest_tick_age_s)
    except (ValueError, msgspec.DecodeError) as error:
        return _broken(row, f"read: what was counted cannot be read: {error}")
    again = considered(then, found.totals, found.evidence, before=before)
    differences = [*_differing("evidence", row.evidence, again.evidence), *_differing("decision", row.decision, again.decision)]
    return Replay(
        decision=row.id,
        replayed=True,
        differences=tuple(differences),
        action=again.decision.action,
        because=again.decision.because,
    )


def _note(row: DecisionRow) -> str:
    if row.evidence is None and not row.totals:
        return f"ordered by {row.actor}: nothing was weighed, so there is nothing to make again"
    return "stored before decisions kept all that they read: it cannot be made again"


def _broken(row: DecisionRow, difference: str) -> Replay:
    return Replay(decision=row.id, replayed=True, differences=(difference,))


def _differing(place: str, stored: Any, again: Any) -> Iterable[str]:
    """Where two values differ, by path: floats beyond the tolerance, everything else at all."""
    if isinstance(stored, msgspec.Struct) and type(stored) is type(again):
        for name in stored.__struct_fields__:
            yield from _differing(f"{place}.{name}", getattr(stored, name), getattr(again, name))
    elif isinstance(stored, tuple) and isinstance(again, tuple) and len(stored) == len(again):
        for found, one, other in zip(_places(stored), stored, again, strict=True):
            yield from _differing(f"{place}[{found}]", one, other)
    elif not _same(stored, again):
        yield f"{place}: stored {_shown(stored)}, made again {_shown(again)}"


def _places(values: Sequence[Any]) -> list[str]:
    """Metrics and classes by their names, anything else by its number."""
    return [str(getattr(value, "metric", None) or getattr(value, "name", None) or at) for at, value in enumerate(values)]


def _same(stored: Any, again: Any) -> bool:
    if isinstance(stored, float) and isinstance(again, float):
        return math.isclose(stored, again, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(stored == again)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} of them"
    text = f"{value!r}" if isinstance(value, float) else str(value)
    return text if len(text) <= 200 else f"{text[:199]}…"
