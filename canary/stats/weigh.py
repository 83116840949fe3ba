"""Settled counts become evidence: every metric's two e-values at one look. A pure function; chance and time stay outside."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from canary.stats.bets import mixed
from canary.stats.contrast import CELLS, Metric, Rule, Vector
from canary.stats.counts import SegmentTotals, Totals
from canary.stats.evidence import Evidence, MetricEvidence
from canary.stats.family import factors_of, family_of
from canary.stats.frozen import Scoring
from canary.stats.ratio import BROKEN_LOG_E, sample_ratio_log_e
from canary.stats.side import SegmentWeight
from canary.stats.tables import tables_of
from canary.terms import BUCKETS, Scored

__all__ = ["STICKY", "SegmentWeight", "silent", "weigh"]

STICKY: Final = "sticky units"


def weigh(
    totals: Totals,
    scoring: Scoring,
    segments: Sequence[SegmentWeight],
    *,
    stage: int,
    newest_tick_age_s: float | None = None,
    sticky: bool = False,
) -> Evidence:
    """The evidence of all scored segments since the rollout's start, under the promote margins of the present stage.

    `newest_tick_age_s` is passed on as it is. Where units are sticky, every metric abstains: the coin of a unit's second
    request is known, and these bets would count it twice.
    """
    known = [(segment, totals.segments[segment.id]) for segment in _in_order(segments) if segment.id in totals.segments]
    counted = [(segment, found, _counts(scoring, segment, found)) for segment, found in known]
    summed = np.zeros((len(scoring.contrasts), CELLS))
    components = np.zeros(family_of(scoring).log_prior.shape)
    for segment, _, counts in counted:
        summed += counts
        components += np.einsum("ck,cbk->cb", counts, factors_of(scoring, segment.weight_bp))
    log_e = mixed(family_of(scoring).log_prior, components).tolist()
    look = _Look(scoring, [[round(count) for count in row] for row in summed.tolist()], log_e, stage, STICKY if sticky else "")
    coins = [(segment, found) for segment, found in known if _has_coin(segment)]
    ratio = max((_ratio(segment, found) for segment, found in coins), default=0.0)
    return Evidence(
        metrics=tuple(look.row(metric) for metric in scoring.metrics),
        sample_ratio_log_e=ratio,
        sample_ratio_broken=ratio >= BROKEN_LOG_E and not sticky,
        assigned_candidate=sum(found.assigned_candidate for _, found in coins),
        assigned_stable=sum(found.assigned_stable for _, found in coins),
        pairs=look.pairs,
        stage_settled_s=_settled_s(scoring, known, stage),
        newest_tick_age_s=newest_tick_age_s,
        as_of_us=totals.as_of_us,
        abstains=STICKY if sticky else "",
    )


def silent(reason: str, *, newest_tick_age_s: float | None = None) -> Evidence:
    """Evidence that says nothing, and why: for a rollout without a scoring."""
    return Evidence(
        metrics=(),
        sample_ratio_log_e=0.0,
        sample_ratio_broken=False,
        assigned_candidate=0,
        assigned_stable=0,
        pairs=0,
        stage_settled_s=0.0,
        newest_tick_age_s=newest_tick_age_s,
        as_of_us=0,
        abstains=reason,
    )


class _Look:
    """The rows of one look."""

    def __init__(self, scoring: Scoring, counts: list[list[int]], log_e: list[float], stage: int, abstains: str) -> None:
        self._scoring = scoring
        self._counts = counts
        self._log_e = log_e
        self._stage = max(0, min(stage, len(scoring.spec.stage_factors) - 1))
        self._abstains = abstains

    @property
    def pairs(self) -> int:
        """Settled pairs."""
        every = (sum(self._counts[i]) for i, contrast in enumerate(self._scoring.contrasts) if contrast.pairs)
        return max(every, default=0)

    def row(self, metric: Metric) -> MetricEvidence:
        spec = self._scoring.spec
        promote = metric.promote[self._stage] if metric.promote else metric.promote_pairs
        canary = self._loudest(metric.canary or metric.promote[self._stage : self._stage + 1])
        shadow = self._loudest(metric.shadow or (() if metric.promote_pairs is None else (metric.promote_pairs,)))
        both, worse, better, neither = shadow
        return MetricEvidence(
            metric=metric.name,
            n_candidate=canary[0] + canary[1],
            n_stable=canary[2] + canary[3],
            bad_candidate=canary[0],
            bad_stable=canary[2],
            pairs=both + worse + better + neither,
            pairs_worse=worse,
            pairs_better=better,
            log_e_rollback=self._rollback(metric) if metric.share else None,
            need_rollback=-math.log(spec.alpha_rollback * metric.share) if metric.share else None,
            log_e_promote=None if promote is None else self._log_e[promote],
            need_promote=None if promote is None else -math.log(spec.alpha_promote),
            candidate_events=canary[0] + both + worse,
            min_events=spec.min_candidate_events if metric.counts_failures else 0,
            abstains=self._abstains,
        )

    def _rollback(self, metric: Metric) -> float:
        """Average over thresholds inside a lane, then over lanes: each share of the budget is spent once."""
        canary = self._average(metric.canary)
        if not metric.shadow:
            return canary
        weight = metric.shadow_weight
        return float(np.logaddexp(math.log1p(-weight) + canary, math.log(weight) + self._average(metric.shadow)))

    def _average(self, contrasts: tuple[int, ...]) -> float:
        log_e = np.array([self._log_e[index] for index in contrasts])
        return float(mixed(np.full(len(log_e), -math.log(len(log_e))), log_e))

    def _loudest(self, contrasts: tuple[int, ...]) -> list[int]:
        """The counts that say most: people are shown one threshold."""
        if not contrasts:
            return [0] * CELLS
        return self._counts[max(contrasts, key=lambda index: self._log_e[index])]


def _in_order(segments: Sequence[SegmentWeight]) -> list[SegmentWeight]:
    """By id: sums of logs are the same in the same order only."""
    return sorted((segment for segment in segments if segment.scored is not Scored.NONE), key=lambda segment: segment.id)


def _has_coin(segment: SegmentWeight) -> bool:
    return 0 < segment.weight_bp < BUCKETS


def _counts(scoring: Scoring, segment: SegmentWeight, found: SegmentTotals) -> Vector:
    """A segment's counts, [contrasts, 4]; a warm-up counts for errors alone, a segment without a coin for pairs alone."""
    counts = np.array(found.counts, dtype=np.float64).reshape(len(scoring.contrasts), CELLS)
    for index, contrast in enumerate(scoring.contrasts):
        warm_up = segment.scored is Scored.FAILURES and contrast.rule not in {Rule.BAD, Rule.UNWELL}
        if warm_up or not (contrast.pairs or _has_coin(segment)):
            counts[index] = 0
    return counts


def _ratio(segment: SegmentWeight, found: SegmentTotals) -> float:
    return sample_ratio_log_e(segment.weight_bp / BUCKETS, found.assigned_candidate, found.assigned_stable)


def _settled_s(scoring: Scoring, known: Sequence[tuple[SegmentWeight, SegmentTotals]], stage: int) -> float:
    """Span of the stage's own starts, without its warm-up, that is settled for the longest age that its promotion reads."""
    factors = scoring.spec.stage_factors
    index = max(0, min(stage, len(factors) - 1))
    read = [metric.promote[index] for metric in scoring.metrics if metric.promote]
    ages = tables_of(scoring).ages_us.tolist()
    place = ages.index(max((scoring.contrasts[contrast].age_us for contrast in read), default=ages[-1]))
    own = [found for segment, found in known if segment.stage == stage and segment.scored is Scored.ALL]
    return float(sum(found.settled_s[place] for found in own if found.settled_s))
