"""What the statistics say, metric by metric, as of when."""

from typing import Final

from canary.terms import Frozen

EITHER: Final = 2.0
"""Where an early stage's gate passes on either evidence, canary or pairs, each has half of the error."""


class ClassEvidence(Frozen, frozen=True, kw_only=True):
    """One task class of a metric; for people, and for the verdict of each class."""

    name: str  # "" for the requests of no named class
    n_candidate: int
    n_stable: int
    bad_candidate: float  # scored 1, or the sum of values
    bad_stable: float
    log_e_rollback: float


class Alert(Frozen, frozen=True, kw_only=True):
    """What people should know of, and what neither promotes nor rolls back by itself."""

    name: str  # "limit:error", "class_mix", "missing_telemetry"
    because: str


class MetricEvidence(Frozen, frozen=True, kw_only=True):
    """One metric at one look. Logs are natural; a threshold is crossed where `log_e >= need`."""

    metric: str  # error_fast, error, error_timeout, latency, promote-only rows: p50, p95, ...
    n_candidate: int  # settled starts (canary lane), per arm
    n_stable: int
    bad_candidate: int  # of these, scored 1
    bad_stable: int
    pairs: int = 0  # settled pairs (shadow lane)
    pairs_worse: int = 0  # candidate bad, stable good
    pairs_better: int = 0
    log_e_rollback: float | None = None  # None: this side does not exist for the metric
    need_rollback: float | None = None  # ln(1/(alpha_r * v))
    log_e_promote: float | None = None
    need_promote: float | None = None
    candidate_events: int = 0  # canary and shadow lanes together
    min_events: int = 0
    abstains: str = ""  # why it says nothing, e.g. "underpowered_clusters"
    mean_candidate: float | None = None  # of metrics whose values are amounts, in their own unit
    mean_stable: float | None = None
    unit: str = ""
    classes: tuple[ClassEvidence, ...] = ()
    log_e_promote_pairs: float | None = None  # an early stage's gate passes on either evidence, each at half the error
    need_promote_pairs: float | None = None
    promote_abstains: str = ""  # why its promote side alone says nothing, e.g. "no_profile"

    @classmethod
    def of_nothing(cls, metric: str, *, unit: str = "", abstains: str = "") -> "MetricEvidence":
        """A row without requests: one that says nothing, or that counts pairs alone."""
        return cls(metric=metric, n_candidate=0, n_stable=0, bad_candidate=0, bad_stable=0, unit=unit, abstains=abstains)

    @property
    def breached(self) -> bool:
        """True where the rollback threshold is crossed with enough candidate events."""
        if self.abstains or self.log_e_rollback is None or self.need_rollback is None:
            return False
        return self.log_e_rollback >= self.need_rollback and self.candidate_events >= self.min_events

    @property
    def cleared(self) -> bool:
        """True where the promote threshold is crossed, or the metric has no promote side."""
        if self.abstains or self.promote_abstains:
            return False
        if self.log_e_promote is None or self.need_promote is None:
            return True
        if self.log_e_promote >= self.need_promote:
            return True
        if self.log_e_promote_pairs is None or self.need_promote_pairs is None:
            return False
        return self.log_e_promote_pairs >= self.need_promote_pairs


class Evidence(Frozen, frozen=True, kw_only=True):
    """All metrics of a rollout at one look; a pure function of settled counts, scoring and segments."""

    metrics: tuple[MetricEvidence, ...]
    sample_ratio_log_e: float  # of the worst segment's sequence since the rollout's start
    sample_ratio_broken: bool  # e >= 1000
    assigned_candidate: int  # starts counted in scored segments, settled or not
    assigned_stable: int
    pairs: int  # settled pairs
    stage_settled_s: float  # span of the present stage's own starts settled for the longest promote age
    newest_tick_age_s: float | None  # by database time, since any journal's counters last grew; None: never
    as_of_us: int  # last committed tick of the slowest live journal; 0: none
    abstains: str = ""  # why no metric may decide
    alerts: tuple[Alert, ...] = ()
