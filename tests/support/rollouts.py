"""Makers of plans, states and evidence: say only what a test is about."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from canary.rollout.plan import Plan, ShadowStage, Stage, Watch
from canary.rollout.state import RolloutState, SegmentRef
from canary.rollout.traffic import need_of
from canary.stats.evidence import Evidence, MetricEvidence
from canary.terms import Phase, Scored

T0 = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """The instant so many seconds after T0."""
    return T0 + timedelta(seconds=seconds)


def a_plan(**fields: Any) -> Plan:
    """Two stages of 60 s, 10 pairs, a watch of 10 minutes, no warm-up."""
    usual: dict[str, Any] = {
        "name": "careful",
        "shadow": ShadowStage(share_bp=10_000, min_pairs=10),
        "stages": (Stage(weight_bp=500, dwell_s=60.0), Stage(weight_bp=5_000, dwell_s=60.0)),
        "watch": Watch(for_s=600.0, holdback_bp=500),
        "min_profile": 100,
        "warm_up_s": 0.0,
    }
    return Plan(**(usual | fields))


def a_state(
    phase: Phase = Phase.PENDING, *, stage: int | None = None, scored: Scored = Scored.ALL, **fields: Any
) -> RolloutState:
    """A rollout in that phase, its segment opened at T0 and acknowledged at T0 + 1 s."""
    plan = fields.pop("plan", None) or a_plan()
    starts = {Phase.SHADOWING: -1, Phase.CANARYING: 0, Phase.WATCHING: len(plan.stages)}
    stage = starts.get(phase) if stage is None else stage
    segments: tuple[SegmentRef, ...] = ()
    if stage is not None:
        segments = (need_of(plan, stage, scored).opened(7, T0),)
    usual: dict[str, Any] = {
        "id": "r1",
        "route": "chat",
        "stable": "v1",
        "candidate": "v2",
        "stable_hash": "hash-v1",
        "candidate_hash": "hash-v2",
        "plan": plan,
        "plan_hash": plan.hash,
        "salt": b"0123456789abcdef",
        "phase": phase,
        "revision": 3,
        "plan_revision": 5,
        "created_at": T0,
        "created_by": "ada",
        "segments": segments,
        "stage_acked_at": at(1) if segments else None,
        "ended_at": at(2) if phase.is_final else None,
    }
    return RolloutState(**(usual | fields))


def a_metric(metric: str = "error", **fields: Any) -> MetricEvidence:
    """A row of 250 candidate and 1,000 stable starts that has crossed nothing yet."""
    usual: dict[str, Any] = {
        "metric": metric,
        "n_candidate": 250,
        "n_stable": 1_000,
        "bad_candidate": 2,
        "bad_stable": 5,
        "log_e_rollback": 0.0,
        "need_rollback": 6.0,
        "log_e_promote": 1.0,
        "need_promote": 3.0,
    }
    return MetricEvidence(**(usual | fields))


def cleared(metric: str = "error", **fields: Any) -> MetricEvidence:
    """A row whose promote side is proven."""
    return msgspec.structs.replace(a_metric(metric, log_e_promote=3.5), **fields)


def breached(metric: str = "error", **fields: Any) -> MetricEvidence:
    """A row whose rollback side is proven."""
    return msgspec.structs.replace(
        a_metric(metric, bad_candidate=37, log_e_rollback=8.074, need_rollback=6.1696, candidate_events=37, min_events=3),
        **fields,
    )


def an_evidence(*metrics: MetricEvidence, **fields: Any) -> Evidence:
    """Fresh evidence of a stage that has settled long enough; undecided errors where no metric is given."""
    usual: dict[str, Any] = {
        "metrics": metrics or (a_metric(),),
        "sample_ratio_log_e": 0.0,
        "sample_ratio_broken": False,
        "assigned_candidate": 250,
        "assigned_stable": 1_000,
        "pairs": 1_000,
        "stage_settled_s": 3_600.0,
        "newest_tick_age_s": 0.8,
        "as_of_us": 1,
    }
    return Evidence(**(usual | fields))
