"""The shape of canary.yaml as pydantic models; defaults that matter to the engine stay in their own rooms' types."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from canary.config.fields import (
    Database,
    Duration,
    DurationOrOff,
    HeaderValue,
    LimitValue,
    Linear,
    Listen,
    Margin,
    MarginOrOff,
    MetricName,
    Name,
    NetLoss,
    NetLossOrOff,
    Positive,
    Ratio,
    RatioOrOff,
    RootedPath,
    Secret,
    Share,
    Size,
    Text,
    TextSource,
    Unit,
    Upstream,
    ValueSource,
)
from canary.rollout.plan import Margins, Plan, ShadowStage, Stage, Watch
from canary.split.spec import Answering, Deadlines, Limits, MirrorSpec, RecordSpec, SecretRef, UnitSpec

_M, _P, _S, _W = Margins(), Plan(name="default"), ShadowStage(), Watch()
_L, _A, _R, _I = Limits(), Answering(), RecordSpec(), MirrorSpec()


class Section(BaseModel):
    """A mapping of the file that knows all of its keys."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, frozen=True, validate_default=False)


class AdminModel(Section):
    """Where people and programs look in and give orders."""

    listen: Listen = "127.0.0.1:8081"
    token: Secret | None = Field(default=None, description="needed where it listens off loopback")


class SidecarModel(Section):
    """The sidecar's own small port: health, metrics, local rollback."""

    listen: Listen = "127.0.0.1:8082"
    blind_after: DurationOrOff = 600.0


class LimitsModel(Section):
    """What the data port accepts."""

    head_bytes: Size = _L.head_bytes
    headers: Annotated[int, Field(ge=1, le=1_000)] = _L.headers
    buffered_body_bytes: Size = _L.buffered_body_bytes
    body_bytes: Size = _L.body_bytes
    connections: Annotated[int, Field(ge=1)] = _L.connections
    head: Duration = _L.head_s
    body_idle: Duration = _L.body_idle_s
    keep_alive: Duration = _L.keep_alive_s
    drain: Duration = _L.drain_s
    spool_max_bytes: Size = 2_147_483_648


class AnswerHeadersModel(Section):
    """Which x-canary-* headers are added to answers; `version` and `arm` tell users their arm."""

    id: bool = _A.id
    route: bool = _A.route
    version: bool = _A.version
    arm: bool = _A.arm


class MatchModel(Section):
    """Which requests are a route's."""

    host: Text | None = None
    hosts: list[Text] = Field(default_factory=list)
    path_prefix: RootedPath = "/"
    headers: dict[str, Text] = Field(default_factory=dict)


class VersionModel(Section):
    """What a route does: an upstream and how requests are changed on the way."""

    upstream: Upstream
    build: Text = ""
    build_header: Text = ""
    set_model: Text = ""
    strip_prefix: RootedPath | None = None
    headers: dict[str, HeaderValue] = Field(default_factory=dict)
    forward_credentials: bool = False
    ca_file: Text = ""
    verify: bool = True


class MirrorModel(Section):
    """What may be copied to a shadow: GET and HEAD always, POST only on these paths."""

    paths: list[RootedPath] = Field(default_factory=list)
    body_limit_bytes: Size = _I.body_limit_bytes
    slots: Annotated[int, Field(ge=1, le=65_536)] = _I.slots
    held_bytes: Size = _I.held_bytes


class RecordModel(Section):
    """What reaches Postgres."""

    bodies: Literal["off", "full"] = "off"
    body_cap_bytes: Size = _R.body_cap_bytes
    keep_days: Annotated[int, Field(ge=1, le=3_650)] = _R.keep_days
    request_headers: list[Text] = Field(default_factory=lambda: list(_R.request_headers))
    response_headers: list[Text] = Field(default_factory=lambda: list(_R.response_headers))


class DeadlinesModel(Section):
    """`answer` runs from the exchange's start and includes `connect`; left out it is 60s, or 600s for kind llm."""

    connect: Duration = Deadlines().connect_s
    answer: Duration | None = None
    idle: Duration = Deadlines().idle_s


ErrorShare = Annotated[float, Field(ge=0, le=1)]
MOST_METRICS = 16
MOST_CLASSES = 15


class MetricModel(Section):
    """A value that is read from each answer and compared; what is left out follows from `kind`."""

    from_: ValueSource = Field(alias="from")
    kind: Literal["rate", "mean", "cost", "quality"]
    better: Literal["lower", "higher"] | None = None
    cap: Positive | None = Field(default=None, description="the largest value there can be")
    absent: Literal["bad", "good"] | None = Field(default=None, description="what an answer without the value counts as")
    rollback: Margin | None = Field(default=None, description="what is tolerated")
    promote: MarginOrOff | None = Field(default=None, description="the worst still called harmless; off: guarded only")
    share: ErrorShare | None = Field(default=None, description="of the rollback error budget; 0: never rolls back")
    unit: Text | None = None


class PreferenceModel(Section):
    """The two answers of a pair compared by one value: win, tie or loss; margins are net losses."""

    prefer: ValueSource
    better: Literal["lower", "higher"] = "higher"
    rollback: NetLoss = 0.01
    promote: NetLossOrOff = 0.05
    share: ErrorShare | None = None


class ClassesModel(Section):
    """Task classes: a request belongs to the one that this header names, or else to none."""

    header: Text
    names: Annotated[list[Name], Field(min_length=1, max_length=MOST_CLASSES)]


class RouteModel(Section):
    """A named entry that clients call."""

    match: MatchModel = MatchModel()
    kind: Literal["http", "llm"] = "http"
    unit: Unit = Field(default_factory=UnitSpec)
    metrics: Annotated[dict[MetricName, MetricModel], Field(max_length=MOST_METRICS)] = Field(default_factory=dict)
    preference: PreferenceModel | None = None
    classes: ClassesModel | None = None
    diversity: TextSource | None = Field(default=None, description="where the answer's text stands; off: not guarded")
    first_byte: bool | None = Field(default=None, description="whether the time to the first byte is guarded")
    versions: Annotated[dict[Name, VersionModel], Field(min_length=1)]
    stable: Text
    mirror: MirrorModel = MirrorModel()
    record: RecordModel = RecordModel()
    deadlines: DeadlinesModel = DeadlinesModel()


class ShadowModel(Section):
    """The shadow before any live traffic; `share: 0%` skips it."""

    share: Share = _S.share_bp
    min_pairs: Annotated[int, Field(ge=0)] = _S.min_pairs


class StageModel(Section):
    """One step of live traffic."""

    weight: Share
    dwell: Duration = Stage(weight_bp=1).dwell_s


class WatchModel(Section):
    """After promotion the old version keeps `holdback` as a control; `for: 0` skips it."""

    for_: Duration = Field(default=_W.for_s, alias="for")
    holdback: Share = _W.holdback_bp


class ErrorMarginModel(Section):
    """`rollback` is tolerated, `promote` is the worst still called harmless; both as `1.5x + 0.1pp` of the stable rate."""

    rollback: Linear = (_M.error.rollback_rho, _M.error.rollback_delta)
    promote: Linear = (_M.error.promote_rho, _M.error.promote_delta)


class P50Model(Section):
    """Relative increase of the median latency; `promote: off` guards on the rollback side only."""

    rollback: Ratio = _M.p50.rollback_d
    promote: RatioOrOff = _M.p50.promote_d


class P95Model(P50Model):
    """The same for the 95 % quantile."""

    rollback: Ratio = _M.p95.rollback_d
    promote: RatioOrOff = _M.p95.promote_d


class P99Model(P50Model):
    """The same for the 99 % quantile."""

    rollback: Ratio = _M.p99.rollback_d
    promote: RatioOrOff = _M.p99.promote_d


class FirstByteModel(P50Model):
    """The same for the 95 % quantile of the time to the first byte, on routes that guard it."""

    rollback: Ratio = _M.first_byte.rollback_d
    promote: RatioOrOff = _M.first_byte.promote_d


class MarginsModel(Section):
    """How much worse is tolerated, and how much is called harmless."""

    error: ErrorMarginModel = ErrorMarginModel()
    p50: P50Model = P50Model()
    p95: P95Model = P95Model()
    p99: P99Model = P99Model()
    first_byte: FirstByteModel = FirstByteModel()


class HarmBudgetModel(Section):
    """The most that a candidate may cost before it is rolled back, over what stable would have cost."""

    failed: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None
    cost: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None


class PlanModel(Section):
    """Shadow, stages, watch, margins and error budget of a rollout."""

    shadow: ShadowModel = ShadowModel()
    stages: Annotated[list[StageModel], Field(min_length=1, max_length=50)] = Field(
        default_factory=lambda: [StageModel(weight=s.weight_bp, dwell=s.dwell_s) for s in _P.stages]
    )
    watch: WatchModel = WatchModel()
    margins: MarginsModel = MarginsModel()
    harm_budget: HarmBudgetModel = HarmBudgetModel()
    limits: dict[Name, LimitValue] = Field(default_factory=dict, description="alerts, by the candidate alone")
    alpha_rollback: Annotated[float, Field(gt=0, le=0.5)] = _P.alpha_rollback
    alpha_promote: Annotated[float, Field(gt=0, le=0.5)] = _P.alpha_promote
    min_profile: Annotated[int, Field(ge=1)] = _P.min_profile
    min_candidate_events: Annotated[int, Field(ge=0, le=1_000)] = _P.min_candidate_events
    warm_up: Duration = _P.warm_up_s
    max_duration: Duration = _P.max_duration_s
    on_timeout: Literal["hold", "roll_back"] = "hold"
    lean_on: Annotated[
        Literal["auto", "pairs", "canary"], Field(description="where evidence against the candidate is looked for")
    ] = _P.lean_on
    class_gates: Annotated[
        bool, Field(description="each task class with enough traffic must pass the promote gates by itself too")
    ] = _P.class_gates


class FileModel(Section):
    """One canary.yaml."""

    listen: Listen = "127.0.0.1:8080"
    admin: AdminModel = AdminModel()
    sidecar: SidecarModel = SidecarModel()
    database: Database = "embedded"
    state_dir: Text = ".canary"
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    limits: LimitsModel = LimitsModel()
    answer_headers: AnswerHeadersModel = AnswerHeadersModel()
    force_key: Secret | None = Field(default=None, description="signs the header that forces an arm")
    routes: Annotated[dict[Name, RouteModel], Field(min_length=1)]
    plans: dict[Name, PlanModel] = Field(default_factory=dict)


# Keys of later features, by the section that will hold them: refused with their own words, never ignored.
NOT_YET: dict[type[Section], dict[str, str]] = {
    VersionModel: {"policy": "routing policies as versions"},
    MirrorModel: {"budget_usd_per_day": "a budget for the shadow"},
    PlanModel: {
        "guardrails": "a choice of guardrails (errors and latency are always guarded)",
        "approve": "stages that wait for a person",
    },
}
NOT_YET_VALUES: dict[tuple[type[Section], str, str], str] = {
    (RecordModel, "bodies", "redacted"): "redacted bodies (off and full are)"
}

__all__ = ["NOT_YET", "NOT_YET_VALUES", "FileModel", "PlanModel", "RouteModel", "SecretRef", "Section", "VersionModel"]
