"""One coarse clock tick for all deadlines of a loop: no timer is ever made for a request."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

INTERVAL_S: Final = 0.1


class Ticker:
    """Calls everyone each 100 ms with the monotonic seconds; `now` is the last tick's, cheap to read and coarse."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = time.monotonic()
        self._loop = loop
        self._listeners: list[Callable[[float], None]] = []
        self._handle: asyncio.TimerHandle | None = None

    def add(self, listener: Callable[[float], None]) -> None:
        """Calls `listener` at each tick from now on."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Begins to tick."""
        self._handle = self._loop.call_later(INTERVAL_S, self._tick)

    def stop(self) -> None:
        """Ends ticking."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _tick(self) -> None:
        self._handle = self._loop.call_later(INTERVAL_S, self._tick)
        self.now = now = time.monotonic()
        for listener in self._listeners:
            listener(now)
