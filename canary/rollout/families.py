"""Many rollouts at once: one e-value of each, and which of them to call worse so that few of those are called so wrongly."""

import math
from collections.abc import Iterable

from canary.rollout.state import RolloutState
from canary.stats.evidence import Evidence, MetricEvidence
from canary.stats.fleet import discoveries
from canary.terms import Frozen

Q = 0.05
"""The share of wrong words among the rollouts called worse."""


class FleetRow(Frozen, frozen=True, kw_only=True):
    """One rollout in the fleet's summary."""

    rollout: str
    route: str
    log_e: float  # against "no metric is worse than tolerated"
    worse: bool


class FleetSummary(Frozen, frozen=True, kw_only=True):
    """All rollouts that were weighed together."""

    q: float
    rollouts: tuple[FleetRow, ...] = ()

    @property
    def worse(self) -> int:
        """How many are called worse."""
        return sum(row.worse for row in self.rollouts)


def fleet_summary(found: Iterable[tuple[RolloutState, Evidence | None]], *, q: float = Q) -> FleetSummary:
    """The summary of rollouts with evidence, by e-BH: it holds whatever their dependence and whenever one looks."""
    log_e = {state.id: (state, rollout_log_e(evidence)) for state, evidence in found if evidence is not None}
    said = {rollout: value for rollout, (_, value) in log_e.items() if value is not None}
    worse = discoveries(said, q) if said else frozenset()
    rows = [FleetRow(rollout=id_, route=log_e[id_][0].route, log_e=value, worse=id_ in worse) for id_, value in said.items()]
    return FleetSummary(q=q, rollouts=tuple(rows))


def rollout_log_e(evidence: Evidence) -> float | None:
    """One e-value of a rollout: its metrics' averaged by their shares of the error budget; None where none may speak."""
    if evidence.abstains:
        return None
    speaking = [row for row in evidence.metrics if _speaks(row)]
    if not speaking:
        return None
    # need = -ln(alpha v), so exp(-need) is v but for a factor that all of them share.
    whole = math.fsum(math.exp(-(row.need_rollback or 0.0)) for row in speaking)
    terms = [(row.log_e_rollback or 0.0) - (row.need_rollback or 0.0) - math.log(whole) for row in speaking]
    top = max(terms)
    return top + math.log(math.fsum(math.exp(term - top) for term in terms))


def _speaks(row: MetricEvidence) -> bool:
    return not row.abstains and row.log_e_rollback is not None and row.need_rollback is not None
