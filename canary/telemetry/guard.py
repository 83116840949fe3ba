"""`guarded(operation)`: the one place where any exception is caught, around extra work only, never around the answer."""

import logging
import time
from collections import Counter
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

from canary.errors import CanaryError

FAILURES: Final[Counter[str]] = Counter()
"""Failures by operation since the process began; exported as canary_guarded_failures_total."""

_LOG: Final = logging.getLogger("canary.guard")
_QUIET_S: Final = 10.0
_LINE: Final = 200
_said: dict[str, tuple[float, int]] = {}


class guarded:  # noqa: N801 - reads as a verb: `with guarded("fold counters"):`
    """Runs extra work so that its failure is counted and logged (at most every 10 s an operation) and goes no further.

    `failed` is the exception afterwards, or None. CancelledError, KeyboardInterrupt and SystemExit pass.
    """

    __slots__ = ("_operation", "failed")

    def __init__(self, operation: str) -> None:
        self._operation = operation
        self.failed: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        self.failed = error
        FAILURES[self._operation] += 1
        _say(self._operation, error)
        return True


def in_short(error: Exception) -> str:
    """An error in one line, for pages: our own in their words; others by kind and place, as their texts may quote data."""
    kind = type(error).__name__
    if isinstance(error, CanaryError):
        return f"{kind}: {error}"[:_LINE]
    if isinstance(error, TimeoutError):
        return f"{kind}: it takes too long"
    return f"{kind} at {_place_of(error)}; the log has the details"


def _place_of(error: Exception) -> str:
    """Module, line and function of ours that it came from, or the last ones of anybody's."""
    places = [(str(trace.tb_frame.f_globals.get("__name__", "")), trace) for trace in _traces(error.__traceback__)]
    ours = [(module, trace) for module, trace in places if module.startswith("canary.")]
    for module, trace in (ours or places)[-1:]:
        return f"{module}:{trace.tb_lineno} ({trace.tb_frame.f_code.co_name})"
    return "an unknown place"


def _traces(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _say(operation: str, error: Exception) -> None:
    now = time.monotonic()
    last, unsaid = _said.get(operation, (float("-inf"), 0))
    if now - last < _QUIET_S:
        _said[operation] = (last, unsaid + 1)
        return
    _said[operation] = (now, 0)
    _LOG.error(
        "extra work failed",
        exc_info=(type(error), error, error.__traceback__),
        extra={"operation": operation, "failures": FAILURES[operation], "unsaid": unsaid},
    )
