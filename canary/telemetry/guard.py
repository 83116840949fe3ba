"""`guarded(operation)`: the one place where any exception is caught, around extra work only, never around the answer."""

import logging
import time
from collections import Counter
from types import TracebackType
from typing import Final, Self

FAILURES: Final[Counter[str]] = Counter()
"""Failures by operation since the process began; exported as canary_guarded_failures_total."""

_LOG: Final = logging.getLogger("canary.guard")
_QUIET_S: Final = 10.0
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
