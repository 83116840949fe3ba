"""A route as the data plane serves it: its versions ready to be called, its split ready to toss the coin."""

from collections.abc import Callable, Mapping
from typing import Final

from canary.errors import SnapshotError
from canary.observe.sources import carries_secrets
from canary.proxy.rewrite import Target, origin_of
from canary.proxy.shadow import ShadowSink
from canary.split.assign import Coin
from canary.split.spec import Answering, RouteSpec, VersionSpec
from canary.store.overlay import OverlayOrder
from canary.telemetry.page import RouteCells
from canary.terms import UNSCORED, Arm, UnitSource
from canary.wire.answer import fields_pattern
from canary.wire.origin import Origin
from canary.wire.upstream import Upstream

ALWAYS_RECORDED: Final = ("content-encoding",)
"""Without it a captured body could not be read."""

_STABLE: Final = Arm.STABLE


class Route:
    """Compiled once per snapshot; exchanges under way keep theirs when it is replaced."""

    __slots__ = (
        "adds_id",
        "answer_us",
        "body_cap",
        "candidate",
        "cells",
        "class_header",
        "coin",
        "connect_s",
        "copied_bytes",
        "extra",
        "idle_us",
        "keeps_bodies",
        "mirror_paths",
        "name",
        "order",
        "pattern",
        "request_names",
        "rewrites_body",
        "salt",
        "segment",
        "shadow_bp",
        "sink",
        "stable",
        "strata",
        "unit",
        "unit_name",
        "weight_bp",
    )

    def __init__(
        self,
        spec: RouteSpec,
        *,
        order: OverlayOrder | None,
        cells: RouteCells,
        sink: ShadowSink,
        target: Callable[[VersionSpec, bool], Target],
    ) -> None:
        split = spec.split if spec.split is not None and spec.split.candidate != spec.stable else None
        self.name = spec.name
        self.order = order
        self.coin = Coin(split.salt) if split is not None else None
        self.salt = split.salt if split is not None else b""
        self.segment, self.weight_bp, self.shadow_bp = UNSCORED, 0, 0
        self.stable = target(_version(spec, spec.stable), True)
        self.candidate: Target | None = None
        if split is not None:
            self.segment, self.weight_bp, self.shadow_bp = split.segment, split.weight_bp, split.shadow_bp
            candidate = _version(spec, split.candidate)
            same_origin = origin_of(candidate)[0] == origin_of(_version(spec, spec.stable))[0]
            self.candidate = target(candidate, candidate.forward_credentials or same_origin)
        self.rewrites_body = self.stable.rewrites_body or (self.candidate is not None and self.candidate.rewrites_body)
        self.unit = spec.unit.source
        self.unit_name = spec.unit.name.lower().encode() if spec.unit.source is UnitSource.HEADER else spec.unit.name.encode()
        self.copied_bytes = spec.mirror.body_limit_bytes  # a longer body is not copied
        self.mirror_paths = frozenset(path.encode("latin-1") for path in spec.mirror.paths)
        self.sink = sink
        self.cells = cells
        self.answer_us = int(spec.deadlines.answer_s * 1e6)
        self.idle_us = int(spec.deadlines.idle_s * 1e6)
        self.connect_s = spec.deadlines.connect_s
        record = spec.record
        self.body_cap = record.body_cap_bytes
        self.keeps_bodies = spec.captures_answers
        self.class_header = spec.class_header.encode("latin-1")
        self.strata = (
            {name.encode(): number for number, name in enumerate(spec.measures.classes, 1)} if spec.class_header else {}
        )
        self.request_names = _allowed((*record.request_headers, *ALWAYS_RECORDED))
        answer_names = _allowed((*record.response_headers, *ALWAYS_RECORDED))
        self.pattern = fields_pattern(tuple(answer_names.values()))
        self.extra: dict[str, bytes] = {}
        self.adds_id = False

    def target_of(self, arm: Arm) -> Target:
        """The version that serves an arm."""
        return self.stable if arm is _STABLE or self.candidate is None else self.candidate

    def add_lines(self, answering: Answering) -> None:
        """Prepares the answer lines that are the same for every exchange of an arm."""
        self.adds_id = answering.id
        for arm, target in (("stable", self.stable), ("candidate", self.candidate)):
            if target is not None:
                lines = f"x-canary-route: {self.name}\r\n" if answering.route else ""
                lines += f"x-canary-version: {target.name}\r\n" if answering.version else ""
                lines += f"x-canary-arm: {arm}\r\n" if answering.arm else ""
                self.extra[arm] = lines.encode("latin-1", "replace")


def _version(spec: RouteSpec, name: str) -> VersionSpec:
    try:
        return spec.version(name)
    except KeyError as error:
        raise SnapshotError(f"route {spec.name} has no version {name}") from error


def _allowed(names: tuple[str, ...]) -> dict[bytes, str]:
    """Names that may be written down; never one that carries secrets."""
    lowered = dict.fromkeys(name.lower() for name in names)
    return {name.encode("latin-1"): name for name in lowered if not carries_secrets(name)}


def make_target(
    version: VersionSpec, trusted: bool, *, upstream_of: Callable[[Origin], Upstream], env: Mapping[str, str]
) -> Target:
    """The version with its upstream from the pools in use."""
    return Target(version, upstream_of(origin_of(version)[0]), trusted=trusted, env=env)
