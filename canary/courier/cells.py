"""One journal's cumulative cells: what changed since the last commit is what the next one writes."""

from collections.abc import Iterable
from typing import Final

from canary.stats.cells import from_bytes, to_bytes
from canary.stats.profile import profile_cells
from canary.stats.scoring import Fact
from canary.store.rows import CounterDelta, JournalState, ProfileDelta

MINUTE_US: Final = 60_000_000
HOUR_US: Final = 3_600_000_000
KEPT_MINUTES: Final = 120  # older ones are not changed any more, and not read again after a restart
KEPT_HOURS: Final = 2

_Counts = dict[int, int]


class Cells:
    """Counts by (rollout, segment, minute of start) and by (route, version hash, hour of start)."""

    def __init__(self) -> None:
        self._minutes: dict[tuple[str, int, int], _Counts] = {}
        self._hours: dict[tuple[str, str, int], _Counts] = {}
        self._changed_minutes: set[tuple[str, int, int]] = set()
        self._changed_hours: set[tuple[str, str, int]] = set()

    @classmethod
    def of(cls, state: JournalState) -> "Cells":
        """As they were committed; raises ValueError where stored cells are damaged."""
        cells = cls()
        for row in state.counters:
            cells._minutes[row.rollout, row.segment, row.minute] = from_bytes(row.cells)
        for hour in state.profiles:
            cells._hours[hour.route, hour.version_hash, hour.hour] = from_bytes(hour.cells)
        return cells

    def count(self, place: tuple[str, int, int], keys: Iterable[int]) -> None:
        """Adds one to each key in the row of (rollout, segment, minute of start)."""
        counts = self._minutes.get(place)
        if counts is None:
            counts = self._minutes[place] = {}
        for key in keys:
            counts[key] = counts.get(key, 0) + 1
        self._changed_minutes.add(place)

    def profile(self, place: tuple[str, str, int], fact: Fact) -> None:
        """Adds one outcome of a version as stable to the row of (route, version hash, hour of start)."""
        counts = self._hours.get(place)
        if counts is None:
            counts = self._hours[place] = {}
        for key in profile_cells(fact):
            counts[key] = counts.get(key, 0) + 1
        self._changed_hours.add(place)

    def take(self, tick_at_us: int) -> tuple[list[CounterDelta], list[ProfileDelta]]:
        """The rows that changed since the last call; forgets what is too old to change."""
        minutes = [CounterDelta(*place, to_bytes(self._minutes[place])) for place in sorted(self._changed_minutes)]
        hours = [ProfileDelta(*place, to_bytes(self._hours[place])) for place in sorted(self._changed_hours)]
        self._changed_minutes.clear()
        self._changed_hours.clear()
        self._forget(tick_at_us)
        return minutes, hours

    def _forget(self, tick_at_us: int) -> None:
        first_minute = tick_at_us // MINUTE_US - KEPT_MINUTES
        first_hour = tick_at_us // HOUR_US - KEPT_HOURS
        if len(self._minutes) > KEPT_MINUTES:
            self._minutes = {place: counts for place, counts in self._minutes.items() if place[2] >= first_minute}
        if len(self._hours) > KEPT_HOURS:
            self._hours = {place: counts for place, counts in self._hours.items() if place[2] >= first_hour}
