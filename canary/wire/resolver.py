"""Names to addresses: resolved per connect, cached 30 s, stale where the resolver fails."""

import asyncio
import ipaddress
import socket
import time
from typing import Final

TTL_S: Final = 30.0


class Resolver:
    """One cache for all upstreams of a loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._known: dict[str, tuple[float, list[str]]] = {}

    async def resolve(self, host: str, port: int) -> list[str]:
        """Addresses in the resolver's order; raises OSError where none was ever known."""
        try:
            ipaddress.ip_address(host)
            return [host]
        except ValueError:
            pass
        now = time.monotonic()
        known = self._known.get(host)
        if known is not None and known[0] > now:
            return known[1]
        try:
            found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            if known is None:
                raise
            return known[1]
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        self._known[host] = (now + TTL_S, addresses)
        return addresses
