"""What people are shown of each metric: its estimate with an interval, and how long its evidence takes. On request."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec
import numpy as np

from canary.rollout.counted import Counted, counted
from canary.rollout.past import Past
from canary.rollout.state import RolloutState, SegmentRef
from canary.rollout.trend import promote_eta_s, rollback_eta_s
from canary.stats.contrast import Metric, Rule
from canary.stats.counts import Totals
from canary.stats.evidence import Evidence, MetricEvidence
from canary.stats.family import counted as counts_for
from canary.stats.intervals import (
    Interval,
    RateCounts,
    completion_ratio,
    mean_difference,
    mean_ratio,
    net_loss,
    rate_difference,
)
from canary.stats.mean_metric import Margin
from canary.stats.means import MeanCounts
from canary.stats.scoring import Scoring
from canary.stats.value_plan import Form, ValueMetric
from canary.stats.value_sides import Place
from canary.terms import Frozen, Scored

ALPHA: Final = 0.05
"""One minus the confidence of an interval, whenever and however often it is looked at."""

STICKY: Final = "users are compared, and requests have no interval that holds"
VARIETY: Final = "how varied answers are has no scale"
NO_PAIRS: Final = "no pairs are settled"
NO_COUNTS: Final = "nothing is counted in both arms"
_TOLERATED: Final = "error.rollback.pairs"


class Scale(StrEnum):
    """What a metric's numbers are."""

    RATE = "rate"
    AMOUNT = "amount"  # in the metric's own unit
    NET_LOSS = "net_loss"  # share of pairs lost less share won
    COMPLETIONS = "completions"  # answers that ended well


class Estimate(Frozen, frozen=True, kw_only=True):
    """One metric for people. Intervals are of candidate less stable, or over it; an end that is None is open."""

    metric: str
    scale: Scale = Scale.RATE
    candidate: float | None = None  # a rate, or a mean in `unit`
    stable: float | None = None
    difference: Interval | None = None
    ratio: Interval | None = None  # of amounts, and of completions
    of: str = ""  # which of several thresholds is shown, the one that says most: "p95", "p95.pairs", "later.pairs"
    no_interval: str = ""  # why there is none
    unit: str = ""  # empty: a rate
    rollback_eta_s: float | None = None  # None: it does not grow, or it is too early to tell
    promote_eta_s: float | None = None


def estimates(
    state: RolloutState, totals: Totals | None, evidence: Evidence | None, *, past: Past | None = None
) -> tuple[Estimate, ...]:
    """Every metric of a look, in the order of its evidence."""
    if totals is None or evidence is None or state.scoring is None:
        return ()
    look = _Look(state, totals, state.scoring)
    return tuple(_timed(look.estimate(row), row, past) for row in evidence.metrics)


def _timed(found: Estimate, row: MetricEvidence, past: Past | None) -> Estimate:
    return msgspec.structs.replace(found, rollback_eta_s=rollback_eta_s(row, past), promote_eta_s=promote_eta_s(row, past))


class _Look:
    """One look's counts, and the intervals that they give."""

    def __init__(self, state: RolloutState, totals: Totals, scoring: Scoring) -> None:
        self._scoring = scoring
        self._stage = state.stage or 0
        self._totals = totals
        scored = (segment for segment in state.segments if segment.scored is not Scored.NONE)
        self._segments = sorted(scored, key=lambda segment: segment.id)
        self._found = counted(totals, scoring, state.segments)
        self._metrics = {metric.name: metric for metric in scoring.metrics}
        self._values = {value.name: value for value in scoring.values.metrics}
        self._named = {contrast.name: index for index, contrast in enumerate(scoring.contrasts)}

    def estimate(self, row: MetricEvidence) -> Estimate:
        """A metric's numbers with the interval that is honest of them, or why it has none."""
        plain = _plain(row)
        if row.abstains:
            return plain
        if self._scoring.spec.sticky:
            return msgspec.structs.replace(plain, no_interval=STICKY)
        value = self._values.get(row.metric)
        if value is not None:
            return self._of_values(plain, value)
        metric = self._metrics.get(row.metric)
        return plain if metric is None else self._of_rates(plain, metric, row)

    def _of_values(self, plain: Estimate, value: ValueMetric) -> Estimate:
        if value.form is Form.DIVERSITY:
            return msgspec.structs.replace(plain, no_interval=VARIETY)
        if value.form is Form.PREFERENCE:
            found = self._net_loss(value)
            return msgspec.structs.replace(plain, scale=Scale.NET_LOSS, difference=found, no_interval="" if found else NO_PAIRS)
        if value.mean is None or value.rollback is None:
            return plain
        last = max(0, min(self._stage, len(value.promote) - 1))
        promote = value.promote[last] if value.promote else _turned(value.rollback)
        place = Place(self._scoring.values, value)
        counts = [
            MeanCounts(segment=one.segment.id, weight_bp=one.segment.weight_bp, counts=_rows(place, one))
            for one in self._found
            if one.found.values and one.segment.scored is Scored.ALL
        ]
        interval = mean_difference(value.mean, value.rollback, promote, counts, alpha=ALPHA)
        if interval is None:
            return msgspec.structs.replace(plain, no_interval=NO_COUNTS)
        if value.form is Form.QUALITY and value.spec.cap is not None:
            return msgspec.structs.replace(plain, difference=_lost(interval, value.spec.cap))
        ratio = None
        if value.form is Form.AMOUNT:
            ratio = mean_ratio(value.mean, value.rollback, promote, counts, alpha=ALPHA)
        return msgspec.structs.replace(plain, difference=interval, ratio=ratio)

    def _net_loss(self, value: ValueMetric) -> Interval | None:
        if value.mean is None or value.rollback_pairs is None:
            return None
        promote = value.promote_pairs[-1] if value.promote_pairs else _turned(value.rollback_pairs)
        place = Place(self._scoring.values, value)
        found = [
            tuple(place.pairs(0, np.array(self._totals.segments[segment.id].values, dtype=np.int64)).sum(axis=0).tolist())
            for segment in self._segments
            if segment.scored is Scored.ALL and segment.id in self._totals.segments
            if self._totals.segments[segment.id].values
        ]
        return net_loss(value.mean, value.rollback_pairs, promote, found, alpha=ALPHA)

    def _of_rates(self, plain: Estimate, metric: Metric, row: MetricEvidence) -> Estimate:
        several = self._contrasts(metric, row)
        if not several:
            return plain
        index = max(several, key=lambda one: self._says(one, row))
        contrast = self._scoring.contrasts[index]
        of = contrast.name.replace(".rollback", "") if len(several) > 1 else "pairs" if contrast.pairs else ""
        if contrast.rule is Rule.GONE:
            ratio = completion_ratio(self._completions(index), alpha=ALPHA)
            return Estimate(metric=row.metric, scale=Scale.COMPLETIONS, ratio=ratio, no_interval="" if ratio else NO_COUNTS)
        counts = self._counts(index)
        other = msgspec.structs.replace(contrast, promote=not contrast.promote, effects=(), strata=())
        rollback, promote = (other, contrast) if contrast.promote else (contrast, other)
        # One of three has a third of alpha: where it excludes what is tolerated, so does their average.
        interval = rate_difference((rollback, counts), (promote, counts), alpha=ALPHA / len(several))
        if interval is None:
            return msgspec.structs.replace(plain, no_interval=NO_PAIRS if contrast.pairs else NO_COUNTS)
        mine, theirs = (None, None) if contrast.pairs else _pooled(counts)
        return msgspec.structs.replace(plain, candidate=mine, stable=theirs, difference=interval, of=of)

    def _contrasts(self, metric: Metric, row: MetricEvidence) -> tuple[int, ...]:
        """Those that stand for a metric: what its evidence is of by now, live traffic or pairs."""
        if metric.canary and (row.n_candidate or row.n_stable or not row.pairs):
            return metric.canary
        if metric.shadow:
            return metric.shadow
        if metric.canary:
            return metric.canary
        # A quantile has a row for its promote side alone; people are shown the tolerated limit, whatever the stage.
        limit = self._named.get(_TOLERATED if metric.promote_pairs is not None else f"{metric.name}.rollback")
        if limit is not None:
            return (limit,)
        last = max(0, min(self._stage, len(self._scoring.spec.stage_factors) - 1))
        return metric.promote[last : last + 1]

    def _says(self, index: int, row: MetricEvidence) -> bool:
        """Whether a contrast is the one whose counts the row shows."""
        numbers = [sum(column) for column in zip(*(one.counts for one in self._counts(index)), strict=True)] or [0] * 4
        if self._scoring.contrasts[index].pairs:
            return (sum(numbers), numbers[1], numbers[2]) == (row.pairs, row.pairs_worse, row.pairs_better)
        return numbers == [
            *(row.bad_candidate, row.n_candidate - row.bad_candidate),
            *(row.bad_stable, row.n_stable - row.bad_stable),
        ]

    def _counts(self, index: int) -> list[RateCounts]:
        """A contrast's own counts, segment by segment, where the decision counts them too."""
        contrast = self._scoring.contrasts[index]
        if not contrast.pairs:
            own = [one for one in self._found if self._counts_for(index, one.segment)]
            return [RateCounts(weight_bp=one.segment.weight_bp, counts=_numbers(one, index)) for one in own]
        shape = (self._scoring.strata, len(self._scoring.contrasts), 4)
        found = []
        for segment in self._segments:
            totals = self._totals.segments.get(segment.id)
            if totals is not None and self._counts_for(index, segment):
                a, b, c, d = np.array(totals.counts, dtype=np.int64).reshape(shape)[:, index].sum(axis=0).tolist()
                found.append(RateCounts(weight_bp=segment.weight_bp, counts=(a, b, c, d)))
        return found

    def _counts_for(self, index: int, segment: SegmentRef) -> bool:
        return bool(counts_for(self._scoring, segment.scored)[index])

    def _completions(self, index: int) -> list[tuple[float, int, int]]:
        own = [(one, one.four(index)) for one in self._found if one.segment.scored is Scored.ALL]
        return [(one.weight, four.candidate_good, four.stable_good) for one, four in own]


def _plain(row: MetricEvidence) -> Estimate:
    """A row's numbers as they stand."""
    if row.mean_candidate is not None or row.unit:
        return Estimate(
            metric=row.metric, scale=Scale.AMOUNT, candidate=row.mean_candidate, stable=row.mean_stable, unit=row.unit
        )
    return Estimate(
        metric=row.metric, candidate=_rate(row.bad_candidate, row.n_candidate), stable=_rate(row.bad_stable, row.n_stable)
    )


def _pooled(counts: Sequence[RateCounts]) -> tuple[float | None, float | None]:
    """Both arms' rates, as plainly counted."""
    a, b, c, d = (sum(column) for column in zip(*(one.counts for one in counts), strict=True))
    return _rate(a, a + b), _rate(c, c + d)


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


def _numbers(one: Counted, index: int) -> tuple[int, int, int, int]:
    four = one.four(index)
    return four.candidate_bad, four.candidate_good, four.stable_bad, four.stable_good


def _rate(bad: float, n: int) -> float | None:
    return bad / n if n else None
