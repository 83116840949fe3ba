"""The books twice, in memory and in Postgres, behind one face for the contract tests."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from canary.ports import CounterBook, LeaseBook, PlanBook, RolloutBook
from canary.store.books import PostgresLeases, PostgresRollouts
from canary.store.counters import PostgresCounters
from canary.store.database import Database
from canary.store.memory import MemoryCounters, MemoryLeases, MemoryPlans, MemoryRecorder, MemoryRollouts, MemoryStore
from canary.store.plans import PostgresPlans
from canary.store.records import Recorder


class ManualClock:
    """Stands still until told."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)

    def now(self) -> datetime:
        return self._now

    def move(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Books:
    """One store's books, and its time."""

    rollouts: RolloutBook
    leases: LeaseBook
    counters: CounterBook
    plans: PlanBook
    recorder: Any
    clock: ManualClock | None
    database: Database | None

    async def later(self, seconds: float) -> None:
        """Lets the store's time pass: the clock moves, or everything stored grows older."""
        if self.clock is not None:
            self.clock.move(seconds)
        if self.database is not None:
            shift = {"s": seconds}
            await self.database.rows("UPDATE leases SET expires_at = expires_at - %(s)s * interval '1 second'", shift)
            await self.database.rows("UPDATE sidecars SET seen_at = seen_at - %(s)s * interval '1 second'", shift)
            await self.database.rows("UPDATE journals SET ticked_at = ticked_at - %(s)s * interval '1 second'", shift)


def memory_books() -> Books:
    """A fresh twin."""
    clock = ManualClock()
    store = MemoryStore(clock)
    return Books(
        rollouts=MemoryRollouts(store),
        leases=MemoryLeases(store),
        counters=MemoryCounters(store),
        plans=MemoryPlans(store),
        recorder=MemoryRecorder(store),
        clock=clock,
        database=None,
    )


def postgres_books(database: Database) -> Books:
    """The real ones."""
    return Books(
        rollouts=PostgresRollouts(database),
        leases=PostgresLeases(database),
        counters=PostgresCounters(database),
        plans=PostgresPlans(database),
        recorder=Recorder(database),
        clock=None,
        database=database,
    )


@pytest.fixture(params=["memory", "postgres"])
async def books(request: pytest.FixtureRequest) -> AsyncIterator[Books]:
    """Both, one after the other."""
    if request.param == "memory":
        yield memory_books()
        return
    async with await Database.open(request.getfixturevalue("database_url")) as database:
        yield postgres_books(database)
