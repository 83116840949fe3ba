"""Where a rollout stands, and the record of each move."""

from datetime import datetime
from enum import StrEnum

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
    PAUSED = "paused"
    ABSTAINS = "abstains"  # the statistics do not speak for this route: people move it
    STALE = "stale"
    SAMPLE_RATIO = "sample_ratio"
    PROFILE = "profile"
    ACKNOWLEDGEMENT = "acknowledgement"
    WARM_UP = "warm_up"
    AGE = "age"
    TRAFFIC = "traffic"  # nothing has arrived in this stage
    GATES = "gates"
    TIME = "time"


class SegmentRef(Frozen, frozen=True, kw_only=True):
    """A maximal period of constant weight, salt and scoring. Ids are unique in the database and never 0."""

    id: int
    stage: int  # -1: shadow; 0..n-1: plan.stages; n: watch
    weight_bp: int
    shadow_bp: int
    scored: Scored
    opened_at: datetime


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
    sticky: bool = False  # unit is not the request: recorded and split, not decided by statistics yet
    ended_at: datetime | None = None
    because: str = ""  # the reason of the last decision, in one sentence
    retry_of: str = ""
    resumed_at: datetime | None = None  # a stage's time limit starts anew when a person resumes it
    measures: Measures = Measures()  # of the route, as they were when the rollout was created

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


class MetricVerdict(Frozen, frozen=True, kw_only=True):
    """What one guardrail says at one look."""

    metric: str
    rollback: Verdict  # FAIL: its rollback threshold is crossed
    promote: Verdict  # PASS: its promote threshold is crossed
    because: str


class Decision(Frozen, frozen=True, kw_only=True):
    """What the rollout does now, with its reason."""

    action: Action
    because: str
    verdicts: tuple[MetricVerdict, ...] = ()
    waiting: str = ""
    reason: Reason = Reason.UNKNOWN


class DecisionRow(Frozen, frozen=True, kw_only=True):
    """A decision as stored: numbers, evidence, who or what, when. Written when action, a verdict or the reason changes."""

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
    totals: dict[str, int] = {}  # the summed cells that were read, "segment/cell key" -> count
