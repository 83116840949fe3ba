"""The demonstration's plan: small samples, wide margins, said aloud before anything starts."""

from dataclasses import dataclass
from typing import Final

from canary.config.units import format_seconds, format_share
from canary.rollout.plan import Margins, MarginSpec, Plan, ShadowStage, Stage, Watch

RATE: Final = 350.0
"""Requests a second; the trace makes it 330 to 360 in any one second."""
ANSWER_S: Final = 2.0
CONNECT_S: Final = ANSWER_S
"""On a busy machine even loopback takes its time, and a candidate's pool is cold when its first copies go out."""
BREAKS_AFTER_S: Final = 2.0
"""After its first stage opened, the third candidate begins to fail."""
ROUTE: Final = "chat"
PLAN_NAME: Final = "demo"

PLAN: Final = Plan(
    name=PLAN_NAME,
    shadow=ShadowStage(share_bp=2_850, min_pairs=400),
    stages=(Stage(weight_bp=2_000, dwell_s=5.0), Stage(weight_bp=5_000, dwell_s=5.0)),
    watch=Watch(for_s=0.0, holdback_bp=500),
    margins=Margins(
        error=MarginSpec(rollback_rho=1.10, rollback_delta=0.0005, promote_rho=2.0, promote_delta=0.03),
        p50=MarginSpec(rollback_d=0.03, promote_d=0.5),
        p95=MarginSpec(rollback_d=0.05, promote_d=1.0),
        p99=MarginSpec(rollback_d=0.10, promote_d=None),
    ),
    alpha_rollback=0.005,
    alpha_promote=0.05,
    min_profile=1_500,
    warm_up_s=0.0,
    max_duration_s=300.0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One act of the story."""

    version: str
    says: str  # what is on trial, for people
    kind: str  # of canary.demo.models
    breaks: bool = False
    ends: str  # the phase that it must end in
    in_phase: str = ""  # where a rollback must happen


CANDIDATES: Final = (
    Candidate(version="v2", says="as good as v1", kind="good", ends="done"),
    Candidate(version="v3", says="fails 8 %, tail twice as slow", kind="bad", ends="rolled_back", in_phase="shadow"),
    Candidate(
        version="v4", says="breaks under way: errors .5 -> 15 %", kind="good", breaks=True, ends="rolled_back", in_phase="live"
    ),
)
STABLE: Final = "v1"


def config_text(*, data_port: int, admin_port: int, sidecar_port: int, upstreams: dict[str, int]) -> str:
    """The canary.yaml of the demonstration; `upstreams` holds the port of each version's model server."""
    versions = "\n".join(
        f'      {name}: {{upstream: "http://127.0.0.1:{port}", build: demo-{name}}}' for name, port in upstreams.items()
    )
    return f"""\
listen: 127.0.0.1:{data_port}
admin: {{listen: "127.0.0.1:{admin_port}"}}
sidecar: {{listen: "127.0.0.1:{sidecar_port}"}}
database: embedded
state_dir: state
answer_headers: {{version: true, arm: true}}   # so that the demonstration can count who was harmed by whom
limits: {{drain: 3s}}
routes:
  {ROUTE}:
    match: {{path_prefix: /v1/}}
    kind: llm
    versions:
{versions}
    stable: {STABLE}
    mirror: {{paths: [/v1/chat/completions]}}
    record: {{bodies: full, keep_days: 1}}
    diversity: off      # values are settled by whole minutes, longer than a stage lasts here
    first_byte: false
    deadlines: {{connect: {format_seconds(CONNECT_S)}, answer: {format_seconds(ANSWER_S)}, idle: {format_seconds(ANSWER_S)}}}
plans:
{plan_text(PLAN)}"""


def plan_text(plan: Plan) -> str:
    """A plan as canary.yaml writes it."""
    stages = ", ".join(f"{{weight: {format_share(s.weight_bp)}, dwell: {format_seconds(s.dwell_s)}}}" for s in plan.stages)
    error = plan.margins.error
    lines = [
        f"  {plan.name}:",
        f"    shadow: {{share: {format_share(plan.shadow.share_bp)}, min_pairs: {plan.shadow.min_pairs}}}",
        f"    stages: [{stages}]",
        f"    watch: {{for: {format_seconds(plan.watch.for_s)}, holdback: {format_share(plan.watch.holdback_bp)}}}",
        "    margins:",
        (
            f"      error: {{rollback: {_linear(error.rollback_rho, error.rollback_delta)},"
            f" promote: {_linear(error.promote_rho, error.promote_delta)}}}"
        ),
        *(f"      {name}: {_relative(spec)}" for name, spec in _latencies(plan.margins)),
        f"    alpha_rollback: {plan.alpha_rollback}",
        f"    alpha_promote: {plan.alpha_promote}",
        f"    min_profile: {plan.min_profile}",
        f"    warm_up: {format_seconds(plan.warm_up_s)}",
        f"    max_duration: {format_seconds(plan.max_duration_s)}",
    ]
    return "\n".join(lines) + "\n"


def opening(plan: Plan = PLAN) -> list[str]:
    """What is said before anything starts."""
    error = plan.margins.error
    stages = ", ".join(f"{format_share(s.weight_bp)} for at least {format_seconds(s.dwell_s)}" for s in plan.stages)
    pairs_per_s = RATE * plan.shadow.share_bp / 10_000
    return [
        f"Plan `{plan.name}`: small samples and wide margins, so that it ends in a minute or two. Not for production.",
        f"  traffic    {RATE:.0f} requests a second, arrivals and lengths from a recorded trace; deadline {ANSWER_S:.0f} s",
        f"  profile    {plan.min_profile:,} answers of stable, then its thresholds are frozen",
        (
            f"  shadow     {format_share(plan.shadow.share_bp)} of requests copied, about {pairs_per_s:.0f} pairs a second,"
            f" {plan.shadow.min_pairs} pairs needed"
        ),
        f"  stages     {stages}; no warm-up, no watch afterwards",
        (
            f"  roll back  errors over {_linear(error.rollback_rho, error.rollback_delta)}, p50 / p95 / p99 over"
            f" +{plan.margins.p50.rollback_d:.0%} / +{plan.margins.p95.rollback_d:.0%} / +{plan.margins.p99.rollback_d:.0%},"
            f" proven at {plan.alpha_rollback}"
        ),
        (
            f"  promote    errors within {_linear(error.promote_rho, error.promote_delta)}, p50 within"
            f" +{plan.margins.p50.promote_d or 0:.0%}, p95 within +{plan.margins.p95.promote_d or 0:.0%},"
            f" proven at {plan.alpha_promote}"
        ),
    ]


def _latencies(margins: Margins) -> tuple[tuple[str, MarginSpec], ...]:
    return (("p50", margins.p50), ("p95", margins.p95), ("p99", margins.p99))


def _relative(spec: MarginSpec) -> str:
    promote = "off" if spec.promote_d is None else f"{spec.promote_d * 100:g}%"
    return f"{{rollback: {spec.rollback_d * 100:g}%, promote: {promote}}}"


def _linear(rho: float, delta: float) -> str:
    return f"{rho:g}x + {delta * 100:g}pp"
