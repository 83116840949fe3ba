"""The plan as last read: what is known of segments, and whether this is still the database that the spool belongs to."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from canary.courier.books import Books
from canary.courier.known import Known, calibrating, learn
from canary.errors import StoreError
from canary.ports import PlanInForce
from canary.store.spool import journals
from canary.store.whole_file import write_whole

LATELY: Final = 50  # rollouts that are looked through for a segment that is in no active one

_log = structlog.get_logger("canary.courier")


class ReplacedDatabase(StoreError):
    """Another database answers than the one that the journals were recorded into."""


class PlanWatch:
    """Reads the plan on behalf of the tails and the refresher."""

    def __init__(self, state_dir: Path, books: Books, *, led: Callable[[], None] | None = None) -> None:
        """`led` is called for each reading under a leader's lease."""
        self.known = Known()
        self._books = books
        self._led = led
        self._id_file = state_dir / "database-id"
        self._spool = state_dir / "journal"
        self._unknowable: set[int] = set()  # looked for in vain: their frames make rows and no counts

    async def look(self) -> PlanInForce:
        """Reads the plan; raises ReplacedDatabase, StoreAway."""
        plan = await self._books.plans.in_force()
        self._identify(plan.database_id)
        if plan.led and self._led is not None:
            self._led()
        known = learn(self.known, plan.published, states=plan.rollouts, revision=plan.plan_revision)
        self.known = calibrating(known, plan.calibrations)
        return plan

    async def find(self, segments: set[int]) -> Known:
        """What is known, after a fresh reading where one of the segments is new; raises StoreAway."""
        missing = segments - self.known.segments.keys() - self._unknowable
        if missing:
            await self.look()
            if missing - self.known.segments.keys():
                ended = await self._books.rollouts.find(limit=LATELY)
                self.known = learn(self.known, None, states=ended, revision=self.known.revision)
            unknown = missing - self.known.segments.keys()
            if unknown:
                _log.warning("segments unknown to the plan: recorded, not counted", segments=sorted(unknown))
            self._unknowable |= unknown
        return self.known

    def _identify(self, database_id: str) -> None:
        try:
            expected = self._id_file.read_text().strip()
        except FileNotFoundError:
            expected = ""
        if expected == database_id:
            return
        if expected and journals(self._spool):
            raise ReplacedDatabase(
                f"this is database {database_id}, but the journals in {self._spool} belong to database {expected}",
                hint=f"Bring the old database back. To give up what is not yet committed, stop, remove {self._spool} and "
                f"{self._id_file}, and start again.",
            )
        write_whole(self._id_file, database_id.encode())
