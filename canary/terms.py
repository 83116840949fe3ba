"""The glossary in code: the closed sets that more than one room speaks of."""

from enum import StrEnum
from typing import Final

import msgspec

BUCKETS: Final = 10_000
"""Number of hash slots; a weight of 1 basis point is one slot."""

UNSCORED: Final = 0
"""Segment of every exchange that the coin did not assign: recorded, never counted."""


class Frozen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of the values that are stored as JSON: whole when made, never changed."""


class Arm(StrEnum):
    """Which side of a rollout an exchange belongs to, as the statistics see it."""

    STABLE = "stable"
    CANDIDATE = "candidate"


class Lane(StrEnum):
    """`live`: the client gets the answer; `shadow`: it is measured and thrown away."""

    LIVE = "live"
    SHADOW = "shadow"


class Ending(StrEnum):
    """How an answer ended. Only `whole` reached its end; `lost` is written for a worker that died."""

    WHOLE = "whole"
    CUT = "cut"  # the upstream died or broke framing after the head was passed on
    RESET = "reset"  # the connection died before a head came
    REFUSED = "refused"  # no connection could be made
    TIMEOUT = "timeout"  # a deadline passed (connect, answer or idle)
    MALFORMED = "malformed"  # what came is not an HTTP answer
    CLIENT_LEFT = "client_left"  # the client closed first
    REJECTED = "rejected"  # answered by canary itself: limits, bad request, no route
    LOST = "lost"  # nothing more is known


class Fault(StrEnum):
    """Whose failure it was; for people. The statistics count failures whatever the fault."""

    NONE = "none"
    CLIENT = "client"
    UPSTREAM = "upstream"
    OWN = "own"


class AssignedBy(StrEnum):
    """What put an exchange on its arm. Only `hash` and `fresh` are coins; all others have segment 0."""

    HASH = "hash"  # bucket of salt and unit
    FRESH = "fresh"  # the unit was missing or too long: a coin of its own, in segment 0 for sticky routes
    DEFAULT = "default"  # no rollout on the route
    FORCED = "forced"  # signed header or cookie
    INELIGIBLE = "ineligible"  # upgrade, or a body that the version cannot rewrite
    OVERLAY = "overlay"  # local order at the sidecar


class MirrorDrop(StrEnum):
    """Why a request was not copied to the shadow. Copies are dropped only before they are sent."""

    NONE = ""
    SHARE = "share"  # outside the configured share
    METHOD = "method"  # not GET or HEAD, and the path is not named for it
    BODY = "body_too_large"
    SLOTS = "slots"  # too many copies in flight
    BYTES = "bytes"  # too many bytes held
    DOWN = "shadow_down"  # a connect was refused a moment ago
    UPGRADE = "upgrade"
    SPOOL = "spool"  # the journal is at its bound
    DRAINING = "draining"


class Phase(StrEnum):
    """Where a rollout stands."""

    PENDING = "pending"
    SHADOWING = "shadowing"
    CANARYING = "canarying"
    WATCHING = "watching"
    DONE = "done"
    ROLLED_BACK = "rolled_back"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """True where no action leads anywhere any more."""
        return self in {Phase.DONE, Phase.ROLLED_BACK, Phase.CANCELLED}


class Action(StrEnum):
    """What a decision does to a rollout."""

    CREATE = "create"
    START = "start"  # profile frozen: pending -> shadowing or canarying
    OPEN = "open"  # the stage's own segment opens after warm-up
    ADVANCE = "advance"  # next stage, or shadowing -> canarying
    PROMOTE = "promote"  # candidate is in charge: -> watching, or done without a watch
    FINISH = "finish"  # watching -> done
    HOLD = "hold"  # a person pauses; weight stays, guardrails stay
    RESUME = "resume"
    ROLL_BACK = "roll_back"
    CANCEL = "cancel"
    KEEP = "keep"  # nothing to do now, with the reason


class Verdict(StrEnum):
    """A gate's word."""

    PASS = "pass"  # noqa: S105 - a verdict, not a secret
    FAIL = "fail"
    UNDECIDED = "undecided"


class UnitSource(StrEnum):
    """What stays on its arm."""

    REQUEST = "request"
    HEADER = "header"
    COOKIE = "cookie"


class RouteKind(StrEnum):
    """Which facts are read from a route's answers."""

    HTTP = "http"
    LLM = "llm"


class Scored(StrEnum):
    """What a segment's starts count for."""

    ALL = "all"
    FAILURES = "failures"  # warm-up: only the error metrics
    NONE = "none"


class MetricKind(StrEnum):
    """What a declared metric's values are, and so which bets compare them."""

    RATE = "rate"  # yes or no; yes is bad
    MEAN = "mean"  # an amount
    PREFERENCE = "preference"  # an amount of each side of a pair, of which only the order counts: win, tie, loss


class Better(StrEnum):
    """Which way a metric's values improve."""

    LOWER = "lower"
    HIGHER = "higher"


class MetricSpec(Frozen, frozen=True, kw_only=True):
    """A metric that reads values beside failures and latency: where they come from and how much worse is harmless.

    The nulls are rho * (stable's) + delta, in the values' own unit, or of `cap` - value where higher is better.
    """

    name: str
    kind: MetricKind
    source: str  # `header:x-cost`, `json:/usage/cost`, `fact:client_error`
    better: Better = Better.LOWER
    cap: float | None = None  # hard bound of the values; always there where higher is better
    absent_is_bad: bool = True  # of rates and of values where higher is better; a missing amount silences its metric
    rollback_rho: float = 1.0
    rollback_delta: float = 0.0
    promote_rho: float = 1.0
    promote_delta: float = 0.0
    promotes: bool = True  # False: guarded on the rollback side only
    share: float = 0.0  # of the rollback error budget, before it is renormalised; 0: alerts and promotes, never rolls back
    unit: str = ""  # for people: "USD", "tokens"


class Measures(Frozen, frozen=True, kw_only=True):
    """What a route measures of its answers beside failures and latency; a rollout keeps it as it was at its creation."""

    metrics: tuple[MetricSpec, ...] = ()
    classes: tuple[str, ...] = ()  # names of strata 1, 2, ...; stratum 0 is every other request
    diversity: str = ""  # source of the answer's text whose variety is guarded; empty: not guarded
    first_byte: bool = False  # whether the time to the first byte is guarded

    @property
    def read_bodies(self) -> bool:
        """Whether anything of it stands in the answers' bodies."""
        return bool(self.diversity) or any(metric.source.startswith("json:") for metric in self.metrics)
