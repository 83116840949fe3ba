"""A rollout whose looks fail: what is said of it to people."""

from datetime import datetime

from msgspec.structs import replace

from canary.rollout.state import RolloutState, Trouble
from canary.stats.evidence import Alert, Evidence


def troubled(state: RolloutState, error: str, now: datetime) -> RolloutState:
    """The rollout with a failed look told on it, one revision on; the same value where that stands there already."""
    since = state.trouble.since if state.trouble is not None else now
    return _with(state, Trouble(since=since, error=error))


def untroubled(state: RolloutState) -> RolloutState:
    """The rollout after a look that succeeded, one revision on; the same value where none had failed."""
    return _with(state, None)


def alerts_of(state: RolloutState, evidence: Evidence | None, *, unseen: str = "") -> tuple[Alert, ...]:
    """Every alert that people should see, the gravest first. `unseen`: why this very look shows no evidence."""
    found = []
    if state.trouble is not None:
        since, error = state.trouble.since, state.trouble.error
        because = (
            f"every look of the controller since {since:%Y-%m-%d %H:%M:%S} UTC has failed ({error}):"
            " until one succeeds nothing moves here and no guardrail is watched; orders are taken, so roll back where in doubt"
        )
        found.append(Alert(name="trouble", because=because))
    if unseen:
        found.append(Alert(name="unseen", because=f"the numbers cannot be shown: looking at them failed ({unseen})"))
    return (*found, *(evidence.alerts if evidence is not None else ()))


def _with(state: RolloutState, trouble: Trouble | None) -> RolloutState:
    return state if state.trouble == trouble else replace(state, trouble=trouble, revision=state.revision + 1)
