"""How evidence grows: an earlier look beside the present one, and what is to be expected from the two."""

import math
from collections.abc import Iterable
from typing import Final

from canary.rollout.past import WINDOW_S, Past
from canary.rollout.state import RolloutState
from canary.stats.evidence import Evidence, MetricEvidence
from canary.terms import BUCKETS

ENOUGH: Final = 30.0
"""Requests of the slower side (an arm, or the pairs of a shadow) whose evidence is a trend: with one or two in five
minutes nothing would ever seem to grow."""

LONGEST_S: Final = 21_600.0

LEAST: Final = 0.1
"""Of the window; a shorter history is no trend."""


def window_of(state: RolloutState) -> float:
    """Seconds over which this stage's growth is measured: those of `ENOUGH` requests, at least 5 minutes, at most 6 hours."""
    rate_per_s = None if state.scoring is None else state.scoring.spec.rate_per_s
    segment = state.segment
    if not rate_per_s or segment is None:
        return WINDOW_S
    slower_bp = min(segment.weight_bp, BUCKETS - segment.weight_bp) or segment.shadow_bp
    if not slower_bp:
        return WINDOW_S
    return min(max(WINDOW_S, ENOUGH * BUCKETS / slower_bp / rate_per_s), LONGEST_S)


def past_of(evidence: Evidence, *, age_s: float) -> Past:
    """What is kept of a look."""
    return Past(
        age_s=age_s,
        rollback=_told((row.metric, row.log_e_rollback) for row in evidence.metrics),
        promote=_told((row.metric, row.log_e_promote) for row in evidence.metrics),
        promote_pairs=_told((row.metric, row.log_e_promote_pairs) for row in evidence.metrics),
        as_of_us=evidence.as_of_us,
    )


def rollback_eta_s(row: MetricEvidence, past: Past | None) -> float | None:
    """Seconds until a metric rolls back at its present growth; None where it does not grow, or it is too early to tell."""
    if row.abstains:
        return None
    return _eta_s(row.log_e_rollback, row.need_rollback, past, past.rollback.get(row.metric) if past else None)


def promote_eta_s(row: MetricEvidence, past: Past | None) -> float | None:
    """Seconds until a metric's gate opens at its present growth; None where it does not grow, or it is too early to tell.

    Of an early gate that pairs may open too, until the sooner of the two does.
    """
    if row.cleared:
        return 0.0
    if row.abstains or row.promote_abstains:
        return None
    canary = _eta_s(row.log_e_promote, row.need_promote, past, past.promote.get(row.metric) if past else None)
    then = past.promote_pairs.get(row.metric) if past else None
    pairs = _eta_s(row.log_e_promote_pairs, row.need_promote_pairs, past, then)
    return min((eta for eta in (canary, pairs) if eta is not None), default=None)


def gates_eta_s(gates: Iterable[MetricEvidence], past: Past | None) -> float | None:
    """Seconds until all gates are open: the slowest one's; None where one of them does not grow."""
    found = [promote_eta_s(gate, past) for gate in gates]
    known = [eta for eta in found if eta is not None]
    return max(known, default=0.0) if len(known) == len(found) else None


def is_told(past: Past | None) -> bool:
    """True where there is history enough for a forecast."""
    return past is not None and past.age_s >= least_s(past)


def least_s(past: Past | None) -> float:
    """Seconds of history without which there is no forecast."""
    return LEAST * (WINDOW_S if past is None else past.window_s)


def _told(found: Iterable[tuple[str, float | None]]) -> dict[str, float]:
    return {metric: log_e for metric, log_e in found if log_e is not None and math.isfinite(log_e)}


def _eta_s(now: float | None, need: float | None, past: Past | None, then: float | None) -> float | None:
    """0 where the threshold is reached, None where nothing grows."""
    if now is None or need is None:
        return None
    if now >= need:
        return 0.0
    if past is None or then is None or not is_told(past) or now <= then:
        return None
    return (need - now) * past.age_s / (now - then)
