"""Names under which a port that only this machine can reach is asked for by right."""

from typing import Final
from urllib.parse import urlsplit

LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def host_of(header: str) -> str:
    """The host in a Host header, lower case, without its port; empty where it is none."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""
