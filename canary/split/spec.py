"""What a route is, as the data plane reads it: frozen, hashed, free of secrets."""

from canary.terms import Frozen, Measures, RouteKind, UnitSource


class SecretRef(Frozen, frozen=True, kw_only=True):
    """Where a secret is found; resolved in the worker only. Exactly one of the two is set."""

    env: str = ""
    file: str = ""


class HeaderRule(Frozen, frozen=True, kw_only=True):
    """One header set on the way to an upstream: a plain value, or a secret; both empty removes the header."""

    name: str
    value: str = ""
    secret: SecretRef | None = None


class VersionSpec(Frozen, frozen=True, kw_only=True):
    """An immutable definition of what a route does; `hash` covers the parsed definition with its build."""

    name: str
    hash: str
    upstream: str  # http://host:port[/base] or https://...; no credentials in it
    build: str = ""
    build_header: str = ""
    set_model: str = ""  # replaces the JSON body's "model" field
    strip_prefix: str = ""  # taken off the path first, then `upstream`'s own path is put before it
    headers: tuple[HeaderRule, ...] = ()
    forward_credentials: bool = False  # a candidate gets the client's credentials only where this says so
    ca_file: str = ""  # trust anchors for https; empty: the system's
    verify: bool = True


class MatchSpec(Frozen, frozen=True, kw_only=True):
    """Which requests are a route's: all given conditions must hold; empty means any."""

    hosts: tuple[str, ...] = ()
    path_prefix: str = "/"
    headers: tuple[tuple[str, str], ...] = ()  # name (lower case), exact value


class UnitSpec(Frozen, frozen=True, kw_only=True):
    """What is assigned and stays put."""

    source: UnitSource = UnitSource.REQUEST
    name: str = ""  # of the header (lower case) or cookie


class MirrorSpec(Frozen, frozen=True, kw_only=True):
    """What may be copied to a shadow."""

    paths: tuple[str, ...] = ()  # exact paths on which POST is copied too
    body_limit_bytes: int = 1_048_576
    slots: int = 512
    held_bytes: int = 67_108_864


class RecordSpec(Frozen, frozen=True, kw_only=True):
    """What reaches Postgres."""

    bodies: str = "off"  # off | full
    body_cap_bytes: int = 65_536  # of each captured body
    keep_days: int = 14
    request_headers: tuple[str, ...] = ("content-type", "user-agent", "accept", "x-stainless-retry-count")
    response_headers: tuple[str, ...] = ("content-type", "content-length", "retry-after", "server", "x-request-id")


class Deadlines(Frozen, frozen=True, kw_only=True):
    """Deadlines in seconds. `answer_s` runs from the exchange's start and includes connect."""

    connect_s: float = 3.0
    answer_s: float = 60.0
    idle_s: float = 120.0


class Split(Frozen, frozen=True, kw_only=True):
    """How a rollout divides a route's traffic now. Absent where there is none."""

    rollout: str
    segment: int
    salt: bytes  # 16 bytes; base64 in JSON
    candidate: str  # version name
    weight_bp: int  # share of live traffic for the candidate
    shadow_bp: int  # share of the stable arm's requests copied to the candidate


class RouteSpec(Frozen, frozen=True, kw_only=True):
    """One route with everything that serving it needs."""

    name: str
    match: MatchSpec
    versions: tuple[VersionSpec, ...]
    stable: str
    kind: RouteKind = RouteKind.HTTP
    unit: UnitSpec = UnitSpec()
    mirror: MirrorSpec = MirrorSpec()
    record: RecordSpec = RecordSpec()
    deadlines: Deadlines = Deadlines()
    measures: Measures = Measures()
    class_header: str = ""  # request header (lower case) that names the task class: one of `measures.classes`
    split: Split | None = None

    @property
    def captures_answers(self) -> bool:
        """Whether answers' bodies are captured: to be kept, or only to be read."""
        return self.record.bodies != "off" or self.kind is RouteKind.LLM or self.measures.read_bodies

    def version(self, name: str) -> VersionSpec:
        """The version of that name; KeyError if the route has none."""
        for version in self.versions:
            if version.name == name:
                return version
        raise KeyError(name)


class Limits(Frozen, frozen=True, kw_only=True):
    """What the data port accepts; past it a request is refused with 413, 431 or 503."""

    head_bytes: int = 65_536
    headers: int = 128
    buffered_body_bytes: int = 1_048_576  # larger or endless bodies stream through unmirrored
    body_bytes: int = 268_435_456
    connections: int = 4_096
    head_s: float = 10.0
    body_idle_s: float = 30.0
    keep_alive_s: float = 75.0
    drain_s: float = 30.0


class Answering(Frozen, frozen=True, kw_only=True):
    """Which x-canary-* headers are added to answers."""

    id: bool = True
    route: bool = True
    version: bool = False  # these two tell users their arm
    arm: bool = False
