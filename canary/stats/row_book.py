"""Which counter rows are in force: of journals, of the fleet that took them in, of totals that took the fleet's in.

A row is open until it is settled for every age, then added up, and kept for as long as something may stand in its place.
"""

from collections.abc import Iterator

from canary.stats.counts import CORRECTABLE_MIN, FLEET, CounterRow

Key = tuple[int, str, int]
"""Segment, journal, minute."""


class RowBook:
    """Rows in any order and however often they come."""

    def __init__(self) -> None:
        self.stale = False
        """Something took in a row that was given up here: a new book must read all rows anew."""
        self.looked = False
        """Something was read of it: what comes from now on may be news of rows that have gone."""
        self.open: dict[Key, CounterRow] = {}
        self.totals: dict[int, CounterRow] = {}
        self.settled: dict[Key, CounterRow] = {}
        self._gone: set[Key] = set()
        self._absorbed: set[Key] = set()

    def add(self, row: CounterRow) -> Iterator[CounterRow]:
        """Takes a row in; yields those that were settled and are not in force any more, to be subtracted."""
        if row.total:
            yield from self._add_total(row)
            return
        key = (row.segment, row.journal, row.minute)
        if key in self._absorbed or self._is_in_total(row):
            return
        if key in self._gone:
            self.stale = self.stale or row.journal == FLEET
            return
        at_hand = self.open.get(key) or self.settled.get(key)
        if at_hand is not None and at_hand.revision >= row.revision:
            return
        yield from self._drop(key)
        self.open[key] = row
        for journal in row.journals:
            absorbed = (row.segment, journal, row.minute)
            self._absorbed.add(absorbed)
            self.stale = self.stale or absorbed in self._gone
            yield from self._drop(absorbed)

    def settle(self, key: Key) -> CounterRow:
        """An open row was added up."""
        row = self.settled[key] = self.open.pop(key)
        return row

    def forget(self, minute: int) -> None:
        """Gives up settled rows, and marks, of minutes so long before this one that nothing can take them in any more."""
        oldest = minute - CORRECTABLE_MIN
        if len(self.settled) + len(self._absorbed) < 4 * CORRECTABLE_MIN:
            return
        for key in [key for key in self.settled if key[2] < oldest]:
            del self.settled[key]
            self._gone.add(key)
        self._absorbed = {key for key in self._absorbed if key[2] >= oldest}

    def _add_total(self, row: CounterRow) -> Iterator[CounterRow]:
        at_hand = self.totals.get(row.segment)
        if at_hand is not None and at_hand.revision >= row.revision:
            return
        self.totals[row.segment] = row
        for key in [key for keys in (self.open, self.settled, self._gone) for key in keys]:
            if key[0] != row.segment or key[2] > row.minute:
                continue
            found = self.open.get(key) or self.settled.get(key)
            if key[1] != FLEET or found is None:
                self.stale = self.stale or self.looked  # a fleet row that took it in may have come and gone unseen
            elif found.revision <= row.holds:
                yield from self._drop(key)

    def _is_in_total(self, row: CounterRow) -> bool:
        found = self.totals.get(row.segment)
        return found is not None and row.journal == FLEET and row.minute <= found.minute and row.revision <= found.holds

    def _drop(self, key: Key) -> Iterator[CounterRow]:
        self.open.pop(key, None)
        row = self.settled.pop(key, None)
        if row is not None:
            yield row
