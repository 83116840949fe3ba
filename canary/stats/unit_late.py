"""First failures of units since each ten minutes of a rollout: what late onset's bets on sticky units read.

A bet that begins with a block forgets everything before it: of each unit the first failure that started in the block or after
it counts, whether or not the unit had failed before.
"""

from bisect import bisect_left, insort
from typing import Final

from canary.stats.first_event import FirstEvent, FirstEvents

MOST_SINCE: Final = 5_000
"""Units counted since one block, those with the smallest starts: a bet that has seen so many has long been decided."""

Counts = dict[int, tuple[int, int]]
"""Units by segment: candidate, stable."""


class LateFirsts:
    """Settled failures in any order, with repetitions."""

    def __init__(self) -> None:
        self._heads: list[int] = []  # blocks with a failure, ascending
        self._since: dict[int, FirstEvents] = {}

    def add(self, block: int, unit_hash: bytes, event: FirstEvent) -> None:
        """Takes in a unit's first failure of one block."""
        if block not in self._since:
            self._begin(block)
        for head in self._heads[: bisect_left(self._heads, block) + 1]:
            self._since[head].add(unit_hash, event)

    def forget(self, before: int) -> None:
        """Drops the bets that began before that block: what they have not seen in two hours later ones see as well."""
        for head in self._heads[: bisect_left(self._heads, before)]:
            del self._since[head]
        self._heads = self._heads[bisect_left(self._heads, before) :]

    def counts(self) -> dict[int, Counts]:
        """Units with a failure since each block that has one, by block; blocks between say what the next one says."""
        return {head: self._since[head].counts() for head in self._heads}

    def _begin(self, block: int) -> None:
        """What came after a block belongs to it as well."""
        place = bisect_left(self._heads, block)
        found = self._since[block] = FirstEvents(most=MOST_SINCE)
        if place < len(self._heads):
            found.add_all(self._since[self._heads[place]])
        insort(self._heads, block)
