"""The plan in force: looks at snapshot and overlay, builds a route table, swaps it in one assignment."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from canary.errors import SnapshotError
from canary.proxy.rewrite import resolve
from canary.proxy.route import Route, make_target
from canary.proxy.shadow import ShadowSink
from canary.split.spec import Limits, MatchSpec
from canary.split.table import RouteTable
from canary.store.overlay import Overlay, OverlayOrder, read_overlay
from canary.store.snapshot import Snapshot, read_snapshot
from canary.telemetry.page import Page
from canary.wire.heads import RequestHead
from canary.wire.origin import Origin
from canary.wire.upstream import Upstream


class Plan:
    """One snapshot under one overlay, compiled."""

    __slots__ = ("_by_host", "_only", "answering", "keys", "limits", "revision", "routes", "spool_max_bytes", "table")

    def __init__(self, snapshot: Snapshot, routes: tuple[Route, ...], keys: tuple[bytes, bytes]) -> None:
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


class Upstreams:
    """The pools, kept over plans; those no longer named are retired."""

    def __init__(self, make: Callable[[Origin], Upstream]) -> None:
        self._make = make
        self._known: dict[Origin, Upstream] = {}
        self._named: set[Origin] = set()
        self._retired: list[Upstream] = []

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


class PlanKeeper:
    """Holds the plan in force and follows its two files."""

    def __init__(
        self,
        state_dir: Path,
        *,
        upstreams: Upstreams,
        page: Page,
        env: Mapping[str, str],
    ) -> None:
        self.plan: Plan | None = None
        self.trouble = ""  # why the newest file is not in force
        self.sinks: dict[str, ShadowSink] = {}
        self._upstreams = upstreams
        self._page = page
        self._env = env
        self._snapshot_path = state_dir / "snapshot.json"
        self._overlay_path = state_dir / "overlay.json"
        self._seen: tuple[object, object] = (None, None)
        self._snapshot: Snapshot | None = None

    def look(self) -> bool:
        """Takes up what changed; True where a new plan came into force. A file that is bad leaves the old plan."""
        seen = (_mark(self._snapshot_path), _mark(self._overlay_path))
        if seen == self._seen:
            return False
        before, self._seen = self._seen, seen
        snapshot = self._snapshot
        try:
            if snapshot is None or seen[0] != before[0]:
                snapshot = read_snapshot(self._snapshot_path)
            overlay, trouble = self._overlay_of(snapshot)
            plan = self._compile(snapshot, overlay)
        except SnapshotError as error:
            if seen[0] is not None or self.plan is not None:
                self._page.counter("snapshot_failures", 1)
            self.trouble = str(error)
            return False
        self.trouble = trouble
        self._snapshot, self.plan = snapshot, plan
        self._upstreams.commit()
        self._page.gauge("snapshot_revision", plan.revision + 1)
        return True

    @property
    def limits(self) -> Limits:
        """Those in force."""
        return self.plan.limits if self.plan is not None else Limits()

    def _overlay_of(self, snapshot: Snapshot) -> tuple[Overlay, str]:
        """The local orders; where they cannot be read, all routes go to stable: an order may stand there, and a plan must."""
        try:
            return read_overlay(self._overlay_path), ""
        except SnapshotError as error:
            self._page.counter("snapshot_failures", 1)
            order = OverlayOrder(
                reason="the local orders cannot be read",
                actor="worker",
                at=datetime.fromtimestamp(0, UTC),
                revision=snapshot.revision,
            )
            return Overlay(routes=dict.fromkeys((route.name for route in snapshot.routes), order)), str(error)

    def _compile(self, snapshot: Snapshot, overlay: Overlay) -> Plan:
        self._upstreams.begin()
        key = resolve(snapshot.force_key, self._env).encode() if snapshot.force_key is not None else b""
        routes = []
        for spec in snapshot.routes:
            sink = self.sinks.get(spec.name)
            if sink is None:
                sink = self.sinks[spec.name] = ShadowSink(spec.mirror)
            sink.bound(spec.mirror)
            route = Route(
                spec,
                order=overlay.routes.get(spec.name),
                cells=self._page.route(spec.name),
                sink=sink,
                target=lambda version, trusted: make_target(version, trusted, upstream_of=self._upstreams.get, env=self._env),
            )
            route.add_lines(snapshot.answering)
            routes.append(route)
        return Plan(snapshot, tuple(routes), (key, snapshot.database_id.encode()))


def _mark(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is replaced; None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_ino, stat.st_mtime_ns, stat.st_size)
