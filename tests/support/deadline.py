"""Waiting in tests: a condition is asked again, ever more slowly, until it holds or its time is up."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

FIRST_PAUSE_S = 0.001
LONGEST_PAUSE_S = 0.05


class TooLate(AssertionError):
    """The condition did not hold within its time."""


def _pauses(within_s: float) -> Iterator[float]:
    """Seconds to pause between two questions, each longer than the last; ends with the time given."""
    give_up_at = time.monotonic() + within_s
    pause_s = FIRST_PAUSE_S
    while (left_s := give_up_at - time.monotonic()) > 0:
        yield min(pause_s, left_s)
        pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)


def _too_late(what: str, within_s: float, last: object) -> TooLate:
    return TooLate(f"waited {within_s:g} s for {what}; last seen: {last!r}")


def wait_for(predicate: Callable[[], T], within_s: float = 10.0, *, what: str = "the condition") -> T:
    """Returns the first true thing that `predicate` says; raises TooLate after `within_s` seconds. For synchronous tests."""
    last = predicate()
    for pause_s in _pauses(within_s):
        if last:
            return last
        time.sleep(pause_s)
        last = predicate()
    if last:
        return last
    raise _too_late(what, within_s, last)


async def wait_until(predicate: Callable[[], T], within_s: float = 10.0, *, what: str = "the condition") -> T:
    """As `wait_for`, and the event loop runs meanwhile."""
    last = predicate()
    for pause_s in _pauses(within_s):
        if last:
            return last
        await asyncio.sleep(pause_s)
        last = predicate()
    if last:
        return last
    raise _too_late(what, within_s, last)


async def wait_for_answer(question: Callable[[], Awaitable[T]], within_s: float = 10.0, *, what: str = "the condition") -> T:
    """As `wait_until`, for a question that is itself awaited."""
    last = await question()
    for pause_s in _pauses(within_s):
        if last:
            return last
        await asyncio.sleep(pause_s)
        last = await question()
    if last:
        return last
    raise _too_late(what, within_s, last)
