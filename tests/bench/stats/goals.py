"""The goals of the comparison engine as named simulations, each with its bound."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.bench.stats import few
from tests.bench.stats.bounds import lower, rate_bound, upper
from tests.bench.stats.crowds import Weights
from tests.bench.stats.curves import N, finite
from tests.bench.stats.delays import (
    HORIZON,
    OUTAGES,
    RISE,
    TENTH,
    error_delays,
    informed_delays,
    outage_seconds,
    regression_seconds,
)
from tests.bench.stats.draws import ERRORS, Floats, fixed, ramp
from tests.bench.stats.family import false_rollbacks, pooled_false_rollbacks, shares, sticky_false_rollbacks
from tests.bench.stats.kept import Kept
from tests.bench.stats.margins import WEIGHTS_BP, equal_promotions, false_promotions, promotion_bound
from tests.bench.stats.minima import doubled_p99, one_good_class
from tests.bench.stats.ours import GATES, MIN_EVENTS
from tests.bench.stats.pairs import CHANGES, pair_delay, strata_delays, unpaired_delay

ALPHA: Final = 0.05
FALSE_ALARMS: Final = "1 false rollbacks"
DELAYS: Final = "2 delays"
NEAR: Final = 0.9
SHORT: Final = 30_000
"""Requests within which errors of 20 times stable's are always seen."""
POOLED_RUNS: Final = 400
STICKY: Final[tuple[tuple[int, Weights], ...]] = ((5_000, (0.05,)), (5_000, (0.5,)), (800, (0.5,)), (5_000, (0.05, 0.25, 0.5)))
"""Users who stay on their arm, and the candidate's weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One promise, what was found of it, and whether it was kept. `met` is None where nothing was promised."""

    goal: str
    what: str
    found: str
    bound: str
    met: bool | None = None
    runs: int = 0  # 0: nothing was drawn
    value: float | None = None


def _share(goal: str, what: str, hits: int, runs: int) -> Line:
    """A share that must be at most 5 %: its upper 99 % limit is."""
    limit = upper(hits, runs)
    found = f"{hits / runs:.4f} (99 %: at most {limit:.4f})"
    return Line(goal=goal, what=what, found=found, bound="at most .05", met=limit <= ALPHA, runs=runs, value=hits / runs)


def _not_refuted(goal: str, what: str, hits: int, runs: int) -> Line:
    """A share that is 5 % by construction at worst: nothing above .05 and three standard errors."""
    limit = ALPHA + 3 * (ALPHA * (1 - ALPHA) / runs) ** 0.5
    bound = f"at most .05 + 3 s.e. = {limit:.3f}"
    return Line(
        goal=goal, what=what, found=f"{hits / runs:.4f}", bound=bound, met=hits / runs <= limit, runs=runs, value=hits / runs
    )


def _must_fail(goal: str, what: str, hits: int, runs: int) -> Line:
    """A tempting simplification that must break the promise, or the simulation could not tell."""
    found, bound = f"{hits / runs:.3f}", "must be above .05"
    return Line(goal=goal, what=what, found=found, bound=bound, met=lower(hits, runs) > ALPHA, runs=runs, value=hits / runs)


def _most(goal: str, what: str, value: float, bound: float, runs: int, form: str = "{:,.0f}") -> Line:
    """A figure that must not exceed a bound."""
    return Line(
        goal=goal,
        what=what,
        found=form.format(value),
        bound="at most " + form.format(bound),
        met=bool(value <= bound),
        runs=runs,
        value=finite(value),
    )


def false_alarms(runs: int) -> Iterator[Line]:
    """Goal 1, a coin for each request."""
    for schedule in (fixed(500, N), fixed(5_000, N), ramp(N)):
        yield _share(FALSE_ALARMS, f"family, {schedule.name}", false_rollbacks(schedule, runs, tell=True), runs)
    hits = false_rollbacks(ramp(N), runs, drift=True, tell=True)
    yield _share(FALSE_ALARMS, "family, 1-5-25-50 %, errors .2 -> 1.6 % with a wave in everything", hits, runs)
    few_runs = min(runs, POOLED_RUNS)
    hits = pooled_false_rollbacks(ramp(N), few_runs)
    yield _must_fail(FALSE_ALARMS, "errors alone, counts of that ramp pooled", hits, few_runs)


def sticky_false_alarms(runs: int, *, users: int, weights: Weights, keep: Path | None = None) -> Iterator[Line]:
    """Goal 1, a coin for each user, through the product's own totals and evidence. What a folder keeps is not run again."""
    kept = Kept(keep / f"{users}-users-{shares(weights)[:-1]}.json" if keep is not None else None)
    hits = sticky_false_rollbacks(runs, users=users, weights=weights, n=N, kept=kept)
    yield _share(FALSE_ALARMS, f"family, {users} users who stay, {shares(weights)}", hits, runs)


def sticky_coins(runs: int) -> Iterator[Line]:
    """The same requests, each counted as somebody else's."""
    runs = min(runs, POOLED_RUNS)
    hits = sticky_false_rollbacks(runs, users=800, weights=(0.5,), n=N, each_a_coin=True)
    yield _must_fail(FALSE_ALARMS, "family, 800 users who stay, 50%, as if each request had a coin", hits, runs)


def _mean(delays: Floats) -> float:
    """Requests, of all runs; one that is never rolled back counts as the horizon."""
    return float(np.minimum(delays, HORIZON).mean())


def _at_the_floor(what: str, weight_bp: int, *, rate: float, times: float, runs: int) -> Iterator[Line]:
    """Where three events alone come close to what is allowed: beside ours stands what the best of all bets could do with them.

    That is a question of hundredths, so it takes many runs.
    """
    bound = rate_bound(rate, ERRORS, weight_bp / 1e4)
    what = f"{what}, three events asked for"
    best = _mean(informed_delays(rate, weight_bp, runs, events=MIN_EVENTS, horizon=SHORT)) / bound
    ours = _mean(error_delays(rate, weight_bp, runs, horizon=SHORT)) / bound
    asked = _most(DELAYS, what, ours, times, runs, "{:.2f}")
    yield replace(asked, bound=f"{asked.bound} (both rates known: {best:.2f})")
    alone = MIN_EVENTS / (weight_bp / 1e4 * rate) / bound
    yield Line(goal=DELAYS, what=f"{what}, both rates known", found=f"{best:.2f}", bound="-", runs=runs, value=best)
    yield Line(goal=DELAYS, what=f"{what}, nothing else asked for", found=f"{alone:.2f}", bound="-", value=alone)


def delays(runs: int) -> Iterator[Line]:
    """Goal 2, in requests."""
    goal = DELAYS
    for weight_bp in WEIGHTS_BP:
        for rate, times in ((0.01, 1.5), (0.02, 1.5), (0.1, 1.8)):
            bound = rate_bound(rate, ERRORS, weight_bp / 1e4)
            what = f"errors .5 -> {rate:.0%}, {weight_bp / 100:g} %"
            mean = _mean(error_delays(rate, weight_bp, runs, events=0))
            yield _most(goal, f"{what}: mean / bound", mean / bound, times, runs, "{:.2f}")
            alone = MIN_EVENTS / (weight_bp / 1e4 * rate) / bound
            if alone > NEAR * times:
                yield from _at_the_floor(f"{what}: mean / bound", weight_bp, rate=rate, times=times, runs=50 * runs)
                continue
            mean = _mean(error_delays(rate, weight_bp, runs))
            yield _most(goal, f"{what}: mean / bound, three events asked for", mean / bound, times, runs, "{:.2f}")


def seconds(runs: int) -> Iterator[Line]:
    """Goal 2, in seconds through the whole product."""
    goal = DELAYS
    for (weight_bp, per_s), limit in OUTAGES.items():
        part = max(21, runs // 10)
        found = float(np.median(outage_seconds(weight_bp, per_s, part, tell=True)))
        yield _most(goal, f"outage, {weight_bp / 100:g} %, {per_s}/s: median seconds", found, limit, part)
        slow = float(np.median(outage_seconds(weight_bp, per_s, part, slow=True, tell=True)))
        what = f"outage where answers take seconds (timeout 60 s), {weight_bp / 100:g} %, {per_s}/s: median seconds"
        yield Line(goal=goal, what=what, found=f"{slow:,.0f}", bound="-", met=None, runs=part, value=finite(slow))
    part = max(21, runs // 10)
    found = np.median(regression_seconds(TENTH, part, tell=True))
    yield _most(goal, "errors .5 -> 10 %, 5 %, 10/s: median seconds", float(found), 120, part)
    found = np.median(regression_seconds(RISE, part, tell=True))
    yield _most(
        goal,
        "errors 2 -> 4.5 % within 1 s, 5 %, 60 candidate requests a minute: median minutes",
        found / 60,
        12,
        part,
        "{:.1f}",
    )


def promotion(runs: int) -> Iterator[Line]:
    """Goal 5, and the guardrails as minima."""
    goal = "5 promotion"
    lengths = {500: 3 * N, 2_500: 3 * N // 2, 5_000: N}
    for weight_bp in reversed(WEIGHTS_BP):
        part = runs if weight_bp == 5_000 else max(15, runs // 4)
        equal = equal_promotions(weight_bp, part, n=lengths[weight_bp], tell=True)
        weight = f"{weight_bp / 100:g} %"
        if weight_bp == 5_000:
            yield _most(goal, "equal candidate, all six guardrails, 50 %: median requests", equal.median("all"), 25_000, part)
            yield _most(goal, "equal candidate, all six guardrails, 50 %: 90 % of runs", equal.p90("all"), 40_000, part)
        else:
            found = f"{equal.median('all'):,.0f}"
            yield Line(
                goal=goal,
                what=f"equal candidate, all six guardrails, {weight}: median requests",
                found=found,
                bound="-",
                met=None,
                runs=part,
            )
        for gate in GATES:
            times = equal.mean(gate) / promotion_bound(gate, weight_bp)
            yield _most(goal, f"equal candidate, {gate}, {weight}: mean / bound", times, 1.4, part, "{:.2f}")
    for weight_bp in WEIGHTS_BP:
        for gate in GATES:
            hits = false_promotions(gate, weight_bp, runs, n=N // 2, tell=True)
            yield _not_refuted(goal, f"{gate} exactly on its margin, {weight_bp / 100:g} %: promoted", hits, runs)
    part = max(20, runs // 4)
    p99, classes = doubled_p99(part, n=N // 2), one_good_class(part, n=N // 2)
    yield _share(goal, "equal p50 and p95, doubled p99: promoted by the weakest", p99.weakest, part)
    yield _must_fail(goal, "equal p50 and p95, doubled p99: promoted by the average", p99.averaged, part)
    yield _share(goal, "one good class, three bad ones: promoted by the weakest", classes.weakest, part)
    yield _must_fail(goal, "one good class, three bad ones: promoted by the average", classes.averaged, part)


def samples(runs: int) -> Iterator[Line]:
    """Goals 6 and 7."""
    part = max(21, runs // 6)
    for change in CHANGES:
        paired = float(np.median([pair_delay(seed, change, 40_000) for seed in range(part)]))
        single = float(np.median([unpaired_delay(seed, change, N) for seed in range(part)]))
        what = f"{change.name}, correlation .9: pairs {paired:,.0f} against {single:,.0f} requests at 50 %"
        yield _most("6 pairs", what, paired / single, 1 / 3, part, "{:.2f}")
    for change in CHANGES[1:3]:
        for weight_bp in (500, 5_000):
            told, pooled = np.median([strata_delays(seed, change, weight_bp, 2 * N) for seed in range(part)], axis=0)
            what = f"{change.name}, {weight_bp / 100:g} %: {told:,.0f} with classes, {pooled:,.0f} without"
            yield _most("7 classes", what, told / pooled, 0.65, part, "{:.2f}")


def little_traffic(runs: int) -> Iterator[Line]:
    """6, 60 and 600 requests a minute."""
    part = max(10, runs // 10)
    for per_minute in few.PER_MINUTE:
        for change in few.CHANGES:
            (ours,) = few.outcomes(per_minute, 500, change, part, rivals=False, tell=True)
            what = f"{per_minute} a minute at 5 %, {change.name}: wrong decisions"
            after = ours.rolled_back_min or ours.promoted_min
            ends = f"{ours.rolled_back} rolled back, {ours.promoted} promoted, {ours.undecided} undecided"
            found = f"{ours.wrong} ({ends}{f'; median {after:,.1f} min' if after else ''})"
            met = lower(ours.wrong, part) <= ALPHA
            yield Line(goal="little traffic", what=what, found=found, bound="at most .05", met=met, runs=part)


GOALS: Final[dict[str, Callable[[int], Iterator[Line]]]] = {
    "goal 1 requests": false_alarms,
    **{
        f"goal 1 users {users} at {shares(weights)}": partial(sticky_false_alarms, users=users, weights=weights)
        for users, weights in STICKY
    },
    "goal 1 users as if each request had a coin": sticky_coins,
    "goal 2 requests": delays,
    "goal 2 seconds": seconds,
    "goal 5": promotion,
    "goals 6, 7": samples,
    "little traffic": little_traffic,
}


def run(runs: int, only: Sequence[str] = (), *, keep: Path | None = None) -> Iterator[dict[str, Any]]:
    """Every line of the goals whose name holds one of the words; `keep` is where the longest keep their runs."""
    for name, goal in GOALS.items():
        if not only or any(word in name for word in only):
            for line in goal(runs, keep=keep) if isinstance(goal, partial) else goal(runs):
                yield asdict(line)
