"""Settled counts become evidence: every metric's two e-values at one look. A pure function; chance and time stay outside."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from canary.stats.contrast import CELLS, Metric
from canary.stats.evidence import EITHER, ClassEvidence, Evidence, MetricEvidence
from canary.stats.family import averaged, counted, family_of
from canary.stats.frozen import Scoring, the_same
from canary.stats.late import Late
from canary.stats.ratio import BROKEN_LOG_E, sample_ratio_log_e
from canary.stats.side import Counted, SegmentWeight
from canary.stats.tables import tables_of
from canary.stats.totals import SegmentTotals, Totals, ints_of, shape_of
from canary.stats.values import rows as rows_of_values
from canary.terms import BUCKETS, Scored

__all__ = ["SegmentWeight", "silent", "weigh"]


def weigh(
    totals: Totals,
    scoring: Scoring,
    segments: Sequence[SegmentWeight],
    *,
    stage: int,
    newest_tick_age_s: float | None = None,
) -> Evidence:
    """The evidence of all scored segments since the rollout's start, under the promote margins of the present stage.

    Units are requests: where they are users, see `sticky_weigh`. `newest_tick_age_s` is passed on as it is.
    """
    scoring, ordered = the_same(scoring), _in_order(segments)
    known = [(segment, totals.segments[segment.id]) for segment in ordered if segment.id in totals.segments]
    found = [_counted(scoring, segment, settled) for segment, settled in known]
    look = _Look(scoring, found, Late(scoring, totals, ordered), stage)
    coins = [(segment, settled) for segment, settled in known if _has_coin(segment)]
    ratio = max((_ratio(segment, settled) for segment, settled in coins), default=0.0)
    return Evidence(
        metrics=look.rows(),
        sample_ratio_log_e=ratio,
        sample_ratio_broken=ratio >= BROKEN_LOG_E,
        assigned_candidate=sum(settled.assigned_candidate for _, settled in coins),
        assigned_stable=sum(settled.assigned_stable for _, settled in coins),
        pairs=look.pairs,
        stage_settled_s=_settled_s(scoring, known, stage),
        newest_tick_age_s=newest_tick_age_s,
        as_of_us=totals.as_of_us,
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
    """The rows of one look; `found` holds each segment's counts, by id: sums of logs are the same in the same order only."""

    def __init__(self, scoring: Scoring, found: Sequence[Counted], late: Late, stage: int) -> None:
        self._scoring = scoring
        self._found = found
        self._stage = stage
        family = family_of(scoring)
        components, summed = np.zeros(family.shape), np.zeros((scoring.strata, len(scoring.contrasts), CELLS), dtype=np.int64)
        for one in found:
            components += family.components(one.weight_bp, one.scored, one.rates)
            summed += one.rates * _counts_for(scoring, one)[:, None]
        pools = family.log_e(components)
        self._strata = pools[:, 1:]  # of each stratum alone; empty where there is one alone
        self._log_e = [
            float(value)
            for value in np.where(
                [contrast.promote for contrast in scoring.contrasts], family.promoted(pools), family.rolled_back(pools)
            )
        ]
        self._counts: list[list[int]] = summed.sum(axis=0).tolist()
        self._by_class: list[list[list[int]]] = summed.tolist() if scoring.classes else []
        self._rollback = late.rates(np.array(self._log_e))
        self._late = late

    @property
    def pairs(self) -> int:
        """Settled pairs."""
        every = (sum(self._counts[i]) for i, contrast in enumerate(self._scoring.contrasts) if contrast.pairs)
        return max(every, default=0)

    def rows(self) -> tuple[MetricEvidence, ...]:
        """One for each metric: those of contrasts first."""
        values = rows_of_values(self._scoring, self._found, self._late.values(self._found), stage=self._stage)
        return (*(self._row(metric) for metric in self._scoring.metrics), *values)

    def _row(self, metric: Metric) -> MetricEvidence:
        spec = self._scoring.spec
        stage = max(0, min(self._stage, len(spec.stage_factors) - 1))
        promote = metric.promote[stage] if metric.promote else metric.promote_pairs
        instead = metric.stage_pairs[self._stage] if 0 <= self._stage < len(metric.stage_pairs) else None
        need_promote = -math.log(spec.alpha_promote) + (0.0 if instead is None else math.log(EITHER))
        loudest = self._loudest(metric.canary or metric.promote[stage : stage + 1])
        canary = self._four(loudest)
        both, worse, better, neither = self._four(
            self._loudest(metric.shadow or (() if metric.promote_pairs is None else (metric.promote_pairs,)))
        )
        return MetricEvidence(
            metric=metric.name,
            n_candidate=canary[0] + canary[1],
            n_stable=canary[2] + canary[3],
            bad_candidate=canary[0],
            bad_stable=canary[2],
            pairs=both + worse + better + neither,
            pairs_worse=worse,
            pairs_better=better,
            log_e_rollback=self._rollback.get(metric.name),
            need_rollback=-math.log(spec.alpha_rollback * metric.share) if metric.share else None,
            log_e_promote=None if promote is None else self._log_e[promote],
            need_promote=None if promote is None else need_promote,
            log_e_promote_pairs=None if instead is None else self._log_e[instead],
            need_promote_pairs=None if instead is None else need_promote,
            candidate_events=canary[0] + both + worse,
            min_events=spec.min_candidate_events if metric.counts_failures else 0,
            classes=self._classes(metric, loudest),
        )

    def _classes(self, metric: Metric, loudest: int | None) -> tuple[ClassEvidence, ...]:
        """Each task class by itself, of metrics that guard live traffic; without the bets on late onset."""
        if not metric.canary or loudest is None or not self._by_class:
            return ()
        log_e = averaged(self._strata[list(metric.canary)].T).tolist()
        return tuple(
            ClassEvidence(
                name=name,
                n_candidate=four[0] + four[1],
                n_stable=four[2] + four[3],
                bad_candidate=four[0],
                bad_stable=four[2],
                log_e_rollback=log_e[stratum],
            )
            for stratum, name in enumerate(("", *self._scoring.classes))
            for four in [self._by_class[stratum][loudest]]
        )

    def _loudest(self, contrasts: tuple[int, ...]) -> int | None:
        """The contrast that says most: people are shown one threshold."""
        return max(contrasts, key=lambda index: self._log_e[index]) if contrasts else None

    def _four(self, contrast: int | None) -> list[int]:
        return [0] * CELLS if contrast is None else self._counts[contrast]


def _in_order(segments: Sequence[SegmentWeight]) -> list[SegmentWeight]:
    """By id: sums of logs are the same in the same order only."""
    return sorted((segment for segment in segments if segment.scored is not Scored.NONE), key=lambda segment: segment.id)


def _has_coin(segment: SegmentWeight) -> bool:
    return 0 < segment.weight_bp < BUCKETS


def _counted(scoring: Scoring, segment: SegmentWeight, settled: SegmentTotals) -> Counted:
    shape = shape_of(scoring)
    return Counted(
        weight_bp=segment.weight_bp,
        scored=segment.scored,
        rates=ints_of(settled.counts).reshape(scoring.strata, len(scoring.contrasts), CELLS),
        values=ints_of(settled.values) if settled.values else np.zeros(shape.values, dtype=np.int64),
    )


def _counts_for(scoring: Scoring, one: Counted) -> npt.NDArray[np.bool_]:
    """Which contrasts a segment counts for: a warm-up for errors alone, a segment without a coin for pairs alone."""
    here = counted(scoring, one.scored)
    if 0 < one.weight_bp < BUCKETS:
        return here
    return np.asarray(here & np.array([contrast.pairs for contrast in scoring.contrasts]))


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
