"""Goals 6 and 7: what pairs of the same request, and strata of the same class, save."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np
from scipy.special import ndtr

from canary.stats.bets import mixed
from canary.stats.contrast import Contrast, Rule
from canary.stats.family import factors_of, family_of
from canary.stats.freezing import freeze
from canary.stats.frozen import Scoring
from canary.stats.means import Margin, MeanMetric, combined, pair_grid
from canary.stats.means import log_factors as mean_factors
from tests.bench.stats.draws import (
    PRICE_SHARES,
    PRICES,
    Bools,
    Change,
    Floats,
    draw,
    fixed,
    latencies,
    losses,
    mean_loss,
    token_costs,
)
from tests.bench.stats.ours import ALPHA, STRICT, engine_of, profile, spec
from tests.bench.stats.rules import Case, Crossing
from tests.support.values import bins_of

CORRELATION: Final = 0.9
LOOK: Final = 10
"""Pairs between two looks."""

CHANGES: Final = (
    Change(name="latency x1.25", metric="latency", slower=1.25),
    Change(name="cost x1.05", metric="cost", dearer=1.05),
    Change(name="cost x1.20", metric="cost", dearer=1.20),
    Change(name="quality -1 pt", metric="quality", loss=0.01),
    Change(name="quality -3 pt", metric="quality", loss=0.03),
)


@lru_cache(maxsize=3)
def _quantiles(metric: str) -> Floats:
    """Sorted draws of one metric: what turns a uniform number into a value."""
    rng = np.random.default_rng(31)
    n = 1 << 17
    if metric == "latency":
        return np.sort(np.minimum(latencies(rng, n), 59) * 1e6)
    if metric == "quality":
        return np.sort(losses(rng, n))
    price = np.array(PRICES)[np.searchsorted(np.cumsum(PRICE_SHARES)[:-1], rng.random(n))]
    return np.sort(rng.choice(token_costs(), n) * price)


def couple(seed: int, change: Change, n: int, *, correlation: float = CORRELATION) -> tuple[Floats, Floats]:
    """Candidate's and stable's value of each pair, by a normal copula."""
    rng = np.random.default_rng([32, seed])
    stable = rng.standard_normal(n)
    candidate = correlation * stable + math.sqrt(1 - correlation**2) * rng.standard_normal(n)
    values = _quantiles(change.metric)
    mine, theirs = (values[(ndtr(z) * len(values)).astype(np.int64)] for z in (candidate, stable))
    mine = mine * (change.slower if change.metric == "latency" else change.dearer)
    worthless = change.loss / (1 - mean_loss())
    return np.where(rng.random(n) < worthless, 1.0, mine) if change.loss else mine, theirs


def pair_delay(seed: int, change: Change, n: int, *, correlation: float = CORRELATION) -> float:
    """Pairs until the metric alone, with nothing tolerated, stops the shadow."""
    mine, theirs = couple(seed, change, n, correlation=correlation)
    path = _latency_path(mine, theirs, seed) if change.metric == "latency" else _mean_path(mine, theirs, change.metric, seed)
    reached = path >= -math.log(ALPHA)
    return float((reached.argmax() + 1) * LOOK) if reached.any() else math.inf


def _sums(values: Bools) -> Floats:
    """Cumulative counts at each look."""
    whole = len(values) // LOOK * LOOK
    return np.asarray(values[:whole].reshape(-1, LOOK).sum(axis=1).cumsum(), dtype=np.float64)


@lru_cache(maxsize=8)
def shadow_scoring(seed: int) -> Scoring:
    """A rollout that has only a shadow."""
    return freeze(profile(seed), spec(**STRICT, stage_factors=(), shadow_lane_weight=1.0))


def _latency_path(mine: Floats, theirs: Floats, seed: int) -> Floats:
    scoring = shadow_scoring(seed % 8)
    slow = [k for k, contrast in enumerate(scoring.contrasts) if contrast.pairs and contrast.rule in {Rule.SLOW, Rule.LATER}]
    log_e = [_contrast_path(scoring, k, mine, theirs) for k in slow]
    return mixed(np.full(len(log_e), -math.log(len(log_e))), np.stack(log_e, axis=1))


def _contrast_path(scoring: Scoring, place: int, mine: Floats, theirs: Floats) -> Floats:
    contrast: Contrast = scoring.contrasts[place]
    if contrast.rule is Rule.LATER:
        candidate, stable = mine > scoring.pair_later * theirs, mine < scoring.pair_later * theirs
    else:
        candidate, stable = mine > contrast.candidate_us, theirs > contrast.stable_us
    cells = [candidate & stable, candidate & ~stable, ~candidate & stable, ~candidate & ~stable]
    counts = np.stack([_sums(cell) for cell in cells], axis=1)
    return mixed(family_of(scoring).log_prior[place, 0], counts @ factors_of(scoring, 0)[0][place, :, 0].T)


def _mean_path(mine: Floats, theirs: Floats, kind: str, seed: int) -> Floats:
    engine = engine_of(seed)
    metric: MeanMetric = (engine.cost if kind == "cost" else engine.quality).metric
    margin = Margin(name=f"{kind}.pairs", pairs=True)
    grid, cap = pair_grid(metric, margin), metric.grid.cap
    difference = np.clip(np.minimum(mine, cap) - np.minimum(theirs, cap), grid.points[0], grid.cap)
    bins = bins_of(grid, difference, np.random.default_rng([33, seed]))
    place = np.arange(len(bins)) // LOOK
    size = len(bins) // LOOK
    counts = np.bincount(place * grid.width + bins, minlength=size * grid.width).reshape(size, grid.width).cumsum(axis=0)
    factors = mean_factors(metric, margin, 0)
    return combined(metric, margin, counts @ factors.reshape(-1, factors.shape[2] * factors.shape[3]).T)


def unpaired_delay(seed: int, change: Change, n: int) -> float:
    """Requests of a canary at 50 % until the same metric alone rolls back the same candidate; costs without classes."""
    run = draw(seed, fixed(5_000, n), change, metrics=(change.metric,))
    case = Case(run=run, seed=seed)
    return _without_classes(case) if change.metric == "cost" else case.alone(change.metric)


def _without_classes(case: Case) -> float:
    path = case.engine.cost.combine(case.engine.margins("cost")[1])(case.cost[1])
    return Crossing(looks=case.looks, reached=path >= -math.log(ALPHA)).first


def strata_delays(seed: int, change: Change, weight_bp: int, n: int) -> tuple[float, float]:
    """Requests until a dearer candidate is seen with classes told apart, and without."""
    case = Case(run=draw(seed, fixed(weight_bp, n), change, metrics=("cost",)), seed=seed)
    return case.alone("cost"), _without_classes(case)


def medians(delay: Callable[[int], float], runs: int) -> float:
    """Median over seeds 0, 1, ..."""
    return float(np.median([delay(seed) for seed in range(runs)]))
