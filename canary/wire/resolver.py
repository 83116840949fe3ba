"""Names to addresses: resolved per connect, cached 30 s, stale where the resolver fails or is silent."""

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable
from typing import Final

TTL_S: Final = 30.0
PATIENCE_S: Final = 0.25
"""What a connect waits for a fresh address where an old one is known; the question goes on behind it."""
AGAIN_S: Final = 5.0
"""After an error or a silence an old address is good for this long again."""


class Resolver:
    """One cache for all upstreams of a loop; of each name one question at a time is under way."""

    def __init__(self, loop: asyncio.AbstractEventLoop, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._loop = loop
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, list[str]]] = {}
        self._asking: dict[str, asyncio.Task[list[str]]] = {}

    async def resolve(self, host: str, port: int) -> list[str]:
        """Addresses in the resolver's order; raises OSError where none was ever known."""
        try:
            ipaddress.ip_address(host)
            return [host]
        except ValueError:
            pass
        known = self._known.get(host)
        if known is not None and known[0] > self._monotonic():
            return known[1]
        asking = self._asking.get(host)
        if asking is None:
            asking = self._asking[host] = self._loop.create_task(self._ask(host, port))
        if known is None:
            return await asyncio.shield(asking)
        await asyncio.wait([asking], timeout=PATIENCE_S)
        if not asking.done():
            self._known[host] = (self._monotonic() + AGAIN_S, known[1])
        return self._known[host][1]

    async def _ask(self, host: str, port: int) -> list[str]:
        try:
            found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            known = self._known.get(host)
            if known is None:
                raise
            addresses, for_s = known[1], AGAIN_S
        else:
            addresses, for_s = list(dict.fromkeys(str(entry[4][0]) for entry in found)), TTL_S
        finally:
            del self._asking[host]
        self._known[host] = (self._monotonic() + for_s, addresses)
        return addresses
