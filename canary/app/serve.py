"""`canary serve` and `canary proxy`: binds the ports, starts the database and the processes, says when it serves."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from canary.app.children import Spec, process_spec, worker_spec
from canary.app.home import DATABASE_URL, EMBEDDED, Home, claim, make_state_dir
from canary.app.listeners import bind, refuse_open_admin, shown_address
from canary.app.stopping import Role
from canary.app.supervisor import Supervisor
from canary.errors import SnapshotError
from canary.split.spec import RouteSpec
from canary.store.embedded import EmbeddedPostgres
from canary.store.snapshot import read_snapshot
from canary.telemetry.lines import setup_lines
from canary.terms import Frozen

SEEN_AFTER_S: Final = 0.3
"""Workers look for a new snapshot ten times a second."""

_DRAIN_MARGIN_S: Final = 2.0


class Serving(Frozen, frozen=True, kw_only=True):
    """What is told to a person once everything serves."""

    data: str
    workers: int
    admin: str  # empty: no controller here
    sidecar: str
    state_dir: str
    routes: tuple[str, ...]
    started_in_s: float

    @property
    def text(self) -> str:
        """Lines for people; the first one is the same for scripts."""
        workers = f"{self.workers} worker{'s' if self.workers != 1 else ''}"
        lines = [f"canary serves http://{self.data} ({workers}, ready in {self.started_in_s:.1f} s)"]
        lines += [f"  route    {route}" for route in self.routes]
        lines += [f"  console  http://{self.admin}/"] if self.admin else []
        return "\n".join([*lines, f"  sidecar  http://{self.sidecar}/livez", f"  state    {self.state_dir}"])


def serve(
    home: Home,
    *,
    env: Mapping[str, str],
    with_controller: bool,
    workers: int | None = None,
    announce: Callable[[Serving], None] | None = None,
) -> int:
    """Runs until it is told to stop; returns the exit code. Raises CanaryError where it cannot begin."""
    began = time.monotonic()
    setup_lines("supervisor")
    local, token = home.file.local, home.token(env)
    if with_controller:
        refuse_open_admin(local.admin_listen, token=token, what="the admin port")
    refuse_open_admin(local.sidecar_listen, token=token, what="the sidecar's port")
    make_state_dir(home)
    held = claim(home)
    listeners = bind(local.listen, workers or local.workers)
    postgres = EmbeddedPostgres(home.state_dir) if home.database(env) == EMBEDDED else None

    def say() -> None:
        if announce is not None:
            announce(_serving(home, listeners, with_controller, began))

    try:
        if postgres is not None:
            # until the supervisor takes it, a SIGTERM would end us by its default, with the server left running
            signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
            postgres.start()
        supervisor = Supervisor(
            _specs(home, listeners, env=env, with_controller=with_controller),
            listeners,
            status=home.status,
            drain_s=home.file.config.limits.drain_s + _DRAIN_MARGIN_S,
            server=postgres,
            watch=_Beginning(home.snapshot, say).look,
        )
        return supervisor.run()
    finally:
        if postgres is not None:
            postgres.stop()
        for listener in listeners:
            listener.close()
        os.close(held)


class _Beginning:
    """Says once that all serves: every process is ready, and a snapshot has been there for a moment."""

    def __init__(self, snapshot: Path, announce: Callable[[], None]) -> None:
        self._snapshot = snapshot
        self._announce: Callable[[], None] | None = announce
        self._planned_at: float | None = None

    def look(self, now: float, all_ready: bool) -> bool:
        """Called at each turn of the supervisor; True while it wants to be called again soon."""
        if self._announce is None:
            return False
        if all_ready and self._snapshot.exists():
            self._planned_at = self._planned_at or now
            if now - self._planned_at >= SEEN_AFTER_S:
                announce, self._announce = self._announce, None
                announce()
        return True


def _specs(home: Home, listeners: list[socket.socket], *, env: Mapping[str, str], with_controller: bool) -> list[Spec]:
    place = ("--config", str(home.path), "--state-dir", str(home.state_dir))
    database = home.database(env)
    with_database = {**env, DATABASE_URL: database} if database != EMBEDDED else dict(env)
    specs = [worker_spec(n, state_dir=home.state_dir, folder=home.folder, environment=env) for n in range(len(listeners))]
    specs.append(process_spec(Role.COURIER, place, folder=home.folder, environment=with_database))
    if with_controller:
        specs.append(process_spec(Role.CONTROLLER, place, folder=home.folder, environment=with_database))
    return specs


def _serving(home: Home, listeners: list[socket.socket], with_controller: bool, began: float) -> Serving:
    local = home.file.local
    return Serving(
        data=shown_address(listeners[0]),
        workers=len(listeners),
        admin=local.admin_listen if with_controller else "",
        sidecar=local.sidecar_listen,
        state_dir=str(home.state_dir),
        routes=tuple(f"{route.name}: {route.match.path_prefix} -> {route.stable}" for route in _in_charge(home)),
        started_in_s=time.monotonic() - began,
    )


def _in_charge(home: Home) -> Sequence[RouteSpec]:
    """The snapshot's routes: what the file says may have been overtaken by a promotion."""
    try:
        return read_snapshot(home.snapshot).routes
    except SnapshotError:
        return home.file.config.routes
