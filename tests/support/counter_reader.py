"""A reader of counters that does only what rows say of each other, and adds up what is left."""

from collections.abc import Iterable

from canary.errors import CountersMoved
from canary.ports import CounterBook
from canary.stats.cells import SECOND_SHIFT, WHOLE_MINUTE, from_bytes
from canary.stats.counts import CounterRow

Sums = dict[tuple[int, int], int]
"""Counts by segment and cell, whatever its second."""


class Reader:
    """Reads on from where it stood; its sum is at all times that of what was committed."""

    def __init__(self) -> None:
        self.newest = 0
        self.anew = 0
        self._rows: dict[tuple[int, str, int], CounterRow] = {}  # segment, journal (empty: the fleet's), minute
        self._totals: dict[int, CounterRow] = {}

    async def look(self, book: CounterBook, rollout: str = "r1") -> list[CounterRow]:
        """Takes in what grew; returns the rows that came."""
        try:
            rows, self.newest = await book.read(rollout, since=self.newest)
        except CountersMoved:
            self._rows, self._totals, self.anew = {}, {}, self.anew + 1
            rows, self.newest = await book.read(rollout)
        self.add(rows)
        return list(rows)

    def add(self, rows: Iterable[CounterRow]) -> None:
        """Newer rows in place of older ones, and of those that they say went into them."""
        for row in rows:
            if row.total:
                self._total(row)
                continue
            at_hand = self._rows.get((row.segment, row.journal, row.minute))
            if at_hand is None or at_hand.revision < row.revision:
                self._rows[row.segment, row.journal, row.minute] = row
            for journal in row.journals:
                self._rows.pop((row.segment, journal, row.minute), None)

    def sums(self) -> Sums:
        """All that is there, each count once."""
        found: Sums = {}
        for row in (*self._rows.values(), *self._totals.values()):
            for key, count in from_bytes(row.cells).items():
                place = (row.segment, key | WHOLE_MINUTE << SECOND_SHIFT)
                found[place] = found.get(place, 0) + count
        return found

    def _total(self, row: CounterRow) -> None:
        self._totals[row.segment] = row
        held = [
            key
            for key, fleet in self._rows.items()
            if key[0] == row.segment and not key[1] and fleet.minute <= row.minute and fleet.revision <= row.holds
        ]
        for key in held:
            del self._rows[key]
