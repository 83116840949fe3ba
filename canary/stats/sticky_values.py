"""Rows of a sticky rollout's metrics of values: means and rates between clusters of users."""

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from canary.stats.clustered import ClusterEvidence
from canary.stats.comparisons import PARTS, decided_name, preference_name, promote_name, refused_name, rollback_name
from canary.stats.diversity import AnswerCounts
from canary.stats.diversity_row import diversity_row
from canary.stats.evidence import MetricEvidence
from canary.stats.frozen import Scoring
from canary.stats.moments import Moments
from canary.stats.value_plan import Form, ValueMetric
from canary.stats.value_sums import refusals


class Reader(Protocol):
    """What rows are made of at one look."""

    scoring: Scoring
    stage: int

    @property
    def answers(self) -> Sequence[AnswerCounts]:
        """One answer of each user, by segment."""
        ...

    def moments(self, name: str) -> Moments:
        """The sums of one comparison."""
        ...

    def said(self, name: str) -> ClusterEvidence:
        """What clusters say in one comparison."""
        ...

    def sentence(self, found: ClusterEvidence) -> str:
        """Why clusters say nothing yet."""
        ...


def value_rows(look: Reader) -> Iterator[MetricEvidence]:
    """One for each metric, in the plan's order."""
    for metric in look.scoring.values.metrics:
        if metric.form is Form.DIVERSITY:
            yield diversity_row(metric, look.answers, look.scoring.spec, promotes=look.stage >= 0)
            continue
        if metric.abstains or metric.mean is None:
            yield MetricEvidence.of_nothing(metric.name, unit=metric.spec.unit, abstains=metric.abstains)
        else:
            yield _preference(look, metric) if metric.form is Form.PREFERENCE else _row(look, metric)


def _row(look: Reader, metric: ValueMetric) -> MetricEvidence:
    spec = look.scoring.spec
    refused = look.moments(refused_name(metric))
    rollback = look.said(rollback_name(metric)) if metric.rollback is not None else None
    rolls_back = rollback is not None and metric.share > 0
    staged = bool(metric.promote) and look.stage >= 0
    stage = max(0, min(look.stage, len(metric.promote) - 1))
    promote = look.said(promote_name(metric, stage)) if staged else None
    n, bad, means = _shown(look, metric, stage)
    refusal = refusals(round(float(refused.outcomes[0])), round(float(refused.outcomes[1])), 0)
    waits = look.sentence(promote) if promote is not None else ""
    silent = look.sentence(rollback) if rollback is not None else waits
    return MetricEvidence(
        metric=metric.name,
        n_candidate=n[0],
        n_stable=n[1],
        bad_candidate=bad[0],
        bad_stable=bad[1],
        log_e_rollback=rollback.log_e if rollback is not None and rolls_back else None,
        need_rollback=-math.log(spec.alpha_rollback * metric.share) if rolls_back else None,
        log_e_promote=None if promote is None else promote.log_e,
        need_promote=None if promote is None else -math.log(spec.alpha_promote),
        candidate_events=bad[0],
        min_events=spec.min_candidate_events if metric.rare else 0,
        abstains=refusal or silent,
        promote_abstains=metric.promote_abstains or waits,
        mean_candidate=means[0],
        mean_stable=means[1],
        unit=metric.spec.unit,
    )


def _preference(look: Reader, metric: ValueMetric) -> MetricEvidence:
    """Which answer of a pair is preferred, between clusters of users."""
    spec, margin = look.scoring.spec, metric.rollback_pairs
    assert margin is not None, "a preference has a tolerance"
    rollback = look.said(preference_name(metric, margin))
    place = metric.shadow_pairs if look.stage < 0 else _promoted_by(metric, look.stage)
    promote = look.said(preference_name(metric, metric.promote_pairs[place])) if place >= 0 else None
    moments = look.moments(preference_name(metric, margin))
    worse, better = (round(float(sums)) for sums in look.moments(decided_name(metric)).outcomes)
    waits = look.sentence(promote) if promote is not None else ""
    return msgspec.structs.replace(
        MetricEvidence.of_nothing(metric.name, unit=metric.spec.unit, abstains=look.sentence(rollback)),
        pairs=round(float(moments.n[0].sum())),
        pairs_worse=worse,
        pairs_better=better,
        log_e_rollback=rollback.log_e if metric.share else None,
        need_rollback=-math.log(spec.alpha_rollback * metric.share) if metric.share else None,
        log_e_promote=None if promote is None else promote.log_e,
        need_promote=None if promote is None else -math.log(spec.alpha_promote),
        candidate_events=worse,
        promote_abstains=metric.promote_abstains or waits,
    )


def _promoted_by(metric: ValueMetric, stage: int) -> int:
    """Place of the stage's margin over pairs; -1: none."""
    return metric.stage_pairs[min(stage, len(metric.stage_pairs) - 1)] if metric.stage_pairs else -1


_Shown = tuple[tuple[int, int], tuple[int, int], tuple[float | None, float | None]]


def _shown(look: Reader, metric: ValueMetric, stage: int) -> _Shown:
    """Requests of both arms, of these bad ones, and means in the metric's own unit: of the requests that are compared."""
    name = rollback_name(metric) if metric.rollback is not None else promote_name(metric, stage)
    moments = look.moments(name)
    n = round(float(moments.n[0].sum())), round(float(moments.n[1].sum()))
    assert metric.mean is not None, "a metric without a grid has no row of its own"
    if metric.mean.binary:
        return n, (round(float(moments.outcomes[0])), round(float(moments.outcomes[1]))), (None, None)
    if moments.weight <= 0:
        return n, (0, 0), (None, None)
    mine, theirs = (_own(metric, float(mean) * metric.mean.grid.cap / PARTS) for mean in moments.means)
    return n, (0, 0), (mine, theirs)


def _own(metric: ValueMetric, mean: float) -> float:
    cap = metric.spec.cap
    return cap * (1 - mean) if metric.form is Form.QUALITY and cap else mean
