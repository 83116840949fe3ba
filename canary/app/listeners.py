"""Listening sockets: bound by the supervisor, kept open by it, passed down to workers."""

import socket
from typing import Final

from canary.config.fields import is_loopback
from canary.errors import CanaryError, Refused

BACKLOG: Final = 1024


def address_of(listen: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise CanaryError(f"`{listen}` is no address", hint="write host:port, for example 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def on_loopback(listen: str) -> bool:
    """True where only this machine can connect."""
    address_of(listen)
    return is_loopback(listen)


def refuse_open_admin(listen: str, *, token: str | None, what: str) -> None:
    """Raises Refused where orders could come from elsewhere without a token."""
    if not token and not on_loopback(listen):
        raise Refused(
            f"{what} would listen on {listen} without a token",
            hint="set admin.token (env or file) in canary.yaml, or listen on 127.0.0.1",
        )


def bind(listen: str, workers: int) -> list[socket.socket]:
    """One listening socket per worker on one address; with port 0 all share the port that the first was given."""
    host, port = address_of(listen)
    sockets: list[socket.socket] = []
    try:
        if workers > 1 and port:
            _listener(host, port, shared=False).close()  # a port that is shared already would let us in silently
        for _ in range(workers):
            sockets.append(_listener(host, port, shared=workers > 1))
            port = sockets[0].getsockname()[1]
    except OSError as error:
        for bound in sockets:
            bound.close()
        raise CanaryError(
            f"cannot listen on {listen}: {(error.strerror or str(error)).lower()}",
            hint="another process may hold the port: stop it, or change the address in canary.yaml",
        ) from error
    return sockets


def shown_address(listener: socket.socket) -> str:
    """host:port as a person types it."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listener(host: str, port: int, *, shared: bool) -> socket.socket:
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
