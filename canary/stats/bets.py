"""Bets: how much each contrast stakes on each alternative, and what a count of each of its cells is then worth.

Source of the form: with the coin P(candidate | past) = w, the score

    h = (1 - w) * (y - c) for the candidate, h = -w * (rho * y + delta - c) for stable

has mean w (1 - w) (mu_C - rho * mu_S - delta), so 1 + lambda * h (rollback) and 1 - lambda * h (promote) have mean at most 1
under their nulls, whatever the baseline does. For a pair, h = yC - rho * yS - delta. Scores are 0 or 1: h has four values.
"""

import math
from functools import lru_cache
from typing import Final

import msgspec
import numpy as np

from canary.stats.contrast import Contrast, Rule, Vector
from canary.stats.kelly import LADDER, kelly

CLIP: Final = 0.98
"""Of the largest bet: a factor of exactly 0 would end a component for ever."""

PAIR_RATIOS: Final = (1.3, 1.8, 3.0, 6.0, 20.0, 100.0)
"""How many times likelier a discordant pair speaks against the candidate, where the null says: even."""

THROUGHPUT_RATIOS: Final = (0.5, 0.8, 0.9, 0.95)
"""Alternatives: the candidate's completions beside its share of them."""


def scores(contrast: Contrast, weight: float) -> Vector:
    """What each of the four cells stakes on: h on the rollback side, -h on the promote side."""
    rho, delta, center = contrast.rho, contrast.delta, contrast.center
    if contrast.pairs:
        h = np.array([1 - rho - delta, 1 - delta, -rho - delta, -delta])
    else:
        h = np.array(
            [
                (1 - weight) * (1 - center),
                -(1 - weight) * center,
                -weight * (rho + delta - center),
                -weight * (delta - center),
            ]
        )
    return -h if contrast.promote else h


def largest_bet(score: Vector) -> float:
    """Where the worst cell's factor would reach 0."""
    worst = float(-score.min())
    return 1 / worst if worst > 0 else 1.0  # no cell can lose: any bet is one


def bets(contrast: Contrast, weight: float) -> Vector:
    """One bet for each alternative, strictly inside [0, lmax)."""
    score = scores(contrast, weight)
    largest = CLIP * largest_bet(score)
    ladder: Vector = largest * 0.5 ** np.arange(LADDER, dtype=np.float64)
    if contrast.pairs:
        if contrast.rho == 1 and contrast.delta == 0:
            ratios: Vector = np.array(PAIR_RATIOS)
            return np.asarray(
                (ratios - 1) / (ratios + 1)
            )  # 1 + lambda = 2 theta, 1 - lambda = 2 (1 - theta), theta = r / (1 + r)
        return ladder
    if not contrast.effects:
        return ladder
    chances = _chances(contrast, weight)
    return kelly(np.broadcast_to(score, chances.shape), chances, largest)


def _chances(contrast: Contrast, weight: float) -> Vector:
    """Probability of each cell under each alternative, [alternatives, 4]."""
    candidate = np.array(contrast.effects)
    stable = np.full_like(candidate, contrast.center)
    return np.stack([weight * candidate, weight * (1 - candidate), (1 - weight) * stable, (1 - weight) * (1 - stable)], axis=1)


def log_factors(contrast: Contrast, weight: float) -> Vector:
    """Natural log of each cell's factor for each bet, [bets, 4]."""
    return np.log1p(bets(contrast, weight)[:, None] * scores(contrast, weight))


def throughput_factors(weight: float) -> Vector:
    """The same for a contrast whose bets are on which arm each completion comes from, [ratios, 4]: failures bet on nothing.

    The null says that completions come in the shares of the coin; a ratio, that the candidate completes so much less.
    """
    ratios: Vector = np.array(THROUGHPUT_RATIOS)
    theta = weight * ratios / (weight * ratios + 1 - weight)
    nothing = np.zeros_like(theta)
    return np.stack([nothing, np.log(theta / weight), nothing, np.log((1 - theta) / (1 - weight))], axis=1)


def stratum_factors(contrast: Contrast, weight: float, *, strata: int) -> Vector:
    """Log factors of the bets on each stratum alone, [strata, bets, 4]: by its own profile, within its own largest bet."""
    if contrast.rule is Rule.GONE:
        return np.stack([throughput_factors(weight)] * strata)
    return np.stack([log_factors(part, weight) for part in _parts(contrast, strata)])


def pooled_factors(contrast: Contrast, weight: float, *, strata: int) -> Vector:
    """Log factors of the bets on all strata together, [bets, strata, 4]: each is centred by its own profile."""
    if contrast.rule is Rule.GONE:
        return np.stack([throughput_factors(weight)] * strata, axis=1)
    parts = _parts(contrast, strata)
    score = np.stack([scores(part, weight) for part in parts])
    if contrast.pairs or not contrast.strata:
        sizes = bets(contrast, weight)
    else:
        shares = [part.share for part in contrast.strata]
        chances = np.stack([share * _chances(part, weight) for share, part in zip(shares, parts, strict=True)], axis=1)
        flat = chances.reshape(len(chances), -1)
        sizes = kelly(np.broadcast_to(score.ravel(), flat.shape), flat, CLIP * largest_bet(score))
    return np.log1p(sizes[:, None, None] * score)


def _parts(contrast: Contrast, strata: int) -> list[Contrast]:
    """The contrast as each stratum's profile tunes it."""
    if not contrast.strata:
        return [contrast] * strata
    tuned = [{"center": part.center, "effects": part.effects, "strata": ()} for part in contrast.strata]
    return [msgspec.structs.replace(contrast, **part) for part in tuned]


def mixed(log_prior: Vector, log_e: Vector) -> Vector:
    """Log of the mixture over the last axis: logsumexp of prior and component, in their fixed order."""
    whole = log_prior + log_e
    terms = np.ascontiguousarray(whole.reshape(-1, whole.shape[-1]).T)  # sums over a short last axis are slow
    top = np.maximum.reduce(terms, axis=0)
    terms -= top
    np.exp(terms, out=terms)
    return np.asarray(top + np.log(np.add.reduce(terms, axis=0))).reshape(whole.shape[:-1])


@lru_cache(maxsize=128)
def even(size: int) -> Vector:
    """Log prior of so many components that weigh the same."""
    prior = np.full(size, -math.log(size))
    prior.flags.writeable = False
    return prior


def mixed_apart(log_prior: Vector, log_e: Vector) -> Vector:
    """`mixed` of each row of a matrix as it is of that row alone, to the last bit: numpy adds a lone row up in pairs."""
    whole = log_prior + log_e
    top = np.maximum.reduce(whole, axis=1)
    terms = np.exp(whole - top[:, None])
    return np.asarray(top + np.log(np.add.reduce(terms, axis=1)))


def rare_log_e(counts: tuple[tuple[float, int, int], ...], *, rho: float, ratios: tuple[float, ...]) -> float:
    """Closed form for rare events with c = 0 and delta = 0: which arm did each error come from?

    `counts` holds (weight, candidate errors, stable errors) of each segment. Equal to the mixture of linear bets
    (r - 1) / (w rho r + 1 - w), so it is a check of them too.
    """
    coins = [(*_rare_logs(weight, rho, ratios), candidate, stable) for weight, candidate, stable in counts]
    terms = []
    for place in range(len(ratios)):
        log_e = -math.log(len(ratios))
        for mine, theirs, candidate, stable in coins:
            log_e += candidate * mine[place] + stable * theirs[place]
        terms.append(log_e)
    top = max(terms)
    return top + math.log(sum(math.exp(term - top) for term in terms))


@lru_cache(maxsize=1_024)
def _rare_logs(weight: float, rho: float, ratios: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What an error of the candidate, and one of stable, is worth to each ratio: a look asks this a dozen times."""
    null = weight * rho / (weight * rho + 1 - weight)
    thetas = [weight * rho * ratio / (weight * rho * ratio + 1 - weight) for ratio in ratios]
    return tuple(math.log(theta / null) for theta in thetas), tuple(math.log((1 - theta) / (1 - null)) for theta in thetas)
