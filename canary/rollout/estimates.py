"""What people are shown of each metric: its estimate with an interval, and how long its evidence takes. On request."""

import msgspec
import numpy as np

from canary.rollout.counted import Counted, counted
from canary.rollout.past import Past
from canary.rollout.state import RolloutState
from canary.rollout.trend import promote_eta_s, rollback_eta_s
from canary.stats.contrast import Contrast, Rule
from canary.stats.counts import Totals
from canary.stats.evidence import Evidence, MetricEvidence
from canary.stats.intervals import Interval, RateCounts, mean_difference, rate_difference
from canary.stats.mean_metric import Margin
from canary.stats.means import MeanCounts
from canary.stats.scoring import Scoring
from canary.stats.value_plan import Form, ValueMetric
from canary.stats.value_sides import Place
from canary.terms import Frozen

ALPHA = 0.05
"""One minus the confidence of an interval, whenever and however often it is looked at."""


class Estimate(Frozen, frozen=True, kw_only=True):
    """One metric for people. The interval is of candidate less stable; an end that is None is open."""

    metric: str
    candidate: float | None = None  # a rate, or a mean in `unit`
    stable: float | None = None
    difference: Interval | None = None  # None: the metric has no counts, or is an average of others
    unit: str = ""  # empty: a rate
    rollback_eta_s: float | None = None  # None: it does not grow, or it is too early to tell
    promote_eta_s: float | None = None


def estimates(
    state: RolloutState, totals: Totals | None, evidence: Evidence | None, *, past: Past | None = None
) -> tuple[Estimate, ...]:
    """Every metric of a look, in the order of its evidence."""
    if totals is None or evidence is None or state.scoring is None:
        return ()
    found, stage = counted(totals, state.scoring, state.segments), state.stage or 0
    if state.scoring.spec.sticky:  # users are compared: requests have no interval that holds
        return tuple(_estimate(row, None, past=past) for row in evidence.metrics)
    contrasts = _contrasts(state.scoring, stage)
    values = {value.name: value for value in state.scoring.values.metrics}
    differences = {
        row.metric: _of_values(found, state.scoring, values[row.metric], stage=stage)
        if row.metric in values
        else _of_rates(found, contrasts.get(row.metric))
        for row in evidence.metrics
        if not row.abstains
    }
    rates = {name: _pooled(found, index) for name, (index, _) in contrasts.items()}
    return tuple(
        _estimate(row, differences.get(row.metric), rates=rates.get(row.metric), past=past) for row in evidence.metrics
    )


def _pooled(found: tuple[Counted, ...], index: int) -> tuple[float | None, float | None]:
    """Both arms' rates by one contrast, as plainly counted."""
    fours = [one.four(index) for one in found]
    mine = _rate(sum(four.candidate_bad for four in fours), sum(four.candidate for four in fours))
    return mine, _rate(sum(four.stable_bad for four in fours), sum(four.stable for four in fours))


def _contrasts(scoring: Scoring, stage: int) -> dict[str, tuple[int, Contrast]]:
    """The one contrast that stands for a metric; none for an average of several."""
    last = max(0, min(stage, len(scoring.spec.stage_factors) - 1))
    found = {}
    named = {contrast.name: index for index, contrast in enumerate(scoring.contrasts)}
    for metric in scoring.metrics:
        # A quantile has a row for its promote side alone; people are shown the tolerated limit, whatever the stage.
        limit = named.get(f"{metric.name}.rollback") if not metric.canary else None
        single = metric.canary if len(metric.canary) == 1 else ()
        own = (limit,) if limit is not None else single or (() if metric.canary else metric.promote[last : last + 1])
        if own:
            found[metric.name] = (own[0], scoring.contrasts[own[0]])
    return found


def _estimate(
    row: MetricEvidence,
    difference: Interval | None,
    *,
    rates: tuple[float | None, float | None] | None = None,
    past: Past | None,
) -> Estimate:
    if row.mean_candidate is not None:
        shown: tuple[float | None, float | None] = (row.mean_candidate, row.mean_stable)
    else:
        shown = rates or (_rate(row.bad_candidate, row.n_candidate), _rate(row.bad_stable, row.n_stable))
    return Estimate(
        metric=row.metric,
        candidate=shown[0],
        stable=shown[1],
        difference=difference,
        unit=row.unit,
        rollback_eta_s=rollback_eta_s(row, past),
        promote_eta_s=promote_eta_s(row, past),
    )


def _of_values(found: tuple[Counted, ...], scoring: Scoring, value: ValueMetric, *, stage: int) -> Interval | None:
    """Of the means, in the metric's own unit, by the bets of both its sides; None for what is compared otherwise."""
    if value.form is Form.PREFERENCE or value.mean is None or value.rollback is None:
        return None
    last = max(0, min(stage, len(value.promote) - 1))
    promote = value.promote[last] if value.promote else _turned(value.rollback)
    place = Place(scoring.values, value)
    counts = [
        MeanCounts(segment=one.segment.id, weight_bp=one.segment.weight_bp, counts=_rows(place, one))
        for one in found
        if one.found.values
    ]
    interval = mean_difference(value.mean, value.rollback, promote, counts, alpha=ALPHA)
    if interval is None or value.form is not Form.QUALITY or value.spec.cap is None:
        return interval
    return _lost(interval, value.spec.cap)


def _rows(place: Place, one: Counted) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in place.canary(np.array(one.found.values, dtype=np.int64)).tolist())


def _turned(margin: Margin) -> Margin:
    """The other side of a metric that has one alone: bets that need no profile."""
    return msgspec.structs.replace(margin, promote=not margin.promote, effects=())


def _lost(loss: Interval, cap: float) -> Interval:
    """What is lost of a quality, as the quality itself."""
    lower, upper = loss.upper, loss.lower
    return Interval(
        lower=None if lower is None else -cap * lower,
        estimate=-cap * loss.estimate,
        upper=None if upper is None else -cap * upper,
    )


def _of_rates(found: tuple[Counted, ...], own: tuple[int, Contrast] | None) -> Interval | None:
    """Of the rates, by this contrast's own counts: each end by the bets of its side, those of a profile where it has them."""
    if own is None or own[1].rule is Rule.GONE:
        return None
    index, contrast = own
    counts = [RateCounts(weight_bp=one.segment.weight_bp, counts=_numbers(one, index)) for one in found]
    other = msgspec.structs.replace(contrast, promote=not contrast.promote, effects=())
    rollback, promote = (other, contrast) if contrast.promote else (contrast, other)
    return rate_difference((rollback, counts), (promote, counts), alpha=ALPHA)


def _numbers(one: Counted, index: int) -> tuple[int, int, int, int]:
    four = one.four(index)
    return four.candidate_bad, four.candidate_good, four.stable_bad, four.stable_good


def _rate(bad: float, n: int) -> float | None:
    return bad / n if n else None
