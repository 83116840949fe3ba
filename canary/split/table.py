"""The immutable route table: which route a request belongs to."""

from collections.abc import Callable, Sequence

from canary.split.spec import MatchSpec, RouteSpec

Find = Callable[[bytes], bytes | None]


class RouteEntry:
    """A route prepared for matching; `index` is its place in the sequence the table was built from."""

    __slots__ = ("exact", "headers", "hosts", "index", "name", "prefix", "prefix_slash", "spec", "unconditional")

    def __init__(self, spec: RouteSpec, index: int) -> None:
        match = spec.match
        self.spec = spec
        self.index = index
        self.name = spec.name
        self.hosts = frozenset(host.lower().encode("latin-1") for host in match.hosts)
        self.headers = tuple((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in match.headers)
        self.prefix = match.path_prefix.encode("latin-1") or b"/"
        # "/v1" means that path and what lies below it, never "/v10"
        self.exact = self.prefix.rstrip(b"/") or b"/"
        self.prefix_slash = self.prefix if self.prefix.endswith(b"/") else self.prefix + b"/"
        self.unconditional = not self.hosts and not self.headers and self.prefix == b"/"

    def accepts(self, host: bytes, path: bytes, find: Find) -> bool:
        """True where all conditions hold; `host` is lower case without a port."""
        if not (path.startswith(self.prefix_slash) or (path == self.exact and self.prefix == self.exact)):
            return False
        if self.hosts and host not in self.hosts:
            return False
        return all(find(name) == value for name, value in self.headers)


def _rank(entry: RouteEntry) -> tuple[int, int, int, str]:
    match: MatchSpec = entry.spec.match
    return (-len(entry.exact), -len(match.headers), -bool(match.hosts), entry.name)


class RouteTable:
    """All routes in order of match: longest path prefix, then more header conditions, then named hosts, then name."""

    __slots__ = ("_always", "_entries")

    def __init__(self, routes: Sequence[RouteSpec]) -> None:
        entries = sorted((RouteEntry(spec, index) for index, spec in enumerate(routes)), key=_rank)
        self._entries = tuple(entries)
        # one route for everything is the common sidecar: no question needs asking
        self._always = entries[0] if entries and entries[0].unconditional else None

    def match(self, host: bytes, path: bytes, find: Find) -> RouteEntry | None:
        """The route for a request, None if none wants it.

        `host` is lower case without a port, `path` comes without query, `find` gives a header's value by lower-case name.
        """
        if self._always is not None and path.startswith(b"/"):
            return self._always
        for entry in self._entries:
            if entry.accepts(host, path, find):
                return entry
        return None
