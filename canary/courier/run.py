"""The courier as one call: its port at once, its work as soon as Postgres answers."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from canary.courier.backoff import BackOff, wait
from canary.courier.books import Books
from canary.courier.local import LocalOrders
from canary.courier.port import Port, serve
from canary.courier.refresh import Refresher
from canary.courier.rejected import Rejected
from canary.courier.roster import Roster
from canary.courier.tail import Context
from canary.courier.tally import Tally
from canary.courier.watch import PlanWatch
from canary.errors import StoreError
from canary.store.books import PostgresRollouts
from canary.store.database import Database
from canary.store.plans import PostgresPlans
from canary.store.records import Recorder

_log = structlog.get_logger("canary.courier")


async def run_courier(
    *,
    state_dir: Path,
    sidecar: str,
    open_database: Callable[[], Awaitable[Database]],
    listen: str,
    token: str | None,
    stop: asyncio.Event,
) -> None:
    """Works until `stop` is set, then to the journals' ends (10 s). Waits, with its port open, while Postgres is away.

    Raises ConfigError where the port may not be opened like that.
    """
    roster = Roster(state_dir, Tally())
    orders = LocalOrders(state_dir, sidecar)
    runner, port = await serve(Port(roster, orders, token=token), listen, token=token)
    _log.info("sidecar port open", port=port)
    try:
        database = await _opened(open_database, stop)
        if database is None:
            return
        try:
            books = Books(Recorder(database), PostgresPlans(database), PostgresRollouts(database), database)
            await carry(state_dir, sidecar, books=books, roster=roster, orders=orders, stop=stop)
        finally:
            await database.close()
    finally:
        await runner.cleanup()


async def carry(
    state_dir: Path, sidecar: str, *, books: Books, roster: Roster, orders: LocalOrders, stop: asyncio.Event
) -> None:
    """Outcomes up and plans down, until `stop`."""
    watch = PlanWatch(state_dir, books)
    refresher = Refresher(state_dir, books, watch=watch, orders=orders, sidecar=sidecar, shown=roster.shown)
    context = Context(
        sidecar=sidecar,
        records=books.records,
        watch=watch,
        rejected=Rejected(state_dir / "rejected"),
        tally=roster.tally,
    )
    async with asyncio.TaskGroup() as group:
        down = [group.create_task(refresher.run(stop)), group.create_task(refresher.hear(stop))]
        try:
            await roster.follow(context, stop)
        finally:
            for task in down:
                task.cancel()


async def _opened(open_database: Callable[[], Awaitable[Database]], stop: asyncio.Event) -> Database | None:
    """The database, as soon as it answers; None where the stop came first."""
    back_off = BackOff()
    while not stop.is_set():
        try:
            return await open_database()
        except StoreError as error:
            if not back_off.failures:
                _log.warning("Postgres is away; the journals keep everything", reason=str(error), hint=error.hint)
            await wait(stop, back_off.next_s())
    return None
