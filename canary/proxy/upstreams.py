"""The pools of all upstreams that plans name, kept from plan to plan."""

from collections.abc import Callable

from canary.errors import SnapshotError
from canary.wire.origin import Origin
from canary.wire.upstream import Upstream


class Upstreams:
    """The pools, kept over plans; those no longer named are retired."""

    def __init__(self, make: Callable[[Origin], Upstream]) -> None:
        self._make = make
        self._known: dict[Origin, Upstream] = {}
        self._named: set[Origin] = set()

    def begin(self) -> None:
        """A new plan is about to name its upstreams."""
        self._named = set()

    def get(self, origin: Origin) -> Upstream:
        """The pool of that origin."""
        self._named.add(origin)
        known = self._known.get(origin)
        if known is None:
            try:
                known = self._known[origin] = self._make(origin)
            except OSError as error:  # a trust file that cannot be read; ssl.SSLError is one too
                raise SnapshotError(f"upstream {origin.authority}: {origin.ca_file}: {error}") from error
        return known

    def commit(self) -> None:
        """The plan is in force: what it does not name goes when it is idle."""
        for origin in list(self._known):
            if origin not in self._named:
                upstream = self._known.pop(origin)
                upstream.retired = True
                upstream.close_idle(0.0)

    def close_idle(self, now: float) -> None:
        """Called by the ticker."""
        for upstream in self._known.values():
            upstream.close_idle(now)

    def close(self) -> None:
        """The worker stops."""
        for upstream in self._known.values():
            upstream.close()

    def connects(self) -> tuple[int, int]:
        """Connections made and stray bytes seen, of the pools in use."""
        return sum(up.connects for up in self._known.values()), sum(up.stray for up in self._known.values())
