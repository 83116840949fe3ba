"""A plan as the data plane serves it: one snapshot under its local orders, compiled."""

from collections.abc import Mapping

from msgspec.structs import replace

from canary.errors import SnapshotError
from canary.proxy.rewrite import resolve
from canary.proxy.route import Route, make_target
from canary.proxy.shadow import ShadowSink
from canary.proxy.upstreams import Upstreams
from canary.split.spec import MatchSpec, RouteSpec
from canary.split.table import RouteTable
from canary.store.overlay import Overlay
from canary.store.snapshot import Snapshot
from canary.telemetry.page import Page
from canary.wire.heads import RequestHead

# what values that are no longer as they were when they were checked can raise: text that no head can hold among them
_DAMAGE = (ValueError, LookupError, TypeError, ArithmeticError, OSError)


class Plan:
    """Routes ready to serve; a route may be closed, then it is None in its place and its requests are answered 503."""

    __slots__ = ("_by_host", "_only", "answering", "keys", "limits", "revision", "routes", "spool_max_bytes", "table")

    def __init__(self, snapshot: Snapshot, routes: tuple[Route | None, ...], keys: tuple[bytes, bytes]) -> None:
        self.table = RouteTable(snapshot.routes)
        # one route for everything is the common sidecar: no question needs asking (`*` has its own answer)
        match = snapshot.routes[0].match if len(snapshot.routes) == 1 else None
        self._only = routes[0] if match is not None and match == MatchSpec() else None
        self._by_host = any(spec.match.hosts for spec in snapshot.routes)
        self.routes = routes
        self.keys = keys
        self.revision = snapshot.revision
        self.limits = snapshot.limits
        self.answering = snapshot.answering
        self.spool_max_bytes = snapshot.spool_max_bytes

    def route(self, head: RequestHead) -> Route | None:
        """The route of a request."""
        if self._only is not None and head.path.startswith(b"/"):
            return self._only
        entry = self.table.match(head.host if self._by_host else b"", head.path, head.find)
        return self.routes[entry.index] if entry is not None else None

    def closes(self, head: RequestHead) -> bool:
        """Whether the request has a route that is closed."""
        entry = self.table.match(head.host if self._by_host else b"", head.path, head.find)
        return entry is not None and self.routes[entry.index] is None


class PlanMaker:
    """Compiles snapshots; shadow sinks and pools stay from plan to plan."""

    def __init__(self, *, upstreams: Upstreams, page: Page, env: Mapping[str, str]) -> None:
        self.sinks: dict[str, ShadowSink] = {}
        self._upstreams = upstreams
        self._page = page
        self._env = env

    def make(self, snapshot: Snapshot, overlay: Overlay) -> Plan:
        """The whole plan; raises SnapshotError where one part of it cannot serve."""
        self._upstreams.begin()
        key = self._force_key(snapshot)
        routes = tuple(self._route(spec, overlay, snapshot) for spec in snapshot.routes)
        try:
            return Plan(snapshot, routes, (key, snapshot.database_id.encode()))
        except _DAMAGE as error:
            raise SnapshotError(f"the routes' matches: {error}") from error

    def make_do(self, snapshot: Snapshot, overlay: Overlay) -> tuple[Plan, tuple[str, ...]]:
        """As much of the plan as can serve, and what had to go: candidates before routes."""
        self._upstreams.begin()
        went: list[str] = []
        try:
            key = self._force_key(snapshot)
        except SnapshotError:
            key = b""
            went.append("nobody forces an arm")
        specs, routes = [], []
        for spec in snapshot.routes:
            try:
                RouteTable((spec,))
            except _DAMAGE:  # no request can match it
                went.append(f"route {spec.name} is left out")
                continue
            route, loss = self._route_without(spec, overlay, snapshot)
            went += loss
            specs.append(spec)
            routes.append(route)
        reduced = replace(snapshot, routes=tuple(specs))
        return Plan(reduced, tuple(routes), (key, snapshot.database_id.encode())), tuple(went)

    def _route_without(self, spec: RouteSpec, overlay: Overlay, snapshot: Snapshot) -> tuple[Route | None, tuple[str, ...]]:
        try:
            return self._route(spec, overlay, snapshot), ()
        except SnapshotError:
            pass
        try:
            return self._route(replace(spec, split=None), overlay, snapshot), (f"route {spec.name} goes to stable",)
        except SnapshotError as error:
            return None, (f"route {spec.name} is answered with 503 ({error})",)

    def _force_key(self, snapshot: Snapshot) -> bytes:
        try:
            return resolve(snapshot.force_key, self._env).encode() if snapshot.force_key is not None else b""
        except _DAMAGE as error:
            raise SnapshotError(f"force_key: {error}") from error

    def _route(self, spec: RouteSpec, overlay: Overlay, snapshot: Snapshot) -> Route:
        sink = self.sinks.get(spec.name)
        if sink is None:
            sink = self.sinks[spec.name] = ShadowSink(spec.mirror)
        sink.bound(spec.mirror)
        try:
            route = Route(
                spec,
                order=overlay.routes.get(spec.name),
                cells=self._page.route(spec.name),
                sink=sink,
                target=lambda version, trusted: make_target(version, trusted, upstream_of=self._upstreams.get, env=self._env),
            )
            route.add_lines(snapshot.answering)
        except _DAMAGE as error:
            raise SnapshotError(f"route {spec.name}: {error}") from error
        return route
