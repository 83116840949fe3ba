"""Where a rollout stands, and the record of each move."""

from datetime import datetime
from enum import StrEnum

from canary.rollout.past import Past
from canary.rollout.plan import Plan
from canary.stats.evidence import Evidence
from canary.stats.scoring import Scoring
from canary.terms import Action, Frozen, Measures, Phase, Scored, Verdict


class Reason(StrEnum):
    """Which question gave the decision its answer: what has to change before a new row is written."""

    UNKNOWN = ""  # stored before reasons were kept
    ORDERED = "ordered"  # a person said so
    FINISHED = "finished"
    GUARDRAIL = "guardrail"
    HARM = "harm"  # the plan's harm budget is spent
    PAUSED = "paused"
    ABSTAINS = "abstains"  # the statistics do not speak for this route: people move it
    BLIND = "blind"  # a sidecar went to stable by itself, because nobody could judge it there
    STALE = "stale"
    SILENT = "silent"  # the candidate is meant to get requests, and nothing is heard of it
    SAMPLE_RATIO = "sample_ratio"
    PROFILE = "profile"
    ACKNOWLEDGEMENT = "acknowledgement"
    WARM_UP = "warm_up"
    AGE = "age"
    TRAFFIC = "traffic"  # nothing has arrived in this stage
    GATES = "gates"
    INCONCLUSIVE = "inconclusive"  # the stage's time is over, and neither side is proven
    TIME = "time"  # the same, as older rows have it


class SegmentRef(Frozen, frozen=True, kw_only=True):
    """A maximal period of constant weight, salt and scoring. Ids are unique in the database and never 0."""

    id: int
    stage: int  # -1: shadow; 0..n-1: plan.stages; n: watch
    weight_bp: int
    shadow_bp: int
    scored: Scored
    opened_at: datetime


class Trouble(Frozen, frozen=True, kw_only=True):
    """Looks at a rollout fail, one after another."""

    since: datetime
    error: str  # in one line


class RolloutState(Frozen, frozen=True, kw_only=True):
    """One rollout; a new value for each revision."""

    id: str
    route: str
    stable: str
    candidate: str
    stable_hash: str
    candidate_hash: str
    plan: Plan
    plan_hash: str
    salt: bytes
    phase: Phase
    revision: int  # of this rollout; grows by one with each saved decision
    plan_revision: int  # of the global plan (snapshots) that carries this rollout's present traffic
    created_at: datetime
    created_by: str
    paused: bool = False
    waiting: str = ""  # what it waits for, in words with numbers; empty where it does not
    segments: tuple[SegmentRef, ...] = ()  # the last one is in force
    stage_acked_at: datetime | None = None  # when every sidecar had acknowledged the present stage
    scoring: Scoring | None = None  # frozen with the profile at the start
    answer_timeout_s: float = 60.0
    connect_timeout_s: float = 3.0
    sticky: bool = False  # unit is not the request: users are compared, not requests
    ended_at: datetime | None = None
    because: str = ""  # the reason of the last decision, in one sentence
    retry_of: str = ""
    resumed_at: datetime | None = None  # a stage's time limit starts anew when a person resumes it
    measures: Measures = Measures()  # of the route, as they were when the rollout was created
    class_shares: tuple[float, ...] = ()  # of the profile's requests, by stratum; empty where there are no classes
    trouble: Trouble | None = None  # the controller's last look failed: nothing moves until one succeeds

    @property
    def segment(self) -> SegmentRef | None:
        """The segment in force, or None before the first."""
        return self.segments[-1] if self.segments else None

    @property
    def stage(self) -> int | None:
        """Index of the present stage (-1: shadow, number of stages: watch), or None before the first."""
        return self.segments[-1].stage if self.segments else None

    @property
    def stage_opened_at(self) -> datetime | None:
        """When the present stage's first segment opened, its warm-up included."""
        return next((s.opened_at for s in self.segments if s.stage == self.stage), None)

    @property
    def is_last_stage(self) -> bool:
        """True where the next step of live traffic is the promotion."""
        return self.stage is not None and self.stage >= len(self.plan.stages) - 1


class ClassVerdict(Frozen, frozen=True, kw_only=True):
    """What a metric says of one task class; the error is controlled over all classes of the metric."""

    name: str
    rollback: Verdict  # FAIL: the candidate is worse than tolerated here
    because: str


class MetricVerdict(Frozen, frozen=True, kw_only=True):
    """What one guardrail says at one look."""

    metric: str
    rollback: Verdict  # FAIL: its rollback threshold is crossed
    promote: Verdict  # PASS: its promote threshold is crossed
    because: str
    classes: tuple[ClassVerdict, ...] = ()


class Decision(Frozen, frozen=True, kw_only=True):
    """What the rollout does now, with its reason."""

    action: Action
    because: str
    verdicts: tuple[MetricVerdict, ...] = ()
    waiting: str = ""
    reason: Reason = Reason.UNKNOWN


class Before(Frozen, frozen=True, kw_only=True):
    """What a decision read beside the counts: all of the rollout that could have been otherwise, and the instant."""

    phase: Phase
    paused: bool
    segments: int  # how many were open
    now: datetime
    stage_acked_at: datetime | None = None
    resumed_at: datetime | None = None
    scored: bool = False  # whether a scoring was frozen
    profile_n: int = 0
    profile_per_s: float | None = None
    newest_tick_age_s: float | None = None
    past: Past | None = None  # the earlier look that forecasts were made from

    @classmethod
    def of(cls, state: "RolloutState", now: datetime) -> "Before":
        """The rollout's part of it."""
        return cls(
            phase=state.phase,
            paused=state.paused,
            segments=len(state.segments),
            now=now,
            stage_acked_at=state.stage_acked_at,
            resumed_at=state.resumed_at,
            scored=state.scoring is not None,
        )


class DecisionRow(Frozen, frozen=True, kw_only=True):
    """A decision as stored: numbers, evidence, who or what, when. A note, which moves nothing, is written as 0072 says."""

    id: str
    rollout: str
    revision: int  # of the rollout after it
    decision: Decision
    phase: Phase  # after it
    actor: str  # "controller", or who ordered it
    at: datetime
    epoch: int  # lease epoch; 0 for an operator's order
    plan_hash: str
    evidence: Evidence | None = None
    totals: dict[str, int] = {}  # older rows: the summed cells that were read, "segment/cell key" -> count
    read: bytes = b""  # the settled counts that were read, and all that weighing them again needs; empty: none
    before: Before | None = None  # None: a person's order, or an older row
