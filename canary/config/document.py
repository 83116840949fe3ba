"""The checked configuration: what is published to all, and what is this machine's own."""

import hashlib

import msgspec

from canary.rollout.plan import Plan
from canary.split.spec import Answering, Limits, RouteSpec, SecretRef
from canary.terms import Frozen


class Config(Frozen, frozen=True, kw_only=True):
    """What is published as a numbered revision: equal on every machine. Holds references to secrets, never secrets."""

    routes: tuple[RouteSpec, ...]  # without `split`: that is made from the rollouts' states
    plans: tuple[Plan, ...]
    limits: Limits = Limits()
    answering: Answering = Answering()
    force_key: SecretRef | None = None
    spool_max_bytes: int = 2_147_483_648

    @property
    def hash(self) -> str:
        """Hex digest over the canonical JSON of all fields."""
        return hashlib.blake2b(msgspec.json.encode(self, order="sorted"), digest_size=16).hexdigest()

    def route(self, name: str) -> RouteSpec | None:
        """The route of that name, or None."""
        return next((r for r in self.routes if r.name == name), None)

    def plan(self, name: str) -> Plan | None:
        """The plan of that name, or None."""
        return next((p for p in self.plans if p.name == name), None)


class Local(Frozen, frozen=True, kw_only=True):
    """This machine's own settings: never published."""

    listen: str = "127.0.0.1:8080"
    admin_listen: str = "127.0.0.1:8081"  # controller: API, console
    sidecar_listen: str = "127.0.0.1:8082"  # courier: health, metrics, local rollback
    blind_after_s: float = 600.0  # a canary that nobody could judge for so long goes to stable here; 0: it stays
    admin_token: SecretRef | None = None  # needed where admin or sidecar listens off loopback
    database: str = "embedded"  # or postgresql://...; DATABASE_URL wins
    state_dir: str = ".canary"  # relative to the config file
    workers: int = 1


class ConfigFile(Frozen, frozen=True, kw_only=True):
    """One parsed canary.yaml."""

    local: Local
    config: Config
    warnings: tuple[str, ...] = ()  # `path:line:column: text` of what is allowed and was probably not meant
