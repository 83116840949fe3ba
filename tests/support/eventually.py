"""Waiting for what must come true, with a deadline and a name for what was waited for."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T], *, what: str, within_s: float = 20.0, every_s: float = 0.02) -> T:
    """The first truthy value of `look`; fails after `within_s` with the name of what never came."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within_s:g} s in vain for: {what}")
        time.sleep(every_s)
    return found
