"""Declared values of a pair, both versions beside each other, as people read them."""

from collections.abc import Mapping
from typing import Final, TypeAlias

from canary.rollout import words
from canary.terms import Frozen, Measures, MetricKind, MetricSpec

Facts: TypeAlias = Mapping[str, float | str | None]
"""Values by name as they are stored: a number, None where the answer had none, or a word for why it cannot be told."""

IN_SHORT: Final = 3
"""Values in one line."""

ABSENT: Final = "absent"
NOT_RECORDED: Final = "not recorded"
_WORDS: Final = {"unreadable": "unreadable", "not kept": "not kept (the body was not captured whole)"}


class DeclaredSide(Frozen, frozen=True, kw_only=True):
    """One version's value; `state` is `told`, `absent`, `unreadable`, `not kept` or `not recorded`."""

    state: str
    value: float | None = None  # as the answer said it; None unless it is told
    text: str


class Declared(Frozen, frozen=True, kw_only=True):
    """One declared metric of a pair. Without a kind: it was stored, and the route declares it no longer."""

    name: str
    kind: str = ""
    unit: str = ""
    live: DeclaredSide
    shadow: DeclaredSide


def declared(measures: Measures | None, live: Facts | None, shadow: Facts | None) -> tuple[Declared, ...]:
    """One row for each value stored on either side, in the order of the route's metrics; the rest behind, by name.

    None as facts: nothing was recorded of that side, as where the copy's worker died.
    """
    specs = {spec.name: spec for spec in measures.metrics} if measures is not None else {}
    stored = {*(live or ()), *(shadow or ())}
    names = [name for name in specs if name in stored] + sorted(stored - set(specs))
    return tuple(_row(name, specs.get(name), live, shadow) for name in names)


def in_short(rows: tuple[Declared, ...]) -> str:
    """Rows in one line, live then shadow: `score 8 / 7.5, cost 0.0042 USD / 0.004 USD and 2 more`; empty without rows."""
    told = ", ".join(f"{words.name_of(row.name)} {row.live.text} / {row.shadow.text}" for row in rows[:IN_SHORT])
    return f"{told} and {len(rows) - IN_SHORT} more" if len(rows) > IN_SHORT else told


def _row(name: str, spec: MetricSpec | None, live: Facts | None, shadow: Facts | None) -> Declared:
    return Declared(
        name=name,
        kind=spec.kind.value if spec is not None else "",
        unit=spec.unit if spec is not None else "",
        live=_side(name, spec, live),
        shadow=_side(name, spec, shadow),
    )


def _side(name: str, spec: MetricSpec | None, facts: Facts | None) -> DeclaredSide:
    if facts is None or name not in facts:
        return DeclaredSide(state=NOT_RECORDED, text=NOT_RECORDED)
    found = facts[name]
    if found is None:
        return DeclaredSide(state=ABSENT, text=ABSENT)
    if isinstance(found, str):
        return DeclaredSide(state=found, text=_WORDS.get(found, found))
    return DeclaredSide(state="told", value=float(found), text=_told(float(found), spec))


def _told(value: float, spec: MetricSpec | None) -> str:
    """Yes or no where that is what counts; a number that is neither 1 nor 0 stands beside what it counts as."""
    if spec is None or spec.kind is not MetricKind.RATE:
        return words.amount(value, spec.unit if spec is not None else "")
    if value in {0.0, 1.0}:
        return "yes" if value else "no"
    return f"{words.number(value)} (counts as {'yes' if value > 0 else 'bad'})"
