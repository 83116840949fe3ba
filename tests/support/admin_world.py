"""The admin port over the books in memory, on a real socket of its own."""

import dataclasses
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from canary.api.services import Books, Reloaded, Services
from canary.app.admin import admin_application
from canary.config.document import Config
from canary.control.books import Books as ControlBooks
from canary.control.sight import Sight, Sighted
from canary.errors import NotFound
from canary.rollout.harm import Harm
from canary.rollout.state import RolloutState
from canary.stats.evidence import Evidence
from canary.store.bodies import Bodies
from canary.store.memory import MemoryCalibration, MemoryCounters, MemoryStore
from canary.store.pairs import PairDetail, PairSide, PairSummary
from tests.support.books import ManualClock, memory_books
from tests.support.rollouts import an_evidence
from tests.support.store_rows import a_config

PAIR = "0195c2d0000070008000000000000001"


def a_pair_side(version: str, **fields: Any) -> PairSide:
    usual = {"version": version, "status": 200, "ending": "whole", "failed": False, "latency_us": 1_500, "ttfb_us": 900}
    return PairSide(**(usual | {"end_us": 2_000, "bytes": 12} | fields))


def a_pair_summary(**fields: Any) -> PairSummary:
    at = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
    usual = {"exchange_id": PAIR, "recorded_at": at, "start_at": at, "route": "chat", "rollout": "r1", "segment": 7}
    sides = {"live": a_pair_side("v1"), "shadow": a_pair_side("v2", status=500, failed=True)}
    words = {"same_status": False, "same_body": False, "lost": False, "differs": True}
    return PairSummary(**(usual | sides | words | fields))


class FakePairs:
    """One pair, whose bodies hold markup and bytes."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.summary = a_pair_summary()

    async def list(self, **asked: Any) -> Sequence[PairSummary]:
        self.asked = asked
        return [self.summary]

    async def show(self, exchange_id: str) -> PairDetail:
        if exchange_id != PAIR:
            raise NotFound(f"no pair {exchange_id}")
        bodies = Bodies(request=b'{"q":1}', live=b"<script>alert(1)</script>", shadow=b"\xff\xfe", live_truncated=True)
        return PairDetail(summary=self.summary, method="POST", path="/v1/x", arm="stable", bodies=bodies)


class DamagedCounters(MemoryCounters):
    """Counters of which one rollout's cannot be read."""

    def __init__(self, rollout: str, error: Exception | None = None) -> None:
        super().__init__(MemoryStore(ManualClock()))
        self._rollout = rollout
        self._error = error or ValueError("cells are damaged")

    async def freshness(self, rollout: str) -> float | None:
        """Fails for that rollout."""
        if rollout == self._rollout:
            raise self._error
        return await super().freshness(rollout)


class AdminWorld:
    """Everything that a test of the admin port looks at."""

    def __init__(self) -> None:
        self.books = memory_books()
        self.pairs = FakePairs()
        self.evidence: Evidence | None = an_evidence()
        self.harm: Harm | None = None
        self.reloads: list[bool] = []
        self.trouble: Exception | None = None
        assert self.books.clock is not None
        self.calibration = MemoryCalibration(MemoryStore(self.books.clock))
        self.control = control = ControlBooks(
            rollouts=self.books.rollouts,
            counters=self.books.counters,
            plans=self.books.plans,
            clock=self.books.clock,
            calibration=self.calibration,
        )
        self.services = Services(reload=self._reload)
        self.services.books = Books(control=control, pairs=self.pairs, see=self._see)

    async def publish(self, config: Config | None = None) -> None:
        await self.books.plans.publish(config or a_config(), by="test")

    def client(self, *, token: str | None = None, host: str = "127.0.0.1") -> "TestClient[Any, Any]":
        return TestClient(TestServer(admin_application(self.services, token=token, host=host)))

    def look_with(self, counters: MemoryCounters) -> None:
        """From now on the pages look at these counters themselves."""
        see = Sight(dataclasses.replace(self.control, counters=counters)).see
        self.services.books = Books(control=self.control, pairs=self.pairs, see=see)

    async def _see(self, _: RolloutState) -> Sighted:
        if self.trouble is not None:
            raise self.trouble
        return Sighted(evidence=self.evidence, harm=self.harm)

    async def _reload(self, dry_run: bool) -> Reloaded:
        self.reloads.append(dry_run)
        if self.trouble is not None:
            raise self.trouble
        return Reloaded(revision=3, changed=True, differences=("routes.chat.stable: v1 -> v2",))


@pytest.fixture
async def world() -> AdminWorld:
    return AdminWorld()


@pytest.fixture
async def client(world: AdminWorld) -> AsyncIterator[Any]:
    async with world.client() as open_client:
        yield open_client
