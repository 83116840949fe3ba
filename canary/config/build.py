"""From checked models to the values that are hashed and published."""

import hashlib

import msgspec

from canary.config.document import Config, ConfigFile, Local
from canary.config.fields import header_rule
from canary.config.limit_checks import LLM_ANSWER_S
from canary.config.measuring import measured_headers, measures
from canary.config.schema import FileModel, MarginsModel, MatchModel, PlanModel, RouteModel, VersionModel
from canary.rollout.plan import HarmBudget, Margins, MarginSpec, Plan, ShadowStage, Stage, Watch
from canary.split.spec import (
    Answering,
    Deadlines,
    Limits,
    MatchSpec,
    MirrorSpec,
    RecordSpec,
    RouteSpec,
    VersionSpec,
)
from canary.terms import RouteKind

DEFAULT_PLAN = "default"


def build(model: FileModel, *, database: str) -> ConfigFile:
    """The whole file; `database` is what is in force for this machine."""
    local = Local(
        listen=model.listen,
        admin_listen=model.admin.listen,
        sidecar_listen=model.sidecar.listen,
        blind_after_s=model.sidecar.blind_after or 0.0,
        admin_token=model.admin.token,
        database=database,
        state_dir=model.state_dir,
        workers=model.workers,
    )
    plans = [_plan(name, plan) for name, plan in model.plans.items()]
    if not plans:  # a second plan beside the file's own would have to be told apart at each rollout
        plans.append(Plan(name=DEFAULT_PLAN))
    config = Config(
        routes=tuple(_route(name, route) for name, route in sorted(model.routes.items())),
        plans=tuple(sorted(plans, key=lambda plan: plan.name)),
        limits=_limits(model),
        answering=Answering(**model.answer_headers.model_dump()),
        force_key=model.force_key,
        spool_max_bytes=model.limits.spool_max_bytes,
    )
    return ConfigFile(local=local, config=config)


def version_hash(version: VersionSpec) -> str:
    """Hex digest of a version's definition with its build; its name and its own hash are not part of it."""
    bare = msgspec.structs.replace(version, name="", hash="")
    return hashlib.blake2b(msgspec.json.encode(bare, order="sorted"), digest_size=16, person=b"canary-version").hexdigest()


def _limits(model: FileModel) -> Limits:
    given = model.limits
    return Limits(
        head_bytes=given.head_bytes,
        headers=given.headers,
        buffered_body_bytes=given.buffered_body_bytes,
        body_bytes=given.body_bytes,
        connections=given.connections,
        head_s=given.head,
        body_idle_s=given.body_idle,
        keep_alive_s=given.keep_alive,
        drain_s=given.drain,
    )


def _route(name: str, route: RouteModel) -> RouteSpec:
    kind = RouteKind(route.kind)
    measured = measures(route)
    default_answer_s = LLM_ANSWER_S if kind is RouteKind.LLM else Deadlines().answer_s
    return RouteSpec(
        name=name,
        match=_match(route.match),
        versions=tuple(_version(v, definition) for v, definition in sorted(route.versions.items())),
        stable=route.stable,
        kind=kind,
        unit=route.unit,
        mirror=MirrorSpec(
            paths=tuple(route.mirror.paths),
            body_limit_bytes=route.mirror.body_limit_bytes,
            slots=route.mirror.slots,
            held_bytes=route.mirror.held_bytes,
        ),
        record=RecordSpec(
            bodies=route.record.bodies,
            body_cap_bytes=route.record.body_cap_bytes,
            keep_days=route.record.keep_days,
            request_headers=tuple(h.lower() for h in route.record.request_headers),
            response_headers=_recorded(route, measured_headers(measured)),
        ),
        deadlines=Deadlines(
            connect_s=route.deadlines.connect,
            answer_s=default_answer_s if route.deadlines.answer is None else route.deadlines.answer,
            idle_s=route.deadlines.idle,
        ),
        measures=measured,
        class_header=route.classes.header.lower() if route.classes is not None else "",
    )


def _recorded(route: RouteModel, measured: tuple[str, ...]) -> tuple[str, ...]:
    """The answer headers that are written down: those of the file, and behind them what the route's metrics read."""
    named = tuple(h.lower() for h in route.record.response_headers)
    return (*named, *(name for name in measured if name not in named))


def _match(match: MatchModel) -> MatchSpec:
    hosts = [*match.hosts, *([match.host] if match.host else [])]
    return MatchSpec(
        hosts=tuple(sorted({host.lower() for host in hosts})),
        path_prefix=match.path_prefix,
        headers=tuple(sorted((name.lower(), value) for name, value in match.headers.items())),
    )


def _version(name: str, model: VersionModel) -> VersionSpec:
    version = VersionSpec(
        name=name,
        hash="",
        upstream=model.upstream,
        build=model.build,
        build_header=model.build_header.lower(),
        set_model=model.set_model,
        strip_prefix=model.strip_prefix or "",
        headers=tuple(sorted((header_rule(n, v) for n, v in model.headers.items()), key=lambda rule: rule.name)),
        forward_credentials=model.forward_credentials,
        ca_file=model.ca_file,
        verify=model.verify,
    )
    return msgspec.structs.replace(version, hash=version_hash(version))


def _plan(name: str, plan: PlanModel) -> Plan:
    return Plan(
        name=name,
        shadow=ShadowStage(share_bp=plan.shadow.share, min_pairs=plan.shadow.min_pairs),
        stages=tuple(Stage(weight_bp=stage.weight, dwell_s=stage.dwell) for stage in plan.stages),
        watch=Watch(for_s=plan.watch.for_, holdback_bp=plan.watch.holdback),
        margins=_margins(plan.margins),
        harm_budget=HarmBudget(failed=plan.harm_budget.failed, cost=plan.harm_budget.cost),
        limits={name: limit.value for name, limit in sorted(plan.limits.items())},
        alpha_rollback=plan.alpha_rollback,
        alpha_promote=plan.alpha_promote,
        min_profile=plan.min_profile,
        min_candidate_events=plan.min_candidate_events,
        warm_up_s=plan.warm_up,
        max_duration_s=plan.max_duration,
        on_timeout=plan.on_timeout,
        class_gates=plan.class_gates,
        lean_on=plan.lean_on,
    )


def _margins(given: MarginsModel) -> Margins:
    error = given.error
    latency = {
        name: MarginSpec(rollback_d=model.rollback, promote_d=model.promote)
        for name, model in (
            ("p50", given.p50),
            ("p95", given.p95),
            ("p99", given.p99),
            ("first_byte", given.first_byte),
        )
    }
    return Margins(
        error=MarginSpec(
            rollback_rho=error.rollback[0],
            rollback_delta=error.rollback[1],
            promote_rho=error.promote[0],
            promote_delta=error.promote[1],
        ),
        **latency,
    )
