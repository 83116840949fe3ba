"""What people are shown of each metric: its estimate with an interval, and how long its evidence takes. On request."""

import msgspec

from canary.rollout.counted import Counted, counted
from canary.rollout.state import RolloutState
from canary.rollout.trend import Past, promote_eta_s, rollback_eta_s
from canary.stats.contrast import Contrast
from canary.stats.counts import Totals
from canary.stats.evidence import Evidence, MetricEvidence
from canary.stats.intervals import Interval, RateCounts, rate_difference
from canary.stats.scoring import Scoring
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
    found = counted(totals, state.scoring, state.segments)
    contrasts = _contrasts(state.scoring, state.stage or 0)
    return tuple(_estimate(row, found, contrasts.get(row.metric), past=past) for row in evidence.metrics)


def _contrasts(scoring: Scoring, stage: int) -> dict[str, tuple[int, Contrast]]:
    """The one contrast that stands for a metric; none for an average of several."""
    last = max(0, min(stage, len(scoring.spec.stage_factors) - 1))
    found = {}
    for metric in scoring.metrics:
        own = metric.canary if len(metric.canary) == 1 else metric.promote[last : last + 1] if not metric.canary else ()
        if own:
            found[metric.name] = (own[0], scoring.contrasts[own[0]])
    return found


def _estimate(
    row: MetricEvidence, found: tuple[Counted, ...], contrast: tuple[int, Contrast] | None, *, past: Past | None
) -> Estimate:
    means = row.mean_candidate is not None
    return Estimate(
        metric=row.metric,
        candidate=row.mean_candidate if means else _rate(row.bad_candidate, row.n_candidate),
        stable=row.mean_stable if means else _rate(row.bad_stable, row.n_stable),
        difference=_difference(found, *contrast) if contrast is not None and not row.abstains else None,
        unit=row.unit,
        rollback_eta_s=rollback_eta_s(row, past),
        promote_eta_s=promote_eta_s(row, past),
    )


def _difference(found: tuple[Counted, ...], index: int, contrast: Contrast) -> Interval | None:
    """Of the rates, by this contrast's own counts: each end by the bets of its side, those of a profile where it has them."""
    counts = [RateCounts(weight_bp=one.segment.weight_bp, counts=_numbers(one, index)) for one in found]
    other = msgspec.structs.replace(contrast, promote=not contrast.promote, effects=())
    rollback, promote = (other, contrast) if contrast.promote else (contrast, other)
    return rate_difference((rollback, counts), (promote, counts), alpha=ALPHA)


def _numbers(one: Counted, index: int) -> tuple[int, int, int, int]:
    four = one.four(index)
    return four.candidate_bad, four.candidate_good, four.stable_bad, four.stable_good


def _rate(bad: float, n: int) -> float | None:
    return bad / n if n else None
