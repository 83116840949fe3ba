"""Makers of configurations, rows and batches for the store: say only what a test is about."""

import itertools
import time
from typing import Any
from uuid import UUID

from canary.config.document import Config
from canary.rollout.state import Decision, DecisionRow
from canary.split.spec import MatchSpec, RouteSpec, VersionSpec
from canary.store.rows import OutcomeRow, PairRow, RecordBatch
from canary.terms import Action, Arm, AssignedBy, Ending, Fault, Lane, Phase
from tests.support.rollouts import T0, a_plan

START_US = 1_760_000_000_000_000
_numbers = itertools.count(1)


def an_exchange_id(number: int | None = None) -> bytes:
    """16 bytes in the order of their numbers, as real ids are in the order of time."""
    number = next(_numbers) if number is None else number
    return (START_US // 1000).to_bytes(6, "big") + b"\x70\x00\x80\x00" + number.to_bytes(6, "big")


def hex_of(exchange_id: bytes) -> str:
    """As people see it."""
    return UUID(bytes=exchange_id).hex


def a_version(name: str = "v1", **fields: Any) -> VersionSpec:
    """A version whose hash follows from its name."""
    return VersionSpec(**({"name": name, "hash": f"hash-{name}", "upstream": f"http://127.0.0.1:9/{name}"} | fields))


def a_route(name: str = "chat", *, versions: tuple[VersionSpec, ...] | None = None, **fields: Any) -> RouteSpec:
    """A route with v1 and v2, v1 in charge."""
    usual = {"match": MatchSpec(), "versions": versions or (a_version("v1"), a_version("v2")), "stable": "v1"}
    return RouteSpec(name=name, **(usual | fields))


def a_config(*routes: RouteSpec, **fields: Any) -> Config:
    """Route chat with plan careful, where nothing else is said."""
    return Config(**({"routes": routes or (a_route(),), "plans": (a_plan(),)} | fields))


def a_decision(id_: str = "d1", *, rollout: str = "r1", action: Action = Action.ADVANCE, **fields: Any) -> DecisionRow:
    """A decision of the controller at T0."""
    usual: dict[str, Any] = {
        "id": id_,
        "rollout": rollout,
        "revision": 0,
        "decision": Decision(action=action, because="all gates pass"),
        "phase": Phase.CANARYING,
        "actor": "controller",
        "at": T0,
        "epoch": 1,
        "plan_hash": "plan",
    }
    return DecisionRow(**(usual | fields))


def an_outcome_row(exchange_id: bytes | None = None, **fields: Any) -> OutcomeRow:
    """A good answer of stable under rollout r1."""
    usual: dict[str, Any] = {
        "exchange_id": exchange_id or an_exchange_id(),
        "start_at_us": START_US,
        "segment": 7,
        "stratum": 0,
        "bucket": 1234,
        "weight_bp": 500,
        "status": 200,
        "failed": False,
        "connect_us": 90,
        "written_us": 120,
        "first_byte_us": 5_000,
        "latency_us": 6_000,
        "end_us": 6_120,
        "attempts": 1,
        "request_bytes": 10,
        "response_bytes": 20,
        "route": "chat",
        "rollout": "r1",
        "lane": Lane.LIVE,
        "arm": Arm.STABLE,
        "version": "v1",
        "assigned_by": AssignedBy.HASH,
        "method": "GET",
        "ending": Ending.WHOLE,
        "fault": Fault.NONE,
        "path": "/v1/models",
    }
    return OutcomeRow(**(usual | fields))


def a_pair_row(exchange_id: bytes | None = None, **fields: Any) -> PairRow:
    """A pair whose sides agree."""
    sides: dict[str, Any] = {}
    for lane, version in (("live", "v1"), ("shadow", "v2")):
        sides |= {f"{lane}_status": 200, f"{lane}_failed": False, f"{lane}_latency_us": 6_000, f"{lane}_ttfb_us": 5_000}
        sides |= {f"{lane}_end_us": 6_120, f"{lane}_bytes": 20, f"{lane}_version": version, f"{lane}_ending": Ending.WHOLE}
    usual: dict[str, Any] = {
        "exchange_id": exchange_id or an_exchange_id(),
        "start_at_us": START_US,
        "segment": 7,
        "same_status": True,
        "same_body": None,
        "lost": False,
        "route": "chat",
        "rollout": "r1",
    }
    return PairRow(**(usual | sides | fields))


def a_batch(seen: int = 0, offset: int = 100, **fields: Any) -> RecordBatch:
    """A batch of journal j1 with no rows."""
    usual: dict[str, Any] = {"journal": "j1", "sidecar": "s1", "seen": seen, "offset": offset, "tick_at_us": START_US}
    return RecordBatch(**(usual | fields))


def this_hour() -> int:
    """Hours since 1970."""
    return int(time.time() // 3600)
