"""How evidence grows: one look of some minutes ago beside the present one, and what is to be expected from the two."""

import math
from collections.abc import Iterable
from typing import Final

from canary.rollout.past import Past
from canary.stats import forecast
from canary.stats.evidence import Evidence, MetricEvidence

WINDOW_S: Final = forecast.WINDOW_S


def past_of(evidence: Evidence, *, age_s: float) -> Past:
    """What is kept of a look."""
    return Past(
        age_s=age_s,
        rollback=_told((row.metric, row.log_e_rollback) for row in evidence.metrics),
        promote=_told((row.metric, row.log_e_promote) for row in evidence.metrics),
        as_of_us=evidence.as_of_us,
    )


def rollback_eta_s(row: MetricEvidence, past: Past | None) -> float | None:
    """Seconds until a metric rolls back at its present growth; None where it does not grow, or it is too early to tell."""
    return _eta_s(row.log_e_rollback, row.need_rollback, past, past.rollback.get(row.metric) if past else None)


def promote_eta_s(row: MetricEvidence, past: Past | None) -> float | None:
    """Seconds until a metric's gate opens at its present growth; None where it does not grow, or it is too early to tell."""
    if row.cleared:
        return 0.0
    return _eta_s(row.log_e_promote, row.need_promote, past, past.promote.get(row.metric) if past else None)


def gates_eta_s(gates: Iterable[MetricEvidence], past: Past | None) -> float | None:
    """Seconds until all gates are open: the slowest one's; None where one of them does not grow."""
    found = [promote_eta_s(gate, past) for gate in gates]
    known = [eta for eta in found if eta is not None]
    return max(known, default=0.0) if len(known) == len(found) else None


def is_told(past: Past | None) -> bool:
    """True where there is history enough for a forecast."""
    return past is not None and past.age_s >= forecast.LEAST_S


def _told(found: Iterable[tuple[str, float | None]]) -> dict[str, float]:
    return {metric: log_e for metric, log_e in found if log_e is not None and math.isfinite(log_e)}


def _eta_s(now: float | None, need: float | None, past: Past | None, then: float | None) -> float | None:
    if now is None or need is None:
        return None
    looks = [forecast.Look(at_s=0.0, log_e=now)]
    if past is not None and then is not None:
        looks.insert(0, forecast.Look(at_s=-past.age_s, log_e=then))
    return forecast.eta_s(looks, need)
