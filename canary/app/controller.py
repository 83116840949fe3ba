"""The controller's process: publishes the file, decides while it leads, and serves the admin port."""

import asyncio
import os
import socket
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

import structlog

from canary.api.services import Books, Reloaded, Services
from canary.app.admin import AdminPort
from canary.app.home import Home
from canary.app.leash import Leash
from canary.app.opening import Opening
from canary.app.process import run_process
from canary.app.publish import Publisher
from canary.control.books import Books as ControlBooks
from canary.control.run import run_controller
from canary.control.sight import Sight
from canary.errors import CanaryError, Conflict
from canary.rollout.calibration import SPAN, Span
from canary.store.books import PostgresLeases, PostgresRollouts
from canary.store.calibration import PostgresCalibration
from canary.store.counters import PostgresCounters
from canary.store.database import Database
from canary.store.pairs import Pairs
from canary.store.plans import PostgresPlans
from canary.telemetry.guard import guarded

_LOOK_S = 1.0


class WallClock:
    """This machine's time."""

    def now(self) -> datetime:
        """The present instant."""
        return datetime.now(tz=UTC)


class Controller:
    """One controller process."""

    def __init__(self, home: Home, *, env: Mapping[str, str], admin_listen: str | None = None, span: Span = SPAN) -> None:
        """Takes its port at once: raises Refused or CanaryError where that is impossible."""
        self._opening = Opening(home, env=env)
        self._publisher = Publisher(home, env=env)
        self._services = Services(reload=self._reload)
        listen = admin_listen or home.file.local.admin_listen
        self.port = AdminPort(self._services, listen=listen, token=home.token(env))
        self._log = structlog.get_logger("canary.controller")
        self._span = span
        self._asked_to_reload = False
        self._refused = ""

    async def run(self, *, control_fd: int | None = None) -> None:
        """Until SIGTERM, or the supervisor's word or end."""
        stop = asyncio.Event()
        leash = Leash(stop, on_reload=self._ask)
        leash.hold(control_fd)
        await self.port.start()
        leash.ready()
        database = None
        try:
            database = await self._opening.open_when_there(stop)
            if database is not None:
                await self._lead(database, stop)
        finally:
            await self.port.stop()
            if database is not None:
                await database.close()
            await self._opening.leave()
            leash.let_go()

    async def _lead(self, database: Database, stop: asyncio.Event) -> None:
        books = self._services.books = _books(database)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(stop))
            group.create_task(
                run_controller(
                    books=books.control,
                    leases=PostgresLeases(database),
                    holder=f"{socket.gethostname()}:{os.getpid()}",
                    stop=stop,
                    span=self._span,
                )
            )

    async def _watch(self, stop: asyncio.Event) -> None:
        """Puts the file in force, and again when it changed or somebody asked; a refused one was logged by the publisher."""
        published = False
        while not stop.is_set():
            if not published:
                published = await self._publish()
            elif self._publisher.changed() or self._asked_to_reload:
                self._asked_to_reload = False
                with guarded("reload"):
                    try:
                        await self._reload(False)
                    except CanaryError:
                        pass
            try:
                async with asyncio.timeout(_LOOK_S):
                    await stop.wait()
            except TimeoutError:
                pass

    async def _publish(self) -> bool:
        """True where trying again changes nothing: it is in force, or it was refused and has to be changed first."""
        with guarded("publish"):
            try:
                found = await self._publisher.publish(self._services.use().plans)
                self._log.info("published", revision=found.revision, changed=found.changed, notes=list(found.notes))
                return True
            except CanaryError as error:
                if str(error) != self._refused:
                    self._log.error("the file is not put in force", reason=str(error), hint=error.hint)
                self._refused = str(error)
                return isinstance(error, Conflict)
        return False

    async def _reload(self, dry_run: bool) -> Reloaded:
        return await self._publisher.reload(self._services.use().plans, dry_run=dry_run)

    def _ask(self) -> None:
        self._asked_to_reload = True


def _books(database: Database) -> Books:
    control = ControlBooks(
        rollouts=PostgresRollouts(database),
        counters=PostgresCounters(database),
        plans=PostgresPlans(database),
        clock=WallClock(),
        calibration=PostgresCalibration(database),
    )
    return Books(control=control, pairs=Pairs(database), see=Sight(control).see)


async def lead(home: Home, control_fd: int | None) -> None:
    """Until the supervisor's word or end; raises CanaryError where it cannot run."""
    await Controller(home, env=os.environ).run(control_fd=control_fd)


def main(arguments: list[str] | None = None) -> int:
    """`python -m canary.app.controller`: started by the supervisor."""
    return run_process("controller", lead, arguments)


if __name__ == "__main__":
    sys.exit(main())
