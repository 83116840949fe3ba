"""Waiting longer after each failure, and a wait that an event ends."""

import asyncio
from typing import Final

FIRST_S: Final = 0.1
LONGEST_S: Final = 10.0


class BackOff:
    """Pauses of 0.1 s, doubling to 10 s."""

    def __init__(self) -> None:
        self.failures = 0

    def reset(self) -> None:
        """The next failure is a first one again."""
        self.failures = 0

    def next_s(self) -> float:
        """Seconds to wait after one more failure."""
        self.failures += 1
        return float(min(LONGEST_S, FIRST_S * 2 ** min(self.failures - 1, 10)))


async def wait(event: asyncio.Event, timeout_s: float) -> bool:
    """True as soon as the event is set, False after `timeout_s`."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
