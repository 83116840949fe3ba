"""The controller's life: a tick each second until it is told to stop."""

import asyncio
import dataclasses
import time
from typing import Final

import structlog

from canary.control.books import Books
from canary.control.leader import Leader
from canary.control.loop import Loop
from canary.errors import StoreAway
from canary.ports import LeaseBook
from canary.rollout.calibration import SPAN, Span
from canary.telemetry.guard import guarded

TICK_S: Final = 1.0
_LEAST_PAUSE_S: Final = 0.05
_RESIGN_S: Final = 2.0


async def run_controller(*, books: Books, leases: LeaseBook, holder: str, stop: asyncio.Event, span: Span = SPAN) -> None:
    """Leads or waits to lead until `stop` is set, then gives the lease back. `holder` is unique among controllers.

    Survives Postgres being away: it says so once and tries again each second. Time is the database's, carried on by the
    monotonic clock, so the books' own clock is not asked. Their histories are filled for those who show forecasts.
    `span` is that of the rounds of calibration.
    """
    leader = Leader(leases, holder)
    loop = Loop(dataclasses.replace(books, clock=leader), leader, span=span)
    said = _Said(holder)
    try:
        while not stop.is_set():
            began_s = time.monotonic()
            with guarded("tick") as tick:
                try:
                    said.leads(await loop.tick())
                except StoreAway as away:
                    said.away(away)
            if tick.failed is not None:
                await _resign(leader)  # it cannot decide, whatever the reason: another one may
            await _pause(stop, TICK_S - (time.monotonic() - began_s))
    finally:
        await _resign(leader)


async def _resign(leader: Leader) -> None:
    with guarded("resign"):
        async with asyncio.timeout(_RESIGN_S):
            await leader.resign()


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(_LEAST_PAUSE_S, seconds)):
            await stop.wait()
    except TimeoutError:
        pass


class _Said:
    """One line for each change, none for each second."""

    def __init__(self, holder: str) -> None:
        self._log = structlog.get_logger("canary.control").bind(holder=holder)
        self._last = ""

    def leads(self, leads: bool) -> None:
        self._say("leading" if leads else "another controller leads")

    def away(self, error: StoreAway) -> None:
        self._say("Postgres is away: nothing is decided", error=str(error))

    def _say(self, event: str, **fields: str) -> None:
        if event != self._last:
            self._log.info(event, **fields)
        self._last = event
