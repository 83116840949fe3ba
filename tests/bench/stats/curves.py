"""Worlds times rules: false rollbacks of equal candidates, delays and outcomes of bad ones."""

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from tests.bench.stats.draws import EQUAL, METRICS, Change, Schedule, draw, fixed, ramp
from tests.bench.stats.ours import GATES
from tests.bench.stats.rules import OURS, Case, gates_of, rollbacks

N: Final = 100_000

CHANGES: Final = (
    Change(name="errors .5 -> 1 %", metric="errors", errors=0.01),
    Change(name="errors .5 -> 2 %", metric="errors", errors=0.02),
    Change(name="errors .5 -> 10 %", metric="errors", errors=0.1),
    Change(name="outage", metric="errors", errors=1.0),
    Change(name="latency x1.10", metric="latency", slower=1.10),
    Change(name="latency x1.25", metric="latency", slower=1.25),
    Change(name="latency x2", metric="latency", slower=2.0),
    Change(name="slowest tenth x1.25", metric="latency", tail=1.25),
    Change(name="slowest tenth x2", metric="latency", tail=2.0),
    Change(name="cost x1.05", metric="cost", dearer=1.05),
    Change(name="cost x1.20", metric="cost", dearer=1.20),
    Change(name="quality -1 pt", metric="quality", loss=0.01),
    Change(name="quality -3 pt", metric="quality", loss=0.03),
    Change(name="quality -10 pt", metric="quality", loss=0.10),
)
TOLERABLE: Final = ("latency x1.10", "cost x1.05", "quality -1 pt")
"""Within (or, for x1.10, exactly on) the default promote margin: to promote these is no mistake."""


EACH_S: Final = 60
"""Between two lines of progress where no terminal reads them."""


def schedules(n: int) -> tuple[Schedule, ...]:
    """5 %, 50 % and the ramp."""
    return fixed(500, n), fixed(5_000, n), ramp(n)


@dataclass(kw_only=True)
class Table:
    """What each rule did in each run of one world: requests until the rollback and failed answers served by then."""

    world: str
    schedule: str
    metric: str
    delays: dict[str, list[float]] = field(default_factory=dict)
    served: dict[str, list[int]] = field(default_factory=dict)
    promoted: list[float] = field(default_factory=list)  # ours alone: the others promote what they do not roll back

    def add(self, case: Case, delays: dict[str, float], promoted: float) -> None:
        """Takes in one run."""
        failed = np.concatenate([[0], np.cumsum(case.run.candidate & case.run.failed)])
        for rule, delay in delays.items():
            self.delays.setdefault(rule, []).append(delay)
            self.served.setdefault(rule, []).append(int(failed[int(min(delay, case.run.n))]))
        self.promoted.append(promoted)

    def row(self, rule: str) -> dict[str, Any]:
        """One rule's figures. Medians and tenths over all runs: infinite where fewer were rolled back; None in JSON."""
        delays = np.array(self.delays[rule])
        runs, back = len(delays), np.isfinite(delays)
        if rule == OURS:
            promoted = np.isfinite(self.promoted) & (np.array(self.promoted) < delays)
            back = back & ~promoted
        else:
            promoted = ~back
        return {
            "world": self.world,
            "schedule": self.schedule,
            "metric": self.metric,
            "rule": rule,
            "runs": runs,
            "rolled_back": int(back.sum()),
            "promoted": int(promoted.sum()),
            "undecided": runs - int(back.sum()) - int(promoted.sum()),
            "median": finite(np.median(delays)),
            "p90": finite(np.quantile(delays, 0.9, method="higher")),
            "served": float(np.median(self.served[rule])),
        }


def finite(value: float) -> float | None:
    """None in place of infinity and of what is no number."""
    return float(value) if math.isfinite(value) else None


class Progress:
    """Says on stderr how far it is: in one line that is written over and over on a terminal, else in a line now and then."""

    def __init__(self, label: str, total: int, *, tell: bool = True) -> None:
        self._label, self._total, self._done, self._since = label, total, 0, time.monotonic()
        self._tell = tell
        self._terminal = sys.stderr.isatty()
        self._told = -math.inf if self._terminal else self._since

    def step(self) -> None:
        """One more run is done."""
        self._done += 1
        now, last = time.monotonic(), self._done == self._total
        if not self._tell or not (last or now - self._told > (1 if self._terminal else EACH_S)):
            return
        self._told = now
        spent = now - self._since
        left = spent / self._done * (self._total - self._done)
        text = f"{self._label}: {self._done}/{self._total}, {spent:.0f} s, {left:.0f} s left"
        over = self._terminal and not last
        print(f"\r{text} " if self._terminal else text, end="" if over else "\n", file=sys.stderr, flush=True)


def changed(change: Change, schedule: Schedule, runs: int, *, first_seed: int = 0, tell: bool = True) -> Table:
    """A candidate that differs in one metric, judged by that metric alone."""
    table = Table(world=change.name, schedule=schedule.name, metric=change.metric)
    progress = Progress(f"{change.name}, {schedule.name}", runs, tell=tell)
    for seed in range(first_seed, first_seed + runs):
        case = Case(run=draw(seed, schedule, change, metrics=(change.metric,)), seed=seed)
        table.add(case, rollbacks(case, change.metric, curve=True), case.promoted(gates_of(change.metric)))
        progress.step()
    return table


def equal(schedule: Schedule, runs: int, *, drift: bool = False, first_seed: int = 0, tell: bool = True) -> list[Table]:
    """An equal candidate: a table for each metric, and one for the family, in which any metric rolls back."""
    name = "equal, drifting" if drift else "equal"
    tables = {metric: Table(world=name, schedule=schedule.name, metric=metric) for metric in (*METRICS, "family")}
    progress = Progress(f"{name}, {schedule.name}", runs, tell=tell)
    for seed in range(first_seed, first_seed + runs):
        case = Case(run=draw(seed, schedule, EQUAL, drift=drift), seed=seed)
        found = {metric: rollbacks(case, metric, curve=True) for metric in METRICS}
        for metric, delays in found.items():
            tables[metric].add(case, delays, case.promoted(gates_of(metric)))
        rules = {rule for delays in found.values() for rule in delays}
        family = {rule: min(delays.get(rule, math.inf) for delays in found.values()) for rule in sorted(rules)}
        tables["family"].add(case, family, case.promoted(GATES))
        progress.step()
    return list(tables.values())


def worlds(
    runs: int, equal_runs: int, *, n: int = N, only: Sequence[str] = ()
) -> Iterator[tuple[str, Callable[[], list[Table]]]]:
    """Every world by name; `only` keeps those whose name holds one of the words."""
    every: list[tuple[str, Callable[[], list[Table]]]] = []
    for schedule in schedules(n):
        every.append((f"equal {schedule.name}", lambda s=schedule: equal(s, equal_runs)))  # type: ignore[misc]
        for change in CHANGES:
            every.append((f"{change.name} {schedule.name}", lambda c=change, s=schedule: [changed(c, s, runs)]))  # type: ignore[misc]
    every.append(("equal drifting ramp", lambda: equal(ramp(n), equal_runs, drift=True)))
    return ((name, run) for name, run in every if not only or any(word in name for word in only))
