"""The ledger over a store that closes minutes: the same totals as if nothing had moved, and few rows to read."""

import random
from dataclasses import dataclass, field

from canary.errors import CountersMoved
from canary.ports import Fence
from canary.stats.cells import WHOLE
from canary.stats.counts import CounterRow, Ledger, Totals
from canary.stats.scoring import Fact
from canary.store.rows import CounterDelta
from canary.terms import Arm
from tests.support.books import Books
from tests.support.plain_scores import Request
from tests.support.scorings import a_scoring, rows_of_requests
from tests.support.store_rows import a_batch
from tests.support.streams import EPOCH_US, MINUTE_US

SCORING = a_scoring()
SETTLE_US = 15_000_000
JOURNALS = ("j1", "j2", "j3")
OPEN_MINUTES = 2
"""Minutes that a journal may have open: the present one, and the one before while its answers are on their way."""


@dataclass
class Reading:
    """A ledger that reads on."""

    ledger: Ledger = field(default_factory=Ledger)
    newest: int = 0
    rows: int = 0  # of the last look

    async def look(self, books: Books) -> Totals:
        """As a controller looks: horizons first, then what grew, all anew where rows moved unseen."""
        horizons = list(await books.counters.horizons("r"))
        try:
            found, self.newest = await books.counters.read("r", since=self.newest)
            self.ledger.add(found)
        except CountersMoved:
            self.ledger.stale = True
        if self.ledger.stale:
            self.ledger = Ledger()
            found, self.newest = await books.counters.read("r")
            self.ledger.add(found)
        self.rows = len(found)
        return self.ledger.settled(horizons, SCORING)


@dataclass
class Sidecars:
    """Journals that commit each minute, their ticks a little apart; one stops for a while and comes back with what it has."""

    books: Books
    chance: random.Random
    requests: dict[str, list[Request]] = field(default_factory=lambda: {name: [] for name in JOURNALS})
    offsets: dict[str, int] = field(default_factory=dict)
    rows: dict[tuple[str, int], CounterRow] = field(default_factory=dict)  # as if nothing moved

    async def minute(self, minute: int) -> None:
        """A minute of traffic, and its commits."""
        for journal in JOURNALS:
            for _ in range(3):
                self.requests[journal].append(a_request(self.chance, minute))
            if not (journal == "j3" and 20 <= minute < 40):
                await self._commit(journal, EPOCH_US + minute * MINUTE_US + 60_000_000 + self.chance.randrange(3_000_000))

    async def _commit(self, journal: str, tick_at_us: int) -> None:
        oldest = tick_at_us // MINUTE_US - (30 if journal == "j3" else 3)
        recent = [request for request in self.requests[journal] if request.start_us // MINUTE_US >= oldest]
        found = rows_of_requests(SCORING, recent, journal=journal, seen_until_us=tick_at_us)
        changed = [row for row in found if self.rows.get((journal, row.minute)) != row]
        self.rows |= {(journal, row.minute): row for row in changed}
        offset = self.offsets.get(journal, 0)
        deltas = [CounterDelta("r", row.segment, row.minute, row.cells, WHOLE) for row in changed]
        batch = a_batch(offset, offset + 1, journal=journal, tick_at_us=tick_at_us, counters=deltas)
        await self.books.recorder.commit(batch)
        self.offsets[journal] = offset + 1

    async def totals(self) -> Totals:
        """What a ledger says that has every journal's own rows."""
        ledger = Ledger()
        ledger.add(self.rows.values())
        return ledger.settled(list(await self.books.counters.horizons("r")), SCORING)


def a_request(chance: random.Random, minute: int) -> Request:
    """Some that start in that minute; one of ten fails, one of five has a copy."""
    latency = round(chance.lognormvariate(12, 1.5))
    fact = Fact(age_us=latency + 300, latency_us=latency, failed=chance.random() < 0.1, left=False)
    return Request(
        start_us=EPOCH_US + minute * MINUTE_US + chance.randrange(MINUTE_US),
        arm=chance.choice([Arm.STABLE, Arm.CANDIDATE]),
        fact=fact,
        mirrored=(mirrored := chance.random() < 0.2),
        shadow=fact if mirrored else None,
    )


async def test_totals_are_the_same_as_if_nothing_had_moved_and_few_rows_are_read(books: Books) -> None:
    lease = await books.leases.acquire("control", "one", 3_600)
    assert lease is not None
    fence = Fence(name="control", epoch=lease.epoch)
    sidecars, leader, person = Sidecars(books, random.Random(4)), Reading(), Reading()
    folded = 0
    for minute in range(150):
        await sidecars.minute(minute)
        if minute % 5 == 4:
            seen = await leader.look(books)
            assert minute % 25 < 20 or seen == await sidecars.totals()
            await books.counters.close("r", fence=fence, settle_us=SETTLE_US)
            if leader.ledger.old_minute:
                old = leader.ledger.old_minute
                folded += await books.counters.fold("r", fence=fence, minute=old, seen=leader.newest)
        if minute % 50 == 49:
            assert await person.look(books) == await sidecars.totals()
    assert folded >= 10
    expected, anew = await sidecars.totals(), Reading()
    for reading in (leader, person, anew):
        assert await reading.look(books) == expected
    assert anew.rows <= 120 + 15 + 1 + OPEN_MINUTES * len(JOURNALS)
