"""Live calibration: stable compared with itself, so that the promised rate of false alarms can be seen to be kept.

A coin of its own deals a route's stable answers to two pseudo-arms. Nothing is sent elsewhere for it: whatever is found is
a false alarm by construction. A round is evaluated as a rollout would be, and ends with an alarm, or after a while.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from canary.rollout.plan import Plan, ShadowStage, Stage, Watch
from canary.rollout.scoring_of import class_shares, scoring_spec
from canary.rollout.state import RolloutState, SegmentRef
from canary.rollout.verdicts import worst_breach
from canary.split.spec import RouteSpec, VersionSpec
from canary.stats.evidence import Evidence
from canary.stats.freezing import freeze
from canary.stats.profile import Profile
from canary.terms import Frozen, Phase, Scored

PREFIX: Final = "cal:"
"""Of the route that a round is kept under; no route of a file can have a colon in its name."""

PLAN: Final = Plan(
    name="calibration",
    shadow=ShadowStage(share_bp=0),
    stages=(Stage(weight_bp=5_000),),
    watch=Watch(for_s=0.0),
    warm_up_s=0.0,
)
"""The defaults' guardrails and error budget, both pseudo-arms alike in size: where there is most to find."""

CONFIDENCE: Final = 0.95


class Span(Frozen, frozen=True, kw_only=True):
    """How long a round lasts: so many requests, but neither shorter nor longer than these."""

    requests: int = 200_000
    least_s: float = 3_600.0
    most_s: float = 86_400.0


SPAN: Final = Span()


class Round(Frozen, frozen=True, kw_only=True):
    """One round that has ended."""

    id: str
    route: str
    opened_at: datetime
    closed_at: datetime
    requests: int
    alarmed: bool
    metric: str = ""  # which one alarmed, or came nearest
    log_e: float = 0.0


class Calibration(Frozen, frozen=True, kw_only=True):
    """What all rounds of a route, or of all routes, come to."""

    rounds: int
    alarms: int
    lower: float  # Clopper-Pearson
    upper: float
    alpha: float  # what was promised
    requests: int

    @property
    def rate(self) -> float | None:
        """Alarms by round; None without any round."""
        return self.alarms / self.rounds if self.rounds else None

    @property
    def kept(self) -> bool:
        """False where even the lower end of the interval is above what was promised."""
        return self.lower <= self.alpha


def calibrates(state: RolloutState) -> bool:
    """True for a round, which is no rollout of anybody's."""
    return state.route.startswith(PREFIX)


def pseudo_route(route: str) -> str:
    """Under which a route's rounds are kept."""
    return PREFIX + route


def real_route(state: RolloutState) -> str:
    """The route whose answers a round deals out."""
    return state.route.removeprefix(PREFIX)


def round_segment(segment: int, now: datetime) -> SegmentRef:
    """The one segment of a round."""
    return SegmentRef(id=segment, stage=0, weight_bp=5_000, shadow_bp=0, scored=Scored.ALL, opened_at=now)


def round_begun(
    route: RouteSpec, stable: VersionSpec, profile: Profile, *, id_: str, salt: bytes, opened: SegmentRef
) -> RolloutState:
    """A round as it is stored: a rollout of stable against itself, with a scoring frozen and no traffic of its own."""
    state = RolloutState(
        id=id_,
        route=pseudo_route(route.name),
        stable=stable.name,
        candidate=stable.name,
        stable_hash=stable.hash,
        candidate_hash=stable.hash,
        plan=PLAN,
        plan_hash=PLAN.hash,
        salt=salt,
        phase=Phase.CANARYING,
        revision=1,
        plan_revision=0,
        created_at=opened.opened_at,
        created_by="controller",
        segments=(opened,),
        stage_acked_at=opened.opened_at,
        answer_timeout_s=route.deadlines.answer_s,
        connect_timeout_s=route.deadlines.connect_s,
        measures=route.measures,
    )
    scoring = freeze(profile, scoring_spec(state))
    return msgspec.structs.replace(state, scoring=scoring, class_shares=class_shares(profile, route.measures))


def round_ended(state: RolloutState, evidence: Evidence | None, now: datetime, *, span: Span = SPAN) -> Round | None:
    """The round's end, where it has come."""
    age_s = (now - state.created_at).total_seconds()
    requests = evidence.assigned_candidate + evidence.assigned_stable if evidence is not None else 0
    breach = worst_breach(evidence)
    over = age_s >= span.most_s or (age_s >= span.least_s and requests >= span.requests)
    if breach is None and not over:
        return None
    metric, log_e = nearest(evidence)
    return Round(
        id=state.id,
        route=real_route(state),
        opened_at=state.created_at,
        closed_at=now,
        requests=requests,
        alarmed=breach is not None,
        metric=breach.metric if breach is not None else metric,
        log_e=breach.log_e_rollback or 0.0 if breach is not None else log_e,
    )


def nearest(evidence: Evidence | None) -> tuple[str, float]:
    """The metric that is nearest to an alarm, and its log e; nothing where none speaks."""
    rows = [row for row in evidence.metrics if row.need_rollback is not None] if evidence is not None else []
    found = max(rows, key=lambda row: (row.log_e_rollback or 0.0) - (row.need_rollback or 0.0), default=None)
    return ("", 0.0) if found is None else (found.metric, found.log_e_rollback or 0.0)


def summed(rounds: Sequence[Round], *, alpha: float = PLAN.alpha_rollback) -> Calibration:
    """The rate of false alarms with its exact interval."""
    n, alarms = len(rounds), sum(one.alarmed for one in rounds)
    lower, upper = clopper_pearson(alarms, n)
    requests = sum(one.requests for one in rounds)
    return Calibration(rounds=n, alarms=alarms, lower=lower, upper=upper, alpha=alpha, requests=requests)


def clopper_pearson(found: int, n: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact interval of a binomial rate; 0 to 1 without any trial."""
    from scipy.special import betaincinv  # where it is asked: couriers know rounds too, and do without scipy

    tail = (1 - confidence) / 2
    lower = float(betaincinv(found, n - found + 1, tail)) if found else 0.0
    upper = float(betaincinv(found + 1, n - found, 1 - tail)) if found < n else 1.0
    return lower, upper
