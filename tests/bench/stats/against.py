"""Goals 3 and 4, read from the curves' own tables: against Kayenta's judge and Flagger's thresholds on the same streams."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from scipy.stats import binom

from tests.bench.stats.draws import PER_S
from tests.bench.stats.goals import Line
from tests.bench.stats.rules import ALONE, OURS

KAYENTA: Final = ("Kayenta, 10 s points", "Kayenta, 60 s points")
FLAGGER: Final = "Flagger, 1 failed check"
WEIGHTS: Final = ("5 %", "50 %")
FIRST_VERDICT: Final = 60 * PER_S
"""Requests by the end of the first minute, when Kayenta judges for the first time."""

Rows = Sequence[dict[str, Any]]


class Book:
    """The rows by world, schedule, metric and rule."""

    def __init__(self, rows: Rows) -> None:
        self._rows = {(row["world"], row["schedule"], row["metric"], row["rule"]): row for row in rows}

    def row(self, world: str, schedule: str, metric: str, rule: str) -> dict[str, Any] | None:
        """None where that was not run."""
        return self._rows.get((world, schedule, metric, rule))

    def worlds(self) -> list[tuple[str, str, str]]:
        """World, schedule and metric of every bad candidate at one weight."""
        found = dict.fromkeys((world, schedule, metric) for world, schedule, metric, _ in self._rows)
        return [key for key in found if key[1] in WEIGHTS and not key[0].startswith("equal")]


def _times(ours: float | None, theirs: Sequence[float | None]) -> tuple[float | None, str]:
    """How many times as long the soonest of the others takes; text where one of them never does."""
    reached = [value for value in theirs if value is not None]
    if ours is None:
        return None, "ours never" if reached else "neither"
    if not reached:
        return float("inf"), f"{ours:,.0f} against never"
    return min(reached) / ours, f"{min(reached) / ours:.1f}x ({ours:,.0f} against {min(reached):,.0f})"


def _least(world: str, schedule: str) -> float:
    """What goal 3 asks of an entry."""
    if schedule == "5 %" and world in {"errors .5 -> 2 %", "errors .5 -> 10 %", "outage"}:
        return 5.0
    return 10.0 if (world, schedule) == ("latency x1.25", "50 %") else 1.5


def kayenta(book: Book) -> Iterator[Line]:
    """Goal 3."""
    for world, schedule, metric in book.worlds():
        rows = {rule: book.row(world, schedule, metric, rule) for rule in (ALONE, OURS, *KAYENTA)}
        runs = (rows[ALONE] or {"runs": 0})["runs"]
        theirs = [(rows[rule] or {}).get("median") for rule in KAYENTA]
        for rule in (ALONE, OURS):
            value, found = _times((rows[rule] or {}).get("median"), theirs)
            least = _least(world, schedule)
            alone = rule == ALONE
            yield Line(
                goal="3 Kayenta",
                what=f"{world}, {schedule}, {rule}",
                found=found,
                bound=f"at least {least:g}x" if alone else "-",
                met=(value is not None and value >= least) or found == "neither" if alone else None,
                runs=runs,
                value=value if value is None or value < float("inf") else None,
            )
    yield from _outage(book, "3 Kayenta", KAYENTA)
    for schedule in (*WEIGHTS, "1-5-25-50 %"):
        ours, other = (book.row("equal", schedule, "family", rule) for rule in (OURS, KAYENTA[0]))
        if ours and other:
            share, theirs_share = ours["rolled_back"] / ours["runs"], other["rolled_back"] / other["runs"]
            found = f"{share:.3f} against {theirs_share:.3f}"
            what = f"false rollbacks of the family, {schedule}"
            met = share <= theirs_share + 0.03
            yield Line(goal="3 Kayenta", what=what, found=found, bound="at most Kayenta + .03", met=met, runs=ours["runs"])


def _outage(book: Book, goal: str, rivals: Sequence[str]) -> Iterator[Line]:
    """Medians of what clients got; that of a judge whose first verdict always decides is exact, without the noise of runs."""
    ours = book.row("outage", "5 %", "errors", OURS)
    rows = [row for rule in rivals if (row := book.row("outage", "5 %", "errors", rule))]
    if ours and rows:
        theirs = min(map(_failed_answers, rows))
        value = theirs / max(ours["served"], 1)
        seen = min(row["served"] for row in rows)
        found = f"{value:.1f}x ({ours['served']:.0f} against {theirs:.0f}; {seen:.0f} in these runs)"
        what = "failed answers served in an outage, 5 %, medians, canary, as shipped"
        yield Line(goal=goal, what=what, found=found, bound="at least 100x", met=value >= 100, runs=ours["runs"], value=value)


def _failed_answers(row: dict[str, Any]) -> float:
    """The median number of candidate requests, all of which fail, by the verdict."""
    always = row["rolled_back"] == row["runs"] and row["median"] == row["p90"] == FIRST_VERDICT
    return float(binom.median(FIRST_VERDICT, 0.05)) if always else float(row["served"])


def flagger(book: Book) -> Iterator[Line]:
    """Goal 4."""
    for world in ("errors .5 -> 2 %", "errors .5 -> 10 %", "outage"):
        theirs = book.row(world, "5 %", "errors", FLAGGER)
        for rule in (ALONE, OURS):
            ours = book.row(world, "5 %", "errors", rule)
            if ours and theirs:
                _, found = _times(ours["median"], [theirs["median"]])
                met = ours["median"] is not None and ours["median"] <= theirs["median"] if rule == ALONE else None
                bound = "the same or sooner" if rule == ALONE else "-"
                what = f"{world}, 5 %, {rule}, against one failed check"
                yield Line(goal="4 Flagger", what=what, found=found, bound=bound, met=met, runs=ours["runs"])
    theirs = book.row("equal", "5 %", "errors", FLAGGER)
    for rule in (ALONE, OURS):
        ours = book.row("equal", "5 %", "errors", rule)
        if ours and theirs:
            share, other = ours["rolled_back"] / ours["runs"], theirs["rolled_back"] / theirs["runs"]
            found = f"{share:.3f} against {other:.3f}"
            what = f"false rollbacks by errors, 5 %, {rule}"
            yield Line(
                goal="4 Flagger", what=what, found=found, bound="at most 1/15", met=15 * share <= other, runs=ours["runs"]
            )


def run(rows: Rows) -> list[dict[str, Any]]:
    """Both goals, as far as their worlds were run."""
    book = Book(rows)
    return [asdict(line) for line in (*kayenta(book), *flagger(book))]
