"""The courier as one call: its port at once, its work as soon as Postgres answers."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog

from canary.courier.backoff import BackOff, wait
from canary.courier.blind import DEFAULT_S, Blindness
from canary.courier.books import Books
from canary.courier.housekeeping import keep_house
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
from canary.store.calibration import forget_rounds
from canary.store.database import Database
from canary.store.partitions import drop_expired, ensure_partitions
from canary.store.plans import PostgresPlans
from canary.store.records import Recorder
from canary.store.thinning import thin_decisions
from canary.terms import Frozen

COLLECT_AFTER: Final = 50_000  # objects: a batch makes tens of thousands that all go at once; the default cost a third more

_log = structlog.get_logger("canary.courier")


class Place(Frozen, frozen=True, kw_only=True):
    """Where a courier works: the data plane that it carries for, and the port it opens there."""

    state_dir: Path
    sidecar: str
    listen: str
    token: str | None = None
    blind_after_s: float = DEFAULT_S  # 0: a canary that nobody can judge stays


async def run_courier(place: Place, *, open_database: Callable[[], Awaitable[Database]], stop: asyncio.Event) -> None:
    """Works until `stop` is set, then to the journals' ends (10 s). Waits, with its port open, while Postgres is away.

    Raises ConfigError where the port may not be opened like that.
    """
    gc.set_threshold(COLLECT_AFTER, 20, 100)
    tally = Tally()
    roster = Roster(place.state_dir, tally)
    orders = LocalOrders(place.state_dir, place.sidecar)
    blind = Blindness(place.state_dir, orders, tally=tally, after_s=place.blind_after_s, serving=lambda: bool(roster.shown()))
    port = Port(roster, orders, token=place.token, notes=lambda: (*orders.notes(), *blind.notes(), *roster.notes()))
    runner, number = await serve(port, place.listen, token=place.token)
    _log.info("sidecar port open", port=number)
    try:
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(blind.run(stop), name="blindness")
            try:
                await _work(place, open_database, roster=roster, orders=orders, blind=blind, stop=stop)
            finally:
                looking.cancel()
    finally:
        await runner.cleanup()


async def _work(
    place: Place,
    open_database: Callable[[], Awaitable[Database]],
    *,
    roster: Roster,
    orders: LocalOrders,
    blind: Blindness,
    stop: asyncio.Event,
) -> None:
    database = await _opened(open_database, stop)
    if database is None:
        return
    try:
        plans, rollouts = PostgresPlans(database), PostgresRollouts(database)
        books = Books(Recorder(database), plans, rollouts, database, _Partitions(database))
        await carry(place, books=books, roster=roster, orders=orders, blind=blind, stop=stop)
    finally:
        await database.close()


class _Partitions:
    """Postgres' partitions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tidy(self, *, keep_days: int) -> None:
        """As House.tidy."""
        await ensure_partitions(self._database)
        await forget_rounds(self._database)
        await thin_decisions(self._database)
        if keep_days:
            await drop_expired(self._database, keep_days=keep_days)


async def carry(
    place: Place, *, books: Books, roster: Roster, orders: LocalOrders, blind: Blindness, stop: asyncio.Event
) -> None:
    """Outcomes up and plans down, until `stop`."""
    state_dir, sidecar = place.state_dir, place.sidecar
    watch = PlanWatch(state_dir, books, led=blind.led)
    refresher = Refresher(state_dir, books, watch=watch, orders=orders, sidecar=sidecar, shown=roster.shown)
    context = Context(
        sidecar=sidecar,
        records=books.records,
        watch=watch,
        rejected=Rejected(state_dir / "rejected", roster.tally),
        tally=roster.tally,
    )
    async with asyncio.TaskGroup() as group:
        others = (refresher.run(stop), refresher.hear(stop), keep_house(books, watch, context.rejected, stop=stop))
        down = [group.create_task(other) for other in others]
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
