"""The plan in force: looks at snapshot and overlay, builds a route table, swaps it in one assignment."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from canary.errors import SnapshotError
from canary.proxy.plan import Plan, PlanMaker
from canary.proxy.shadow import ShadowSink
from canary.proxy.upstreams import Upstreams
from canary.split.spec import Limits
from canary.store.overlay import Overlay, OverlayOrder, read_overlay
from canary.store.snapshot import Snapshot, good_copy, read_snapshot
from canary.telemetry.page import Page

AGAIN_AFTER: Final = 10
"""Looks: once a second a file that was not taken up is tried again, as what it names may be there by now."""


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
        self.trouble = ""  # why the newest file is not in force, and what serves instead
        self._maker = PlanMaker(upstreams=upstreams, page=page, env=env)
        self._upstreams = upstreams
        self._page = page
        self._snapshot_path = state_dir / "snapshot.json"
        self._overlay_path = state_dir / "overlay.json"
        self._seen: tuple[object, object] = ("nothing", "yet")
        self._snapshot: Snapshot | None = None  # in force, whole
        self._taken: object = None  # its file
        self._refused = 0  # looks since the newest file was not taken up; 0: it was

    @property
    def sinks(self) -> dict[str, ShadowSink]:
        """The shadows, by route."""
        return self._maker.sinks

    def look(self) -> bool:
        """Takes up what changed; True where a new plan came into force.

        A file that is bad leaves the old plan, under the local orders of now; where there is none, what can serve does.
        """
        seen = (_mark(self._snapshot_path), _mark(self._overlay_path))
        changed = seen != self._seen
        if not changed and not self._try_again():
            return False
        before, self._seen = self._seen, seen
        overlay, trouble = self._orders(counted=changed)
        try:
            snapshot = self._snapshot
            if snapshot is None or seen[0] != self._taken:
                snapshot = read_snapshot(self._snapshot_path)
            plan = self._maker.make(snapshot, overlay or _all_to_stable(snapshot))
        except SnapshotError as error:
            self._refused = 1
            if not changed:
                return False
            awaited = seen[0] is None and self.plan is None  # a sidecar's first start
            if not awaited:
                self._page.counter("snapshot_failures", 1)
            self.trouble = "" if awaited else "; ".join(filter(None, (str(error), trouble)))
            return self._make_do(overlay, new_orders=seen[1] != before[1])
        self._snapshot, self._taken, self._refused, self.trouble = snapshot, seen[0], 0, trouble
        self._put(plan)
        return True

    @property
    def limits(self) -> Limits:
        """Those in force."""
        return self.plan.limits if self.plan is not None else Limits()

    def _try_again(self) -> bool:
        if self._refused:
            self._refused += 1
        return self._refused > AGAIN_AFTER

    def _make_do(self, overlay: Overlay | None, *, new_orders: bool) -> bool:
        """Serves what can be served while the newest file is not in force; True where that is new."""
        snapshot = self._snapshot
        if snapshot is not None and not new_orders:
            return False
        snapshot = snapshot or self._at_a_start()
        if snapshot is None:
            return False
        plan, went = self._maker.make_do(snapshot, overlay or _all_to_stable(snapshot))
        self.trouble = "; ".join(filter(None, (self.trouble, *went)))
        self._put(plan)
        return True

    def _at_a_start(self) -> Snapshot | None:
        """The newest file where it can be read; else, without its rollouts, the last one that was wholly in force here.

        Its revision is 0: nobody may take it for followed.
        """
        try:
            return replace(read_snapshot(self._snapshot_path), revision=0)
        except SnapshotError:
            pass
        try:
            good = read_snapshot(good_copy(self._snapshot_path))
        except SnapshotError:
            return None
        instead = f"revision {good.revision} serves instead, all to stable"
        self.trouble = f"{self.trouble or f'{self._snapshot_path} is gone'}; {instead}"
        return replace(good, revision=0, routes=tuple(replace(route, split=None) for route in good.routes))

    def _put(self, plan: Plan) -> None:
        self.plan = plan
        self._upstreams.commit()
        self._page.gauge("snapshot_revision", plan.revision + 1)

    def _orders(self, *, counted: bool) -> tuple[Overlay | None, str]:
        """The local orders; None and the reason where they cannot be read."""
        try:
            return read_overlay(self._overlay_path), ""
        except SnapshotError as error:
            if counted:
                self._page.counter("snapshot_failures", 1)
            return None, str(error)


def _all_to_stable(snapshot: Snapshot) -> Overlay:
    """Where local orders cannot be read, all routes go to stable: an order may stand there, and a plan must."""
    order = OverlayOrder(
        reason="the local orders cannot be read",
        actor="worker",
        at=datetime.fromtimestamp(0, UTC),
        revision=snapshot.revision,
    )
    return Overlay(routes=dict.fromkeys((route.name for route in snapshot.routes), order))


def _mark(path: Path) -> tuple[int, int, int, int] | None:
    """What changes when a file is replaced or may be read again; None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size)
