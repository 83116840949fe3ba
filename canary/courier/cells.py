"""One journal's cumulative cells: what changed since the last commit is what the next one writes."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from canary.stats.cells import WHOLE, from_bytes, part_of, to_bytes
from canary.store.rows import CounterDelta, JournalState, ProfileDelta

MINUTE_US: Final = 60_000_000
HOUR_US: Final = 3_600_000_000
KEPT_MINUTES: Final = 120  # older ones are not changed any more, and not read again after a restart
KEPT_HOURS: Final = 2
RESTING_MINUTES: Final = 3  # older ones change seldom: they are kept as bytes, a thirtieth of the memory

_Counts = dict[int, int]
_Minute = tuple[str, int, int]
"""Rollout, segment, minute of start."""
_Part = tuple[str, int, int, int]
"""The same, and the part of the minute."""
_Hour = tuple[str, str, int]
"""Route, version hash, hour of start."""


class Cells:
    """Counts by (rollout, segment, minute of start), in parts, and by (route, version hash, hour of start)."""

    def __init__(self) -> None:
        self._parts: dict[_Part, _Counts] = {}
        self._resting: dict[_Part, bytes] = {}
        self._in_one_piece: set[_Minute] = set()  # written so before minutes had parts: they stay so
        self._hours: dict[_Hour, _Counts] = {}
        # A batch says the same few hundred keys again and again: they are gathered as they come and added up once.
        self._gathered: dict[_Minute, list[int]] = {}
        self._gathered_hours: dict[_Hour, list[int]] = {}
        self._changed_parts: set[_Part] = set()
        self._changed_hours: set[_Hour] = set()
        self._rested_minute = 0

    @classmethod
    def of(cls, state: JournalState) -> "Cells":
        """As they were committed; raises ValueError where stored cells are damaged."""
        cells = cls()
        for row in state.counters:
            minute = row.rollout, row.segment, row.minute
            cells._parts[*minute, row.part] = from_bytes(row.cells)
            if row.part == WHOLE:
                cells._in_one_piece.add(minute)
        for hour in state.profiles:
            cells._hours[hour.route, hour.version_hash, hour.hour] = from_bytes(hour.cells)
        return cells

    def count(self, place: _Minute, keys: Iterable[int]) -> None:
        """Adds one to each key in the rows of (rollout, segment, minute of start)."""
        gathered = self._gathered.get(place)
        if gathered is None:
            gathered = self._gathered[place] = []
        gathered += keys

    def profile(self, place: _Hour, keys: Iterable[int]) -> None:
        """Adds one outcome of a version as stable, in its profile cells, to the row of (route, version hash, hour of start)."""
        gathered = self._gathered_hours.get(place)
        if gathered is None:
            gathered = self._gathered_hours[place] = []
        gathered += keys

    def take(self, tick_at_us: int) -> tuple[list[CounterDelta], list[ProfileDelta]]:
        """The rows that changed since the last call; forgets what is too old to change."""
        self._add_up()
        parts = [
            CounterDelta(rollout, segment, minute, to_bytes(self._parts[rollout, segment, minute, part]), part)
            for rollout, segment, minute, part in sorted(self._changed_parts)
        ]
        hours = [ProfileDelta(*place, to_bytes(self._hours[place])) for place in sorted(self._changed_hours)]
        self._changed_parts.clear()
        self._changed_hours.clear()
        self._forget(tick_at_us)
        return parts, hours

    def _add_up(self) -> None:
        for place, gathered in self._gathered.items():
            self._add_minute(place, Counter(gathered))
        for hour, gathered in self._gathered_hours.items():
            _add(self._hours.setdefault(hour, {}), Counter(gathered))
            self._changed_hours.add(hour)
        self._gathered.clear()
        self._gathered_hours.clear()

    def _add_minute(self, place: _Minute, found: Mapping[int, int]) -> None:
        parts: dict[int, _Counts] = {}
        in_one_piece = place in self._in_one_piece
        for key, count in found.items():
            parts.setdefault(WHOLE if in_one_piece else part_of(key), {})[key] = count
        for number, counts in parts.items():
            part = (*place, number)
            if part not in self._parts:
                self._parts[part] = self._woken(part)
            _add(self._parts[part], counts)
            self._changed_parts.add(part)

    def _woken(self, part: _Part) -> _Counts:
        resting = self._resting.pop(part, None)
        return {} if resting is None else from_bytes(resting)

    def _forget(self, tick_at_us: int) -> None:
        now = tick_at_us // MINUTE_US
        if now > self._rested_minute:
            self._rested_minute = now
            for part in [part for part in self._parts if part[2] < now - RESTING_MINUTES]:
                self._resting[part] = to_bytes(self._parts.pop(part))
            first = now - KEPT_MINUTES
            self._resting = {part: cells for part, cells in self._resting.items() if part[2] >= first}
            self._in_one_piece = {minute for minute in self._in_one_piece if minute[2] >= first}
        first_hour = tick_at_us // HOUR_US - KEPT_HOURS
        if len(self._hours) > KEPT_HOURS:
            self._hours = {place: counts for place, counts in self._hours.items() if place[2] >= first_hour}


def _add(counts: _Counts, more: Mapping[int, int]) -> None:
    for key, count in more.items():
        counts[key] = counts.get(key, 0) + count
