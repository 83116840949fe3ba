"""Partitions for the days ahead, and the end of what is older than its days to keep."""

import asyncio
from typing import Final

import structlog

from canary.courier.backoff import BackOff, wait
from canary.courier.books import Books
from canary.courier.rejected import DAYS, Rejected
from canary.courier.watch import PlanWatch
from canary.errors import StoreError

EVERY_S: Final = 3_600.0
_DAY_US: Final = 86_400_000_000

_log = structlog.get_logger("canary.courier")


async def keep_house(books: Books, watch: PlanWatch, rejected: Rejected, *, stop: asyncio.Event) -> None:
    """Once an hour, until `stop`. Nothing waits for it: a default partition takes what comes before a day has its own."""
    back_off = BackOff()
    while not stop.is_set():
        try:
            await watch.look()
            await books.house.tidy(keep_days=max(_days(watch), default=0))
            back_off.reset()
            pause_s = EVERY_S
        except StoreError as error:
            pause_s = back_off.next_s()
            _log.debug("partitions are made later", reason=str(error))
        rejected.forget_old(min((*_days(watch), DAYS)))  # nobody can say whose they are
        await wait(stop, pause_s)


def _days(watch: PlanWatch) -> list[int]:
    """For how long each published route keeps its records."""
    return [facts.keep_us // _DAY_US for facts in watch.known.routes.values()]
