"""Intervals for people that hold at every look: which margins do the bets, frozen as they are, not yet refute?

An effect's interval inverts the two one-sided e-processes, each at alpha / 2. The rollback side's e-value falls with the
margin and the promote side's grows, so each has one edge, found by bisection from the estimate outward. A component whose
bet could go bankrupt at a margin counts nothing there: that keeps the rest an e-process, and the order of the margins.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec
import numpy as np
from scipy.special import betaln

from canary.stats import bets as rates
from canary.stats import means
from canary.stats.bets import THROUGHPUT_RATIOS
from canary.stats.contrast import Contrast, Vector
from canary.stats.means import Margin, MeanCounts, MeanMetric
from canary.terms import BUCKETS, Frozen

BISECTIONS: Final = 40
LARGEST_RATIO: Final = 2.0**20
"""Beyond this an upper end is said to be open."""
_LOG_LARGEST: Final = math.log(LARGEST_RATIO)

JEFFREYS: Final = 0.5
"""Both parameters of the beta prior of a rate's own sequence."""


class Interval(Frozen, frozen=True, kw_only=True):
    """What is not refuted. An end that is None is open."""

    lower: float | None
    estimate: float
    upper: float | None


class RateCounts(Frozen, frozen=True, kw_only=True):
    """One segment's settled counts of a contrast: candidate 1, candidate 0, stable 1, stable 0; or the four of its pairs."""

    weight_bp: int
    counts: tuple[int, int, int, int]


_LogE: TypeAlias = Callable[[float], float]  # of a margin


def rate_difference(
    rollback: tuple[Contrast, Sequence[RateCounts]], promote: tuple[Contrast, Sequence[RateCounts]], *, alpha: float
) -> Interval | None:
    """Candidate's rate less stable's; None while an arm has no counts. Each side reads its own contrast's counts."""
    estimate = _rate_difference(*rollback)
    if estimate is None:
        return None
    sides = [_rate_side(contrast, found) for contrast, found in (rollback, promote)]
    return _inverted(sides, estimate, alpha=alpha, span=(-1.0, 1.0))


def mean_difference(
    metric: MeanMetric, rollback: Margin, promote: Margin, found: Sequence[MeanCounts], *, alpha: float
) -> Interval | None:
    """Candidate's mean less stable's, both cut to the cap, by the bets of all strata; None while an arm has no counts."""
    candidate, stable = _value_means(metric, found)
    if candidate is None or stable is None:
        return None
    cap = metric.grid.cap
    sides = [_mean_side(metric, margin, found, lambda delta: (1.0, delta)) for margin in (rollback, promote)]
    return _inverted(sides, candidate - stable, alpha=alpha, span=(-cap, cap))


def mean_ratio(
    metric: MeanMetric, rollback: Margin, promote: Margin, found: Sequence[MeanCounts], *, alpha: float
) -> Interval | None:
    """Candidate's mean over stable's, both cut to the cap; None while stable's is 0."""
    candidate, stable = _value_means(metric, found)
    if candidate is None or not stable:
        return None
    sides = [_mean_side(metric, margin, found, lambda rho: (rho, 0.0)) for margin in (rollback, promote)]
    return _inverted(sides, candidate / stable, alpha=alpha, span=(0.0, None))


def net_loss(
    metric: MeanMetric, rollback: Margin, promote: Margin, found: Sequence[tuple[int, ...]], *, alpha: float
) -> Interval | None:
    """Share of pairs lost less share won, from -1 to 1; None without a decided or tied pair.

    `found` holds each segment's pairs in the cells of `means.binary_pair_bin`. Nobody can tell an unknown pair: the estimate
    leaves it out, and each edge takes it as it widens the interval.
    """
    both, worse, better, neither = np.array(found, dtype=np.int64).reshape(-1, means.BINARY_PAIR_WIDTH).sum(axis=0)[:4].tolist()
    known = both + worse + better + neither
    if not known:
        return None
    sides = [_net_side(metric, margin, found) for margin in (rollback, promote)]
    return _inverted(sides, (worse - better) / known, alpha=alpha, span=(-1.0, 1.0))


def completion_ratio(found: Sequence[tuple[float, int, int]], *, alpha: float) -> Interval | None:
    """How many of its requests the candidate completes beside stable, as a ratio; None until both arms have completed some.

    `found` holds (weight, candidate's completions, stable's) of each segment. The null of a ratio r says that a completion is
    the candidate's with chance w r / (w r + 1 - w). Each likelihood ratio against it has mean 1 under it, and e grows from the
    likeliest ratio outward, whatever the alternatives. Those of the upper end are the guard's own, so that it passes 1 where
    the guard would reach 2 / alpha; the lower end has their inverses too.
    """
    mine, theirs = sum(one for _, one, _ in found), sum(other for _, _, other in found)
    if not mine or not theirs:
        return None
    inverses = tuple(1 / ratio for ratio in THROUGHPUT_RATIOS)
    lower = _completion_side(found, THROUGHPUT_RATIOS + inverses)
    upper = _completion_side(found, THROUGHPUT_RATIOS)
    return _inverted([lower, upper], _likeliest(found), alpha=alpha, span=(0.0, None))


def _completion_side(found: Sequence[tuple[float, int, int]], ratios: Sequence[float]) -> _LogE:
    def log_e(null: float) -> float:
        if null <= 0:
            return math.inf
        terms = [
            sum(
                mine * (_log_share(w, ratio) - _log_share(w, null))
                + theirs * (_log_share(1 - w, 1 / ratio) - _log_share(1 - w, 1 / null))
                for w, mine, theirs in found
            )
            for ratio in ratios
        ]
        return float(rates.mixed(rates.even(len(terms)), np.array(terms)))

    return log_e


def _log_share(weight: float, ratio: float) -> float:
    """Log chance that a completion comes from the arm of this weight, which completes `ratio` times what the other does."""
    return math.log(weight * ratio / (weight * ratio + 1 - weight))


def _likeliest(found: Sequence[tuple[float, int, int]]) -> float:
    """The ratio at which as many completions are the candidate's as there are, by bisection of its logarithm."""

    def too_small(log_ratio: float) -> bool:
        ratio = math.exp(log_ratio)
        expected = sum((mine + theirs) * w * ratio / (w * ratio + 1 - w) for w, mine, theirs in found)
        return expected < sum(mine for _, mine, _ in found)

    low, high = -_LOG_LARGEST, _LOG_LARGEST
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if too_small(middle) else (low, middle)
    return math.exp((low + high) / 2)


def _inverted(sides: Sequence[_LogE], estimate: float, *, alpha: float, span: tuple[float, float | None]) -> Interval:
    rollback, promote = sides
    need = math.log(2 / alpha)
    least, most = span
    lower = _edge(lambda margin: rollback(margin) >= need, estimate, least)
    if most is None:
        most = max(1.0, 2 * estimate)
        while most < LARGEST_RATIO and promote(most) < need:
            most *= 2
        if promote(most) < need:
            return Interval(lower=lower, estimate=estimate, upper=None)
    return Interval(lower=lower, estimate=estimate, upper=_edge(lambda margin: promote(margin) >= need, estimate, most))


def _edge(refuted: Callable[[float], bool], estimate: float, limit: float) -> float:
    """Where margins begin to be refuted between the estimate and a limit; the estimate itself is always kept."""
    if refuted(estimate):
        return estimate
    if not refuted(limit):
        return limit
    kept, gone = estimate, limit
    for _ in range(BISECTIONS):
        middle = (kept + gone) / 2
        if refuted(middle):
            gone = middle
        else:
            kept = middle
    return gone


class _Stake(msgspec.Struct, frozen=True):
    """One segment: bets that stay, counts, and what each count stakes on at a margin."""

    bets: Vector
    counts: Vector
    scores_at: Callable[[float], Vector]


def _log_e(stakes: Sequence[_Stake], margin: float) -> float:
    total = np.zeros(len(stakes[0].bets)) if stakes else np.zeros(1)
    for stake in stakes:
        factors = 1 + stake.bets[:, None] * stake.scores_at(margin)
        bankrupt = factors.min(axis=1) <= 0
        logs = np.log(np.where(bankrupt[:, None], 1.0, factors))
        total += np.where(bankrupt, -math.inf, (logs * stake.counts).sum(axis=1))
    if not np.isfinite(total).any():
        return -math.inf
    return float(rates.mixed(np.full(len(total), -math.log(len(total))), total))


def _rate_side(contrast: Contrast, found: Sequence[RateCounts]) -> _LogE:
    def stake(weight: float, counts: tuple[int, ...]) -> _Stake:
        def scores_at(delta: float) -> Vector:
            return rates.scores(msgspec.structs.replace(contrast, rho=1.0, delta=delta), weight)

        return _Stake(rates.bets(contrast, weight), np.array(counts, dtype=np.float64), scores_at)

    stakes = [stake(one.weight_bp / BUCKETS, one.counts) for one in found if contrast.pairs or 0 < one.weight_bp < BUCKETS]
    return lambda delta: _log_e(stakes, delta)


Move: TypeAlias = Callable[[float], tuple[float, float]]  # a difference or a ratio to (rho, delta)


def _mean_side(metric: MeanMetric, margin: Margin, found: Sequence[MeanCounts], move: Move) -> _LogE:
    def stake(weight: float, counts: tuple[tuple[int, ...], ...]) -> _Stake:
        def scores_at(value: float) -> Vector:
            rho, delta = move(value)
            moved = msgspec.structs.replace(margin, rho=rho, delta=delta)
            return means.scores(metric, moved, weight, linear=True).ravel()

        return _Stake(means.bets(metric, margin, weight)[0], np.array(counts, dtype=np.float64).ravel(), scores_at)

    in_order = sorted(found, key=lambda one: one.segment)
    stakes = [stake(one.weight_bp / BUCKETS, one.counts) for one in in_order if 0 < one.weight_bp < BUCKETS]
    return lambda value: _log_e(stakes, value)


def _net_side(metric: MeanMetric, margin: Margin, found: Sequence[tuple[int, ...]]) -> _LogE:
    total = np.array(found, dtype=np.float64).reshape(-1, means.BINARY_PAIR_WIDTH).sum(axis=0)

    def scores_at(delta: float) -> Vector:
        return np.asarray(means.scores(metric, msgspec.structs.replace(margin, rho=1.0, delta=delta), 0.0)[0])

    stake = _Stake(means.bets(metric, margin, 0.0)[0], total, scores_at)
    return lambda delta: _log_e([stake], delta)


def _rate_difference(contrast: Contrast, found: Sequence[RateCounts]) -> float | None:
    if contrast.pairs:
        both, worse, better, neither = (
            np.array([one.counts for one in found], dtype=np.int64).reshape(-1, 4).sum(axis=0).tolist()
        )
        pairs = both + worse + better + neither
        return (worse - better) / pairs if pairs else None
    parts = [one.counts for one in found if 0 < one.weight_bp < BUCKETS]
    candidate, stable = _overlap([(c1, c1 + c0, s1, s1 + s0) for c1, c0, s1, s0 in parts])
    return None if candidate is None or stable is None else candidate - stable


def _value_means(metric: MeanMetric, found: Sequence[MeanCounts]) -> tuple[float | None, float | None]:
    """By segment and stratum, so that neither a ramp nor a change of classes moves the estimate."""
    width, values = metric.grid.width, np.array([*metric.grid.points, metric.grid.cap])
    parts = []
    for one in found:
        if not 0 < one.weight_bp < BUCKETS:
            continue
        for row in np.array(one.counts, dtype=np.int64):
            mine, theirs = row[: len(values)], row[width : width + len(values)]
            parts.append((float(mine @ values), int(mine.sum()), float(theirs @ values), int(theirs.sum())))
    return _overlap(parts)


def _overlap(parts: Sequence[tuple[float, int, float, int]]) -> tuple[float | None, float | None]:
    """Both arms' means over (sum, n, sum, n) of each part, weighed by nC nS / (nC + nS)."""
    weighed = [(mine * theirs / (mine + theirs), y / mine, z / theirs) for y, mine, z, theirs in parts if mine and theirs]
    total = sum(weight for weight, _, _ in weighed)
    if not total:
        return None, None
    return sum(w * y for w, y, _ in weighed) / total, sum(w * z for w, _, z in weighed) / total


def rate_interval(bad: int, n: int, *, alpha: float) -> Interval | None:
    """One arm's rate for a chart: a beta-binomial confidence sequence; None without counts."""
    if not n:
        return None
    need, estimate = math.log(1 / alpha), bad / n

    def refuted(p: float) -> bool:
        return bernoulli_log_e(bad, n - bad, p, prior=(JEFFREYS, JEFFREYS)) >= need

    return Interval(lower=_edge(refuted, estimate, 0.0), estimate=estimate, upper=_edge(refuted, estimate, 1.0))


def bernoulli_log_e(bad: float, good: float, p: float, *, prior: tuple[float, float]) -> float:
    """Log e-value against a constant rate p: a beta prior's mixture of likelihood ratios."""
    if (p <= 0 and bad) or (p >= 1 and good):
        return math.inf
    a, b = prior
    mixture = float(betaln(a + bad, b + good) - betaln(a, b))
    likelihood = (bad * math.log(p) if bad else 0.0) + (good * math.log1p(-p) if good else 0.0)
    return mixture - likelihood
