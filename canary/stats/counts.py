"""Integer counts: rows of cells as journals commit them, and what of them is settled."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from canary.stats.cells import ARM_SHIFT, SECOND_SHIFT, WHOLE_MINUTE, arrays_of, from_bytes, to_bytes
from canary.stats.contrast import CELLS, Vector
from canary.stats.frozen import Scoring
from canary.stats.tables import Tables, tables_of
from canary.terms import Frozen

__all__ = ["CounterRow", "Horizon", "Ledger", "SegmentTotals", "Totals", "from_bytes", "to_bytes"]

_SECOND_US: Final = 1_000_000
_MINUTE_S: Final = 60
_SECOND_MASK: Final = 0xFF << SECOND_SHIFT
_CODE_MASK: Final = ~(_SECOND_MASK | 0x7F << (ARM_SHIFT + 1))
_CORRECTABLE_MIN: Final = 120
"""For this long a newer row can still replace a folded minute. Nothing settled changes any more, so it need not be longer."""

_AFTER_ALL: Final = 2**62
"""The tick of a journal that will say nothing more."""


class CounterRow(Frozen, frozen=True, kw_only=True):
    """One journal's cumulative cells of one minute and segment; without a journal, what was moved together once it was closed.

    A fleet row holds the rows that `journals` had for its minute, settled for every age: it stands in their place. A total row
    holds the fleet rows of its segment with minute <= its `minute` and revision <= `holds`, and stands in theirs. Both grow:
    of two with one key the newer revision counts. Segment 0's total row has no cells: `restarts` is what late onset's bets
    keep of the minutes up to `minute`, as the ledger wrote it down.
    """

    rollout: str
    segment: int
    journal: str  # empty: of the fleet
    minute: int
    cells: bytes
    revision: int
    journals: tuple[str, ...] = ()  # of a fleet row
    total: bool = False
    holds: int = 0  # of a total row, as the three below
    first_s: int = 0  # second of the first start
    last_s: int = 0
    restarts: bytes = b""


class Horizon(Frozen, frozen=True, kw_only=True):
    """How far a journal is complete."""

    journal: str
    tick_at_us: int
    dead: bool


class SegmentTotals(Frozen, frozen=True, kw_only=True):
    """The settled counts of one segment."""

    counts: tuple[int, ...]  # four for each of the scoring's contrasts, in their order
    assigned_candidate: int = 0  # starts, settled or not
    assigned_stable: int = 0
    settled_s: tuple[int, ...] = ()  # for each age of the contrasts, ascending: span of the starts that are settled for it


class Totals(Frozen, frozen=True, kw_only=True):
    """All that a decision reads of the counters."""

    segments: dict[int, SegmentTotals] = {}
    as_of_us: int = 0  # last committed tick of the slowest live journal; 0: none

    def flat(self, scoring: Scoring) -> dict[str, int]:
        """Every count that is not zero by a readable name: `7/error.rollback/3` is cell 3 of that contrast in segment 7."""
        named: dict[str, int] = {}
        for segment, totals in sorted(self.segments.items()):
            for index, count in enumerate(totals.counts):
                named[f"{segment}/{scoring.contrasts[index // CELLS].name}/{index % CELLS}"] = count
            named[f"{segment}/assigned/candidate"] = totals.assigned_candidate
            named[f"{segment}/assigned/stable"] = totals.assigned_stable
            for index, span in enumerate(totals.settled_s):
                named[f"{segment}/settled_s/{index}"] = span
        return {name: count for name, count in named.items() if count}

    @classmethod
    def of_flat(cls, named: Mapping[str, int], scoring: Scoring, *, as_of_us: int = 0) -> "Totals":
        """The totals that `flat` wrote down."""
        segments = sorted({int(name.split("/", 1)[0]) for name in named})
        ages = len(tables_of(scoring).ages_us)
        names = [f"{contrast.name}/{cell}" for contrast in scoring.contrasts for cell in range(CELLS)]
        return cls(
            segments={
                segment: SegmentTotals(
                    counts=tuple(named.get(f"{segment}/{name}", 0) for name in names),
                    assigned_candidate=named.get(f"{segment}/assigned/candidate", 0),
                    assigned_stable=named.get(f"{segment}/assigned/stable", 0),
                    settled_s=tuple(named.get(f"{segment}/settled_s/{age}", 0) for age in range(ages)),
                )
                for segment in segments
            },
            as_of_us=as_of_us,
        )


_Key = tuple[int, str, int]  # segment, journal, minute


class _Row:
    """The newest row of one key, and once it was needed, its columns summed from the minute's start to each second."""

    __slots__ = ("cells", "first_s", "last_s", "reach", "revision")

    def __init__(self, row: CounterRow) -> None:
        self.revision = row.revision
        self.cells = row.cells
        self.reach: Vector | None = None  # [61, columns]
        self.first_s = _AFTER_ALL
        self.last_s = 0

    def summed(self, minute: int, tables: Tables) -> Vector:
        if self.reach is None:
            self.reach = self._sum(minute, tables)
            self.cells = b""
        return self.reach

    def _sum(self, minute: int, tables: Tables) -> Vector:
        keys, counts = arrays_of(self.cells)
        seconds = (keys & _SECOND_MASK) >> SECOND_SHIFT
        seconds[seconds == WHOLE_MINUTE] = _MINUTE_S - 1
        codes, place = np.unique(keys & _CODE_MASK, return_inverse=True)
        by_second = np.bincount(place * _MINUTE_S + seconds, weights=counts, minlength=len(codes) * _MINUTE_S)
        if len(codes):
            self.first_s = minute * _MINUTE_S + int(seconds.min())
            self.last_s = minute * _MINUTE_S + int(seconds.max())
        meaning = np.array([tables.vector(code) for code in codes.tolist()]).reshape(len(codes), tables.columns)
        reach = np.zeros((_MINUTE_S + 1, tables.columns))
        np.cumsum(by_second.reshape(len(codes), _MINUTE_S).T @ meaning, axis=0, out=reach[1:])
        return reach


class Ledger:
    """All counter rows of one rollout, in any order and however often: the newest row of a journal's minute counts.

    Minutes that are settled for every age are added up once, so a look costs the open minutes alone. Read the horizons
    before the rows: a horizon that is newer than the rows beside it would settle what they do not hold yet.
    """

    def __init__(self) -> None:
        self._open: dict[_Key, _Row] = {}
        self._folded: dict[_Key, tuple[int, Vector]] = {}  # revision and columns, while a correction may come
        self._gone: set[_Key] = set()
        self._sums: dict[int, Vector] = {}  # of folded minutes, by segment
        self._spans: dict[int, tuple[int, int]] = {}  # of folded minutes: first and last second of start
        self._newest_tick_us = 0
        self._scoring: Scoring | None = None

    def add(self, rows: Iterable[CounterRow]) -> None:
        """Takes rows in; an older revision than the one at hand changes nothing."""
        for row in rows:
            key = (row.segment, row.journal, row.minute)
            if key in self._gone:
                continue
            at_hand = self._open.get(key)
            folded = self._folded.get(key)
            if (at_hand and at_hand.revision >= row.revision) or (folded and folded[0] >= row.revision):
                continue
            if folded:
                self._sums[row.segment] -= folded[1]
                del self._folded[key]
            self._open[key] = _Row(row)

    def settled(self, horizons: Sequence[Horizon], scoring: Scoring) -> Totals:
        """What is settled for each contrast: second k (starts in [k, k + 1)) of a journal is settled for an age once its
        committed tick has reached k + 1 + age; a dead journal is settled whole. No journal waits for another.

        Raises ValueError where the ledger was read under another scoring before: counts have meaning under one alone.
        """
        if self._scoring is not None and scoring != self._scoring:
            raise ValueError("a ledger belongs to the scoring that it was first read under")
        self._scoring = scoring
        tables = tables_of(scoring)
        live = [horizon for horizon in horizons if not horizon.dead]
        ticks = {horizon.journal: _AFTER_ALL if horizon.dead else horizon.tick_at_us for horizon in horizons}
        look = _Look(tables, self._sums, self._spans)
        for key, row in sorted(self._open.items()):
            if look.add(key, row, ticks.get(key[1], 0)):
                self._fold(key, row, tables)
        self._newest_tick_us = max([self._newest_tick_us, *(horizon.tick_at_us for horizon in live)])
        self._forget()
        return look.totals(min((horizon.tick_at_us for horizon in live), default=0))

    def _fold(self, key: _Key, row: _Row, tables: Tables) -> None:
        segment = key[0]
        columns = row.summed(key[2], tables)[-1].copy()
        sums = self._sums.get(segment)
        self._sums[segment] = columns.copy() if sums is None else sums + columns
        first_s, last_s = self._spans.get(segment, (_AFTER_ALL, 0))
        self._spans[segment] = (min(first_s, row.first_s), max(last_s, row.last_s))
        self._folded[key] = (row.revision, columns)
        del self._open[key]

    def _forget(self) -> None:
        """Gives up what is needed only to correct a folded minute, once no correction can come."""
        oldest = self._newest_tick_us // (_SECOND_US * _MINUTE_S) - _CORRECTABLE_MIN
        if len(self._folded) < 2 * _CORRECTABLE_MIN:
            return
        for key in [key for key in self._folded if key[2] < oldest]:
            del self._folded[key]
            self._gone.add(key)


class _Look:
    """The sums of one look."""

    def __init__(self, tables: Tables, sums: Mapping[int, Vector], spans: Mapping[int, tuple[int, int]]) -> None:
        self._tables = tables
        self._sums = {segment: vector.copy() for segment, vector in sums.items()}
        ages = len(tables.ages_us)
        self._first_s = {segment: span[0] for segment, span in spans.items()}
        self._until_s = {segment: np.full(ages, span[1] + 1, dtype=np.int64) for segment, span in spans.items()}
        self._columns = np.arange(tables.columns)

    def add(self, key: _Key, row: _Row, tick_us: int) -> bool:
        """Adds what is settled of an open row; True where all of it is."""
        segment, _, minute = key
        reach = row.summed(minute, self._tables)
        settled_until_s = (tick_us - self._tables.ages_us) // _SECOND_US  # for each age, exclusive
        seconds = np.append(np.clip(settled_until_s - minute * _MINUTE_S, 0, _MINUTE_S), _MINUTE_S)
        columns = reach[seconds[self._tables.age_of_column], self._columns]
        if segment in self._sums:
            self._sums[segment] += columns
        else:
            self._sums[segment] = columns
        self._first_s[segment] = min(self._first_s.get(segment, _AFTER_ALL), row.first_s)
        until_s = np.minimum(settled_until_s, row.last_s + 1)
        before = self._until_s.get(segment)
        self._until_s[segment] = until_s if before is None else np.maximum(before, until_s)
        return bool(seconds.min() == _MINUTE_S)

    def totals(self, as_of_us: int) -> Totals:
        segments = {}
        for segment in sorted(self._sums):
            counts = [round(count) for count in self._sums[segment].tolist()]
            spans = np.maximum(self._until_s[segment] - self._first_s[segment], 0)
            segments[segment] = SegmentTotals(
                counts=tuple(counts[:-2]),
                assigned_candidate=counts[-2],
                assigned_stable=counts[-1],
                settled_s=tuple(spans.tolist()),
            )
        return Totals(segments=segments, as_of_us=as_of_us)
