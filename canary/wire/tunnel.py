"""After a 101: bytes both ways, blind, with backpressure and an end when either side goes or both are silent."""

import asyncio
from typing import Protocol


class ClientEnd(Protocol):
    """The client's side as the tunnel needs it."""

    def tunnel_write(self, data: bytes) -> None:
        """Sends to the client."""
        ...

    def tunnel_close(self) -> None:
        """Closes after what was sent."""
        ...

    def pause(self) -> None:
        """Stops reading."""
        ...

    def resume(self) -> None:
        """Reads again."""
        ...


class UpstreamEnd(Protocol):
    """The upstream's side as the tunnel needs it."""

    def become_tunnel(self, tunnel: "Tunnel") -> asyncio.Transport:
        """Gives what comes to the tunnel from now on, and the transport with it."""
        ...

    def pause(self) -> None:
        """Stops reading."""
        ...

    def resume(self) -> None:
        """Reads again."""
        ...


class Tunnel:
    """Joins a client's and an upstream's connection."""

    __slots__ = ("_client", "_idle_s", "_touched", "_transport", "_upstream")

    def __init__(self, client: ClientEnd, upstream: UpstreamEnd, *, idle_s: float, now: float) -> None:
        self._client: ClientEnd | None = client
        self._upstream: UpstreamEnd | None = upstream
        self._transport: asyncio.Transport = upstream.become_tunnel(self)
        self._idle_s = idle_s
        self._touched = now

    def touch(self, now: float) -> bool:
        """Called by the ticker; False once nothing came for too long."""
        if self._touched < 0:
            self._touched = now
        return now - self._touched <= self._idle_s

    def from_client(self, data: bytes) -> None:
        """Client to upstream."""
        self._touched = -1.0
        if not self._transport.is_closing():
            self._transport.write(data)

    def from_upstream(self, data: bytes) -> None:
        """Upstream to client."""
        self._touched = -1.0
        if self._client is not None:
            self._client.tunnel_write(data)

    def client_lost(self) -> None:
        """The client went: so does the upstream."""
        self._client = self._upstream = None
        if not self._transport.is_closing():
            self._transport.close()

    def upstream_eof(self) -> bool:
        """The upstream ended its direction: both end after what is buffered."""
        return False

    def upstream_lost(self) -> None:
        """The upstream went: so does the client."""
        client, self._client, self._upstream = self._client, None, None
        if client is not None:
            client.tunnel_close()

    def upstream_full(self) -> None:
        """Backpressure towards the client."""
        if self._client is not None:
            self._client.pause()

    def upstream_drained(self) -> None:
        """Its end."""
        if self._client is not None:
            self._client.resume()

    def client_full(self) -> None:
        """Backpressure towards the upstream."""
        if self._upstream is not None:
            self._upstream.pause()

    def client_drained(self) -> None:
        """Its end."""
        if self._upstream is not None:
            self._upstream.resume()
