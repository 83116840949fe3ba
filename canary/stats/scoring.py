"""What is counted for a rollout, fixed when its profile is frozen: metrics, ages, thresholds, bets' alternatives."""

from canary.terms import Frozen


class Scoring(Frozen, frozen=True, kw_only=True):
    """The frozen scoring of one rollout."""


class Fact(Frozen, frozen=True, kw_only=True):
    """What one ended answer was, as far as scores need it."""

    age_us: int  # start -> end
    latency_us: int  # written -> end; -1 where nothing was written
    failed: bool
    left: bool  # the client went first
