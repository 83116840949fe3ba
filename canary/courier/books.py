"""What the courier asks of the store: Postgres in production, the in-memory twin or a fake in tests."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol

import msgspec

from canary.ports import PlanBook, RolloutBook
from canary.store.rows import JournalState, RecordBatch


class Records(Protocol):
    """The write side for outcomes."""

    async def commit(self, batch: RecordBatch) -> datetime:
        """The whole batch or nothing; raises StaleRevision, StoreAway, DataRefused."""
        ...

    async def load(self, journal: str) -> JournalState:
        """What is committed of a journal."""
        ...


class Hearing(Protocol):
    """Hints that the plan changed."""

    def hear(self) -> AsyncIterator[str]:
        """One item a hint, the first when listening has begun; raises StoreAway when that breaks."""
        ...


class House(Protocol):
    """The tables' upkeep."""

    async def tidy(self, *, keep_days: int) -> None:
        """Makes partitions for the days ahead; drops old rounds of calibration, and days before `keep_days` (0: none)."""
        ...


class Books(msgspec.Struct, frozen=True):
    """All of them."""

    records: Records
    plans: PlanBook
    rollouts: RolloutBook
    hearing: Hearing
    house: House
