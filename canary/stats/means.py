"""Bets on means: cost, quality loss and the like, counted on a grid, by stratum, in the canary and over pairs.

With the coin P(candidate | past) = w the score is

    h = (1 - w) * (y - c) for the candidate, h = -w * (m(y) - c) for stable, with m(y) = rho * y + delta

and for a pair h = yC - m(yS). The factors 1 + bet * h (rollback) and 1 - bet * h (promote) have mean at most 1 under their
nulls, whatever stable does. c is the profile's mean of the stratum: it cancels, and moves power alone.

On the promote side m(y) is min(rho * y, cap) + delta, so that cutting values at the cap cannot help the candidate, and
where the cap is no bound of the values themselves it is at most the cap as a whole.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from canary.stats.bets import CLIP, even, largest_bet, mixed
from canary.stats.contrast import Vector
from canary.stats.grid import Grid, Known, Reading, Refused, Unknown, bin_of, rounding_number
from canary.stats.kelly import LADDER, kelly
from canary.stats.mean_metric import Effect, Margin, MeanMetric
from canary.terms import BUCKETS, Frozen

__all__ = [
    "BINARY_PAIR_WIDTH",
    "COST_EFFECTS",
    "QUALITY_EFFECTS",
    "RATE_GRID",
    "Counts",
    "Effect",
    "Margin",
    "MeanCounts",
    "MeanMetric",
    "bets",
    "binary_pair_bin",
    "canary_bin",
    "combined",
    "components",
    "log_e",
    "log_factors",
    "over_cap",
    "pair_bin",
    "pair_grid",
    "pair_width",
    "parts",
    "pool_count",
    "promote_effects",
    "refused",
    "scores",
    "size_of",
    "strata_mixed",
    "tolerated",
    "trial",
]

Counts = npt.NDArray[np.int64]

POOLED_SHARE: Final = 0.5
"""Of the rollback side's e-value; the other half is spread over the strata, to see damage in one class."""


COST_EFFECTS: Final = tuple(Effect(times=times) for times in (1.05, 1.10, 1.25, 1.6, 3.0))
QUALITY_EFFECTS: Final = tuple(Effect(worst=share) for share in (0.01, 0.02, 0.05, 0.15, 0.5))


RATE_GRID: Final = Grid(points=(0.0, 1.0))
"""Of values that are 0 or 1."""

BINARY_PAIR_WIDTH: Final = 6
"""Both 1, only the candidate's, only stable's, neither, unknown, refused: one count serves every margin."""


class MeanCounts(Frozen, frozen=True, kw_only=True):
    """One segment's settled counts: [strata, candidate's bins then stable's] in the canary, [strata, bins] over pairs."""

    segment: int
    weight_bp: int
    counts: tuple[tuple[int, ...], ...]


def promote_effects(metric: MeanMetric, *, rho: float, delta: float) -> tuple[Effect, ...]:
    """No effect and half the margin: what is better passes by the first. Bounded metrics get worst values, others a factor."""
    mean = metric.mean()
    half_way = ((rho - 1) * mean + delta) / 2
    if metric.bounded:
        middle = Effect(worst=min(1.0, half_way / (metric.grid.cap - mean)) if mean < metric.grid.cap else 0.0)
    else:
        middle = Effect(times=1 + half_way / mean if mean else 1.0)
    return Effect(), middle


def tolerated(metric: MeanMetric, margin: Margin, y: Vector, *, linear: bool = False) -> Vector:
    """m(y): what the candidate's mean may be where stable's value is y; `linear` leaves out the cut of the promote side.

    Nothing is cut of values that are 0 or 1: there a cut would only ask for more than the margin says.
    """
    if linear or metric.binary or not margin.promote:
        return margin.rho * y + margin.delta
    cut: Vector = np.minimum(margin.rho * y, metric.grid.cap) + margin.delta
    return cut if metric.bounded else np.minimum(cut, metric.grid.cap)


def _least(metric: MeanMetric, margin: Margin, y: float) -> float:
    """`tolerated` of one value of a metric that is not binary."""
    if not margin.promote:
        return margin.rho * y + margin.delta
    cut = min(margin.rho * y, metric.grid.cap) + margin.delta
    return cut if metric.bounded else min(cut, metric.grid.cap)


@lru_cache(maxsize=256)
def pair_grid(metric: MeanMetric, margin: Margin) -> Grid:
    """The metric's grid stretched over both signs of yC - m(yS)."""
    points = np.array(metric.grid.points)
    cap = metric.grid.cap
    edges = tolerated(metric, margin, np.array([0.0, cap]))
    low, high = float(edges[1]), cap - float(edges[0])
    if low <= 0 or high <= 0:
        raise ValueError(f"{margin.name}: the margin leaves nothing to find out on 0..{cap:g}")
    return Grid(points=tuple(float(point) for point in [*(-points[:0:-1] / cap * low), 0.0, *(points[1:] / cap * high)]))


def canary_bin(metric: MeanMetric, reading: Reading, exchange_id: bytes) -> int:
    """The bin of one answer in its arm's half."""
    if metric.binary:
        return bin_of(metric.grid, reading, 0)  # nothing is rounded
    return bin_of(metric.grid, reading, rounding_number(exchange_id, metric.name))


def pair_width(metric: MeanMetric, margin: Margin) -> int:
    """Bins of a pair: the last two are unknown and refused."""
    return BINARY_PAIR_WIDTH if metric.binary else pair_grid(metric, margin).width


def binary_pair_bin(candidate: Reading, stable: Reading) -> int:
    """The bin of a pair of values that are 0 or 1, the same under every margin: both 1, the candidate's, stable's, neither."""
    match candidate, stable:
        case (Refused(), _) | (_, Refused()):
            return BINARY_PAIR_WIDTH - 1
        case Known(value=mine), Known(value=theirs):
            return (0 if mine else 2) + (0 if theirs else 1)
        case _:
            return BINARY_PAIR_WIDTH - 2


def pair_bin(metric: MeanMetric, margin: Margin, candidate: Reading, stable: Reading, *, exchange_id: bytes) -> int:
    """The bin of one pair under one margin: both values are cut to the cap, then the difference is rounded."""
    if metric.binary:
        return binary_pair_bin(candidate, stable)
    grid = pair_grid(metric, margin)
    match candidate, stable:
        case (Refused(), _) | (_, Refused()):
            return grid.refused
        case Known(value=mine), Known(value=theirs):
            cap = metric.grid.cap
            least = _least(metric, margin, min(theirs, cap))
            difference = min(max(min(mine, cap) - least, grid.points[0]), grid.cap)
            return bin_of(grid, Known(value=difference), rounding_number(exchange_id, margin.name))
        case _:
            return bin_of(grid, Unknown(), 0)


def scores(metric: MeanMetric, margin: Margin, weight: float, *, linear: bool = False) -> Vector:
    """What each bin stakes on, [strata, bins]; an unknown value is whatever hurts the claim most, a refused one nothing.

    A factor grows with the candidate's value and falls with stable's (promote: the reverse), so with the true values it
    would be at least as high: the e-value of known values is a bound of ours at every look.
    """
    sign = -1.0 if margin.promote else 1.0
    if margin.pairs:
        return np.tile(sign * _pair_scores(metric, margin), (len(metric.profile), 1))
    cap, points = metric.grid.cap, metric.grid.points
    mine = np.array([*points, cap, cap if margin.promote else 0.0])
    theirs = np.array([*points, cap, 0.0 if margin.promote else cap])
    centers = metric.centers()[:, None]
    nothing = np.zeros_like(centers)
    candidate = (1 - weight) * (mine - centers)
    stable = -weight * (tolerated(metric, margin, theirs, linear=linear) - centers)
    return sign * np.concatenate([candidate, nothing, stable, nothing], axis=1)


def _pair_scores(metric: MeanMetric, margin: Margin) -> Vector:
    """h of each bin of a pair, unknown ones as it hurts the claim most."""
    if metric.binary:
        rho, delta = margin.rho, margin.delta
        return np.array([1 - rho - delta, 1 - delta, -rho - delta, -delta, 1 - delta if margin.promote else -rho - delta, 0.0])
    grid = pair_grid(metric, margin)
    low, high = grid.points[0], grid.cap
    return np.array([*grid.points, high, high if margin.promote else low, 0.0])


def trial(metric: MeanMetric, margin: Margin, effects: Sequence[Effect], weight: float) -> tuple[Vector, Vector]:
    """Scores and chances of one request under each effect, [effects, strata, outcomes]; chances add up to 1."""
    sign = -1.0 if margin.promote else 1.0
    cap, points, centers = metric.grid.cap, np.array(metric.grid.points), metric.centers()[:, None]
    share, seen = metric.shares()[:, None], metric.spread()
    unmoved = -weight * (tolerated(metric, margin, points) - centers)
    stable_chance = (1 - weight) * share * seen
    found, chances = [], []
    for effect in effects:
        moved = (1 - weight) * (np.minimum(effect.times * points, cap) - centers)
        found.append(np.concatenate([moved, (1 - weight) * (cap - centers), unmoved], axis=1))
        candidate_chance = weight * share * seen * (1 - effect.worst)
        chances.append(np.concatenate([candidate_chance, weight * share * effect.worst, stable_chance], axis=1))
    return sign * np.stack(found), np.stack(chances)


def strata_mixed(metric: MeanMetric, margin: Margin) -> bool:
    """Mixtures over strata exist on the rollback side only: averaged, one good class would promote a bad one."""
    return not margin.promote and len(metric.profile) > 1


@lru_cache(maxsize=4096)
def bets(metric: MeanMetric, margin: Margin, weight: float) -> Vector:
    """One bet for each pool and alternative, [pools, alternatives]; pool 0 is all strata, the others are one each."""
    score = scores(metric, margin, weight)
    pools = [slice(None)] + [slice(s, s + 1) for s in range(len(score)) if strata_mixed(metric, margin)]
    rows = []
    for pool in pools:
        largest = CLIP * largest_bet(score[pool])
        if _is_ladder(metric, margin):
            rows.append(largest * 0.5 ** np.arange(LADDER, dtype=np.float64))
            continue
        own, chance = (part[:, pool].reshape(len(margin.effects), -1) for part in _tuning(metric, margin, weight))
        rows.append(kelly(own, chance, largest))
    sizes = np.stack(rows)
    sizes.flags.writeable = False
    return sizes


def _is_ladder(metric: MeanMetric, margin: Margin) -> bool:
    """Whether the bets need no profile."""
    return margin.pairs or not margin.effects or not any(map(any, metric.profile))


def _tuning(metric: MeanMetric, margin: Margin, weight: float) -> tuple[Vector, Vector]:
    """`trial`, with chances for strata that the profile has not seen: alone in their pool, only the shape matters."""
    own, chance = trial(metric, margin, margin.effects, weight)
    if (metric.shares() > 0).all():
        return own, chance
    filled = tuple(row if sum(row) else tuple(1e-9 * point for point in _sum(metric.profile)) for row in metric.profile)
    return own, trial(_with_profile(metric, filled), margin, margin.effects, weight)[1]


def _sum(rows: tuple[tuple[float, ...], ...]) -> list[float]:
    return [math.fsum(column) for column in zip(*rows, strict=True)]


def _with_profile(metric: MeanMetric, profile: tuple[tuple[float, ...], ...]) -> MeanMetric:
    return MeanMetric(name=metric.name, grid=metric.grid, profile=profile, bounded=metric.bounded)


@lru_cache(maxsize=64)
def log_factors(metric: MeanMetric, margin: Margin, weight_bp: int) -> Vector:
    """Log factor of each bin for each bet, [pools, alternatives, strata, bins]; 0 where there is no coin to bet on."""
    if not margin.pairs and not 0 < weight_bp < BUCKETS:
        return np.zeros_like(log_factors(metric, margin, BUCKETS // 2))
    weight = weight_bp / BUCKETS
    sizes, score = bets(metric, margin, weight), scores(metric, margin, weight)
    staked = np.stack([score] * len(sizes))  # [pools, strata, bins]
    for pool in range(1, len(sizes)):
        staked[pool, np.arange(len(score)) != pool - 1] = 0.0
    factors = np.log1p(sizes[:, :, None, None] * staked[:, None])
    factors.flags.writeable = False
    return factors


class _Factors(NamedTuple):
    """`log_factors` without their zeros: a pool of one stratum reads that stratum's counts alone."""

    pooled: Vector  # [alternatives, strata * bins]
    own: Vector  # [strata, alternatives, bins]; no strata where they are not mixed


@lru_cache(maxsize=4096)
def _factors(metric: MeanMetric, margin: Margin, weight_bp: int) -> _Factors:
    weight = weight_bp / BUCKETS
    sizes, score = bets(metric, margin, weight), scores(metric, margin, weight)
    pooled = np.log1p(sizes[0][:, None] * score.reshape(1, -1))
    own = np.log1p(sizes[1:, :, None] * (score if len(sizes) > 1 else score[:0])[:, None, :])
    pooled.flags.writeable = own.flags.writeable = False
    return _Factors(pooled, own)


def pool_count(metric: MeanMetric, margin: Margin) -> int:
    """Pools of strata that are bet on: all together, and on the rollback side each alone."""
    return 1 + len(metric.profile) if strata_mixed(metric, margin) else 1


def size_of(metric: MeanMetric, margin: Margin) -> int:
    """Components: pools * alternatives."""
    return pool_count(metric, margin) * (LADDER if _is_ladder(metric, margin) else len(margin.effects))


def parts(metric: MeanMetric, margin: Margin, weight_bp: int, counts: Counts) -> Vector:
    """Log e of each pool and alternative of counts [strata, bins], [pools * alternatives]; 0 where there is no coin."""
    if margin.pairs:
        weight_bp = 0  # one entry of the cache: pairs have no coin
    elif not 0 < weight_bp < BUCKETS:
        return np.zeros(size_of(metric, margin))
    factors = _factors(metric, margin, weight_bp)
    if counts.size != factors.pooled.shape[1]:
        raise ValueError(f"{margin.name}: {factors.pooled.shape[1]} strata and bins expected, found {counts.shape}")
    pooled = factors.pooled @ counts.ravel()
    if not len(factors.own):
        return np.asarray(pooled)
    return np.concatenate([pooled, (factors.own @ counts[:, :, None]).ravel()])


def components(metric: MeanMetric, margin: Margin, found: MeanCounts) -> Vector:
    """Log e of each pool and alternative over one segment, [pools * alternatives]: these add over segments and blocks."""
    return parts(metric, margin, found.weight_bp, np.array(found.counts, dtype=np.int64))


def combined(metric: MeanMetric, margin: Margin, parts: Vector) -> Vector:
    """Log e-value from added components, [..., pools * alternatives] -> [...]."""
    pools = pool_count(metric, margin)
    each = parts.reshape(*parts.shape[:-1], pools, -1)
    log_e = mixed(even(each.shape[-1]), each)
    return np.asarray(log_e[..., 0]) if pools == 1 else mixed(_half_pooled(pools), log_e)


@lru_cache(maxsize=128)
def _half_pooled(pools: int) -> Vector:
    """Log prior of all strata together, and of each alone."""
    prior = np.full(pools, math.log((1 - POOLED_SHARE) / (pools - 1)))
    prior[0] = math.log(POOLED_SHARE)
    prior.flags.writeable = False
    return prior


def log_e(metric: MeanMetric, margin: Margin, found: Sequence[MeanCounts]) -> float:
    """Log e-value of all segments' counts; by segment id, as sums of logs are the same in the same order only."""
    total = np.zeros(size_of(metric, margin))
    for one in sorted(found, key=lambda segment: segment.segment):
        total += components(metric, margin, one)
    return float(combined(metric, margin, total))


def refused(metric: MeanMetric, margin: Margin, found: Sequence[MeanCounts]) -> int:
    """Readings that were no value; above 0 the metric abstains."""
    width = pair_width(metric, margin) if margin.pairs else metric.grid.width
    return sum(sum(row[width - 1 :: width]) for one in found for row in one.counts)


def over_cap(grid: Grid, counts: Counts) -> Counts:
    """[strata, candidate's bins then stable's] of an amount as those of "is it above the cap?" on `RATE_GRID`.

    What is not known stays so, and is scored as it hurts the claim; what was refused stays refused.
    """
    arms = counts.reshape(len(counts), 2, grid.width)
    nothing = np.zeros_like(arms[:, :, 0])
    parts = [
        arms[:, :, : grid.over].sum(axis=2),
        arms[:, :, grid.over],
        nothing,
        arms[:, :, grid.unknown],
        arms[:, :, grid.refused],
    ]
    return np.stack(parts, axis=2).reshape(len(counts), 2 * RATE_GRID.width)
