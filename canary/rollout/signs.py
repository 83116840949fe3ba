"""What is read from the counts beside the evidence: harm, silence, alerts; a pure function of what a decision stores."""

from collections.abc import Sequence

import msgspec

from canary.rollout import alerts
from canary.rollout.counted import Counted, counted
from canary.rollout.harm import Harm, harm_of
from canary.rollout.limits import limit_alerts
from canary.rollout.past import Past
from canary.rollout.silence import missing_of, silence_of
from canary.rollout.state import RolloutState
from canary.stats.counts import Totals
from canary.stats.evidence import Alert, Evidence
from canary.stats.scoring import Scoring
from canary.terms import Frozen

FRESH_S = 10.0
"""Counters come with each second's tick; ten missed ones are more than a slow commit."""


class Signs(Frozen, frozen=True, kw_only=True):
    """Beside the evidence, at one look."""

    harm: Harm | None = None  # None: no live traffic was counted
    silence: str = ""  # why nothing is heard of the candidate
    past: Past | None = None  # an earlier look, for forecasts


NO_SIGNS = Signs()


def signs_of(
    state: RolloutState,
    totals: Totals | None,
    evidence: Evidence | None,
    *,
    past: Past | None = None,
    in_full: bool = False,
) -> Signs:
    """The signs of one look at a rollout; `in_full` with what only people ask."""
    if totals is None or evidence is None or state.scoring is None:
        return Signs(past=past)
    found = counted(totals, state.scoring, state.segments)
    return Signs(
        harm=harm_of(found, state.scoring, evidence, in_full=in_full) if found else None,
        silence=silence_of(found, state.scoring, stage=state.stage) or missing_of(evidence, state.measures),
        past=past,
    )


def alerted(
    state: RolloutState, totals: Totals | None, evidence: Evidence | None, *, past: Past | None = None
) -> Evidence | None:
    """The evidence with every alert of this look."""
    if totals is None or evidence is None or state.scoring is None:
        return evidence
    found = _alerts(state, counted(totals, state.scoring, state.segments), state.scoring, evidence=evidence, past=past)
    return msgspec.structs.replace(evidence, alerts=evidence.alerts + tuple(found))


def _alerts(
    state: RolloutState, found: Sequence[Counted], scoring: Scoring, *, evidence: Evidence, past: Past | None
) -> list[Alert]:
    return [
        *alerts.missing_alerts(evidence, state.measures),
        *limit_alerts(state.plan, found, scoring, evidence),
        *alerts.arms_alerts(found, scoring),
        *alerts.mix_alerts(found, scoring, stage=state.stage, shares=state.class_shares),
        *alerts.drift_alerts(found, scoring, stage=state.stage),
        *alerts.stale_alerts(evidence, past, fresh_s=FRESH_S),
    ]
