"""Goal 5: an equal candidate passes all guardrails soon; one exactly on a margin passes it in 5 % of runs at most."""

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

import numpy as np

from tests.bench.stats.bounds import mean_bound, promote_rate_bound, shifted_rate_bound
from tests.bench.stats.curves import Progress
from tests.bench.stats.draws import (
    EQUAL,
    ERRORS,
    METRICS,
    PRICE_SHARES,
    PRICES,
    Change,
    Floats,
    draw,
    fixed,
    latencies,
    losses,
    token_costs,
)
from tests.bench.stats.ours import GATES, LATENCIES, PROFILES, Engine, engine_of
from tests.bench.stats.rules import Case

WEIGHTS_BP: Final = (500, 2_500, 5_000)


def on_margin(gate: str, engine: Engine) -> Change:
    """The candidate whose metric is exactly as much worse as is still not called harmless."""
    if gate == "errors":
        margin = engine.shipped.scoring.spec.error
        return Change(name="on the margin", metric="errors", errors=margin.promote_rho * ERRORS + margin.promote_delta)
    if gate == "cost":
        return Change(name="on the margin", metric="cost", dearer=engine.margins("cost")[2].rho)
    if gate == "quality":
        return Change(name="on the margin", metric="quality", loss=engine.margins("quality")[2].delta)
    contrast = engine.shipped.scoring.contrasts[engine.shipped.index[f"{gate}.promote.1"]]
    return Change(name="on the margin", metric="latency", slower=contrast.candidate_us / contrast.stable_us)


def false_promotions(gate: str, weight_bp: int, runs: int, *, n: int, first_seed: int = 0, tell: bool = False) -> int:
    """In how many runs a guardrail ever opens to a candidate that lies on its margin."""
    progress = Progress(f"{gate} on its margin, {weight_bp / 100:g} %", runs, tell=tell)
    hits = 0
    for seed in range(first_seed, first_seed + runs):
        change = on_margin(gate, engine_of(seed))
        case = Case(run=draw(seed, fixed(weight_bp, n), change, metrics=(change.metric,)), seed=seed)
        hits += math.isfinite(case.promoted((gate,)))
        progress.step()
    return hits


@dataclass(kw_only=True)
class Promotions:
    """Requests until each guardrail, and all at once, stood open to an equal candidate."""

    weight_bp: int
    n: int
    gates: dict[str, list[float]] = field(default_factory=dict)

    def median(self, gate: str) -> float:
        """Infinite where fewer than half of the runs got there."""
        return float(np.median(self.gates[gate]))

    def p90(self, gate: str) -> float:
        """Nine tenths of the runs needed no more."""
        return float(np.quantile(self.gates[gate], 0.9, method="higher"))

    def mean(self, gate: str) -> float:
        """Of all runs; those that did not get there count as the run's length, which makes this a lower limit."""
        return float(np.minimum(self.gates[gate], self.n).mean())


def equal_promotions(weight_bp: int, runs: int, *, n: int, first_seed: int = 0, tell: bool = False) -> Promotions:
    """An equal candidate at one weight."""
    progress = Progress(f"promotion of an equal candidate, {weight_bp / 100:g} %", runs, tell=tell)
    found = Promotions(weight_bp=weight_bp, n=n, gates={gate: [] for gate in (*GATES, "all")})
    for seed in range(first_seed, first_seed + runs):
        case = Case(run=draw(seed, fixed(weight_bp, n), EQUAL, metrics=METRICS), seed=seed)
        for gate in GATES:
            found.gates[gate].append(case.promoted((gate,)))
        found.gates["all"].append(case.promoted(GATES))
        progress.step()
    return found


@lru_cache(maxsize=1)
def _sample() -> Floats:
    return latencies(np.random.default_rng(12), 1 << 20) * 1e6


def promotion_bound(gate: str, weight_bp: int) -> float:
    """What any test of level 5 % needs on average; of means, by their normal form and without classes."""
    weight = weight_bp / 1e4
    engine = engine_of(0)
    if gate == "errors":
        margin = engine.shipped.scoring.spec.error
        return promote_rate_bound(ERRORS, weight, rho=margin.promote_rho, delta=margin.promote_delta)
    if gate in LATENCIES:
        return float(np.mean([_latency_bound(gate, weight, engine_of(k)) for k in range(PROFILES)]))
    if gate == "cost":
        mean, sd = _cost_moments()
        rho = engine.margins("cost")[2].rho
        return mean_bound((rho - 1) * mean, sd, rho * sd, weight)
    sd = float(losses(np.random.default_rng(13), 1 << 18).std())
    return mean_bound(engine.margins("quality")[2].delta, sd, sd, weight)


def _latency_bound(gate: str, weight: float, engine: Engine) -> float:
    contrast = engine.shipped.scoring.contrasts[engine.shipped.index[f"{gate}.promote.1"]]
    candidate, stable = (float((_sample() > limit).mean()) for limit in (contrast.candidate_us, contrast.stable_us))
    return shifted_rate_bound(candidate, stable, weight)


def _cost_moments() -> tuple[float, float]:
    base, prices, shares = token_costs(), np.array(PRICES), np.array(PRICE_SHARES)
    mean = float(base.mean() * (prices * shares).sum())
    square = float((base**2).mean() * (prices**2 * shares).sum())
    return mean, math.sqrt(square - mean**2)


def latency_tail(times: float, share: float) -> Change:
    """Only the slowest answers take longer: the p50 and, where `share` is under 5 %, the p95 stay what they are."""
    return replace(EQUAL, name=f"slowest {share:.0%} x{times:g}", metric="latency", tail=times, tail_share=share)
