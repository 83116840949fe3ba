"""Little traffic: 6, 60 and 600 requests a minute, a day or until 100,000 requests; decided rightly, or honestly not yet."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from tests.bench.stats.curves import Progress, finite
from tests.bench.stats.draws import EQUAL, Change, draw, fixed
from tests.bench.stats.ours import LATENCIES
from tests.bench.stats.rules import OURS, Case, rollbacks

PER_MINUTE: Final = (6, 60, 600)
DAY_MIN: Final = 1_440
MOST: Final = 100_000
CHANGES: Final = (
    EQUAL,
    Change(name="errors .5 -> 2 %", metric="errors", errors=0.02),
    Change(name="errors .5 -> 10 %", metric="errors", errors=0.1),
    Change(name="outage", metric="errors", errors=1.0),
)
RIVALS: Final = (
    "Flagger, 5 failed checks",
    "Argo 99 %, 60 s, limit 3",
    "Argo 95 %, 5 min, limit 3",
    "Kayenta, 10 s points",
    "arbr, each 5 min",
    "t-test each 60 s",
)


def requests(per_minute: int) -> int:
    """Of one run."""
    return min(per_minute * DAY_MIN, MOST // per_minute * per_minute)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the runs of one rule ended; times in minutes, None where fewer than half were rolled back or promoted."""

    per_minute: int
    weight_bp: int
    world: str
    rule: str
    runs: int
    rolled_back: int
    promoted: int
    rolled_back_min: float | None
    promoted_min: float | None

    @property
    def undecided(self) -> int:
        """The rest."""
        return self.runs - self.rolled_back - self.promoted

    @property
    def wrong(self) -> int:
        """Equal candidates rolled back, others promoted."""
        return self.rolled_back if self.world == EQUAL.name else self.promoted


def outcomes(
    per_minute: int, weight_bp: int, change: Change, runs: int, *, rivals: bool = True, tell: bool = False
) -> list[Outcome]:
    """Errors and latency together, by our engine and by the rules of others. Those promote what they have not rolled back."""
    n, per_s, each = requests(per_minute), per_minute / 60, min(per_minute, 60)
    label = f"{change.name}, {per_minute} a minute, {weight_bp / 100:g} %"
    progress = Progress(label, runs, tell=tell)
    back: dict[str, list[float]] = {}
    promoted: list[float] = []
    for seed in range(runs):
        case = Case(
            run=draw(seed, fixed(weight_bp, n), change, metrics=("errors", "latency")), seed=seed, per_s=per_s, each=each
        )
        found = {OURS: min(case.shipped_breach("errors"), case.shipped_breach("latency"))}
        if rivals:
            both = rollbacks(case, "errors"), rollbacks(case, "latency")
            found |= {rule: min(delays.get(rule, math.inf) for delays in both) for rule in RIVALS}
        for rule, delay in found.items():
            back.setdefault(rule, []).append(delay)
        promoted.append(case.promoted(("errors", *LATENCIES)))
        progress.step()
    return [_outcome(rule, delays, promoted, (per_minute, weight_bp, change, n)) for rule, delays in back.items()]


def _outcome(rule: str, delays: list[float], promoted: list[float], where: tuple[int, int, Change, int]) -> Outcome:
    per_minute, weight_bp, change, n = where
    back = np.array(delays)
    up = np.array(promoted) if rule == OURS else np.full(len(back), float(n))
    first = np.minimum(back, up)
    is_back, is_up = np.isfinite(first) & (back <= up), np.isfinite(first) & (up < back)
    return Outcome(
        per_minute=per_minute,
        weight_bp=weight_bp,
        world=change.name,
        rule=rule,
        runs=len(back),
        rolled_back=int(is_back.sum()),
        promoted=int(is_up.sum()),
        rolled_back_min=finite(float(np.median(np.where(is_back, back, math.inf))) / per_minute),
        promoted_min=finite(float(np.median(np.where(is_up, up, math.inf))) / per_minute),
    )
