"""Integer counts: rows of cells as journals commit them, and what of them is settled."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from canary.stats.cells import (
    METRIC_SHIFT,
    SECOND_SHIFT,
    STRATUM_SHIFT,
    WHOLE_MINUTE,
    arrays_of,
    from_bytes,
    to_bytes,
)
from canary.stats.frozen import Scoring, the_same
from canary.stats.horizon import Horizon, present_us
from canary.stats.restarts import LENGTH
from canary.stats.tables import tables_of
from canary.stats.totals import Block, Ints, SegmentTotals, Totals, read_late
from canary.stats.value_cells import FIRST_VALUE
from canary.stats.values import columns_of
from canary.terms import Frozen

__all__ = ["Block", "CounterRow", "Horizon", "Ledger", "SegmentTotals", "Totals", "from_bytes", "to_bytes"]

FLEET: Final = ""
"""In place of a journal's name."""

_SECOND_US: Final = 1_000_000
_MINUTE_S: Final = 60
_MINUTE_US: Final = _MINUTE_S * _SECOND_US
_SECOND_MASK: Final = 0xFF << SECOND_SHIFT
_STRATUM_MASK: Final = (1 << METRIC_SHIFT - STRATUM_SHIFT) - 1
_CODE_MASK: Final = ~(_SECOND_MASK | _STRATUM_MASK << STRATUM_SHIFT)
CORRECTABLE_MIN: Final = 180
"""For this long a newer row can still replace a folded minute. Nothing settled changes any more, but it is longer than minutes
are told apart: what becomes part of a total must still be at hand, to be taken out."""

_SLACK_MIN: Final = 10
"""Clocks of journals differ, and the one in the middle may go back when another takes its place."""

_AFTER_ALL: Final = 2**62
"""The tick of a journal that will say nothing more."""

_STARTS: Final = 2
"""Columns of starts, at the end of all."""


class CounterRow(Frozen, frozen=True, kw_only=True):
    """One journal's cumulative cells of one minute and segment; without a journal, what was moved together once it was closed.

    A fleet row holds the rows that `journals` had for its minute, settled for every age: it stands in their place. A total row
    holds the fleet rows of its segment with minute <= its `minute` and revision <= `holds`, and stands in theirs. Both grow:
    of two with one key the newer revision counts.
    """

    rollout: str
    segment: int
    journal: str  # empty: of the fleet
    minute: int
    cells: bytes
    revision: int
    journals: tuple[str, ...] = ()  # of a fleet row
    total: bool = False
    holds: int = 0  # of a total row, as the two below
    first_s: int = 0  # second of the first start
    last_s: int = 0


_Key = tuple[int, str, int]  # segment, journal, minute
_Place = tuple[int, int]  # minute, segment
_Reach: TypeAlias = npt.NDArray[np.int32] | npt.NDArray[np.int64]


class _Layout:
    """One segment's integers: the rates of each stratum, the values, and the starts of candidate and stable."""

    def __init__(self, scoring: Scoring) -> None:
        self.scoring = scoring
        self.tables = tables_of(scoring)
        self.values = columns_of(scoring)
        self.each = self.tables.columns - _STARTS
        self.rates = scoring.strata * self.each
        self.size = self.rates + self.values.size + _STARTS
        ages = self.tables.age_of_column
        self.age_of_column = np.concatenate([np.tile(ages[:-_STARTS], scoring.strata), ages[-_STARTS:]])
        self.in_blocks = read_late(scoring)

    def reach(self, keys: Ints, counts: Ints, seconds: Ints) -> Ints:
        """Rates and starts of a row, summed from the minute's start to each second, [61, columns]."""
        found = np.zeros((_MINUTE_S + 1, self.rates + _STARTS), dtype=np.int64)
        strata = keys >> STRATUM_SHIFT & _STRATUM_MASK
        for stratum in np.unique(strata).tolist():
            here = strata == stratum
            codes, place = np.unique(keys[here] & _CODE_MASK, return_inverse=True)
            by_second = np.bincount(
                place * _MINUTE_S + seconds[here], weights=counts[here], minlength=len(codes) * _MINUTE_S
            ).reshape(len(codes), _MINUTE_S)
            meaning = np.array([self.tables.vector(code) for code in codes.tolist()]).reshape(len(codes), -1)
            summed = np.cumsum(by_second.T @ meaning, axis=0).astype(np.int64)
            found[1:, stratum * self.each : (stratum + 1) * self.each] += summed[:, :-_STARTS]
            found[1:, -_STARTS:] += summed[:, -_STARTS:]
        return found

    def arrays(self, cells: bytes) -> tuple[Ints, Ints]:
        """Keys and counts of a row; a class that the rollout does not know is one of the requests of no named class."""
        keys, counts = arrays_of(cells)
        unknown = keys >> STRATUM_SHIFT & _STRATUM_MASK >= self.scoring.strata
        return np.where(unknown, keys & ~(_STRATUM_MASK << STRATUM_SHIFT), keys), counts

    def whole(self, row: "_Row") -> Ints:
        """All integers of a row that is settled for every age."""
        found = np.zeros(self.size, dtype=np.int64)
        reach = row.summed(self)[-1]
        found[: self.rates], found[-_STARTS:] = reach[: self.rates], reach[-_STARTS:]
        if self.values.size:
            self.values.add(found[self.rates : -_STARTS], *self.arrays(row.row.cells))
        return found


class _Row:
    """The newest row of one key, and once it was needed, its columns summed from the minute's start to each second."""

    __slots__ = ("first_s", "last_s", "reach", "row", "whole")

    def __init__(self, row: CounterRow) -> None:
        self.row = row
        self.reach: _Reach | None = None
        self.whole: Ints | None = None  # of a total
        self.first_s = row.first_s if row.total else _AFTER_ALL
        self.last_s = row.last_s

    @property
    def revision(self) -> int:
        return self.row.revision

    def summed(self, layout: _Layout) -> _Reach:
        if self.reach is None:
            keys, counts = layout.arrays(self.row.cells)
            timed = keys >> METRIC_SHIFT < FIRST_VALUE
            keys, counts = keys[timed], counts[timed]
            seconds = (keys & _SECOND_MASK) >> SECOND_SHIFT
            seconds[seconds == WHOLE_MINUTE] = _MINUTE_S - 1
            if len(keys) and not self.row.total:
                self.first_s = self.row.minute * _MINUTE_S + int(seconds.min())
                self.last_s = self.row.minute * _MINUTE_S + int(seconds.max())
            reach = layout.reach(keys, counts, seconds)
            # A minute fits into half a word, and many are open at once; a total is of all time.
            self.reach = reach if self.row.total else reach.astype(np.int32)
        return self.reach


class Ledger:
    """All counter rows of one rollout, in any order and however often: the newest row of a journal's minute counts.

    Minutes that are settled for every age are added up once, so a look costs the open minutes alone. Read the horizons
    before the rows: a horizon that is newer than the rows beside it would settle what they do not hold yet.
    """

    def __init__(self) -> None:
        self.stale = False
        """Something was moved that this ledger had added up for good: a new one must read all rows anew."""
        self.old_minute = 0
        """Nobody reads minutes up to here one by one any more, as of the last look."""
        self._open: dict[_Key, _Row] = {}
        self._folded: dict[_Key, _Row] = {}  # while a correction may come
        self._gone: set[_Key] = set()
        self._absorbed: set[_Key] = set()
        self._totals: dict[int, _Row] = {}
        self._sums: dict[int, Ints] = {}  # of folded minutes, by segment
        self._blocks: dict[_Place, Ints] = {}  # of folded minutes
        self._packed: dict[_Place, Block] = {}  # the same as they are handed out, while they stay
        self._spans: dict[int, tuple[int, int]] = {}  # of folded minutes: first and last second of start
        self._layout: _Layout | None = None
        self._forgot_at = 0  # the minute

    def add(self, rows: Iterable[CounterRow]) -> None:
        """Takes rows in; an older revision than the one at hand changes nothing."""
        for row in rows:
            if row.total:
                self._add_total(row)
            else:
                self._add(row)

    def _add(self, row: CounterRow) -> None:
        key = (row.segment, row.journal, row.minute)
        if key in self._absorbed or self._is_in_total(row):
            return
        if key in self._gone:
            self.stale = self.stale or not row.journal
            return
        at_hand = self._open.get(key) or self._folded.get(key)
        if at_hand is not None and at_hand.revision >= row.revision:
            return
        self._drop(key)
        self._open[key] = _Row(row)
        for journal in row.journals:
            self._absorb((row.segment, journal, row.minute))

    def _add_total(self, row: CounterRow) -> None:
        """A total stands in the place of the fleet rows that it holds."""
        at_hand = self._totals.get(row.segment)
        if at_hand is not None and at_hand.revision >= row.revision:
            return
        self._totals[row.segment] = _Row(row)
        every = [key for keys in (self._open, self._folded, self._gone) for key in keys]
        for key in every:
            if key[0] != row.segment or key[2] > row.minute:
                continue
            found = self._open.get(key) or self._folded.get(key)
            if key[1] == FLEET and found is not None:
                if found.revision <= row.holds:
                    self._drop(key)
            elif self._layout is not None:
                # The fleet's row that took this one in may have come and gone unseen: it would count twice.
                self.stale = True

    def _is_in_total(self, row: CounterRow) -> bool:
        found = self._totals.get(row.segment)
        if found is None or row.journal != FLEET:
            return False
        return row.minute <= found.row.minute and row.revision <= found.row.holds

    def _absorb(self, key: _Key) -> None:
        self._absorbed.add(key)
        self.stale = self.stale or key in self._gone
        self._drop(key)

    def _drop(self, key: _Key) -> None:
        """Takes a row out, and out of the sums where it was added up."""
        self._open.pop(key, None)
        row = self._folded.pop(key, None)
        if row is not None:
            assert self._layout is not None
            whole = self._layout.whole(row)
            place = (key[2], key[0])
            self._sums[key[0]] -= whole
            self._blocks[place] -= whole[:-_STARTS]
            self._packed.pop(place, None)

    def settled(self, horizons: Sequence[Horizon], scoring: Scoring) -> Totals:
        """What is settled for each contrast: second k (starts in [k, k + 1)) of a journal is settled for an age once its
        committed tick has reached k + 1 + age; a dead journal and the fleet are settled whole. No journal waits for another.

        Raises ValueError where the ledger was read under another scoring before: counts have meaning under one alone.
        """
        scoring = the_same(scoring)
        if self._layout is None:
            self._layout = _Layout(scoring)
        elif scoring is not self._layout.scoring and scoring != self._layout.scoring:
            raise ValueError("a ledger belongs to the scoring that it was first read under")
        live = sorted(horizon.tick_at_us for horizon in horizons if not horizon.dead)
        ticks = {horizon.journal: _AFTER_ALL if horizon.dead else horizon.tick_at_us for horizon in horizons}
        ticks[FLEET] = _AFTER_ALL
        last_us = int(self._layout.tables.ages_us[-1])
        for key, row in list(self._open.items()):
            if ticks.get(key[1], 0) - last_us >= (key[2] + 1) * _MINUTE_US:
                self._fold(key, row)
        look = _Look(self._layout, self._sums, self._spans)
        for row in self._totals.values():
            look.add_total(row)
        for key, row in self._open.items():
            look.add(key, row, ticks.get(key[1], 0))
        now = self._now(present_us(horizons), look)
        # A clock that is fast would fill them without end: what is to come counts since the rollout's start alone.
        recent = [place for place in sorted({*self._blocks, *look.blocks}) if -LENGTH < place[0] - now <= LENGTH]
        blocks = [block for place in recent if (block := self._block(place, look)).any]
        self.old_minute = max(0, now - LENGTH - _SLACK_MIN)
        self._forget(now)
        return look.totals(blocks, as_of_us=live[0] if live else 0)

    def _now(self, tick_us: int | None, look: "_Look") -> int:
        """The present minute; without a live journal the last one that counted."""
        if tick_us is not None:
            return tick_us // _MINUTE_US
        return max((minute for minute, _ in [*self._blocks, *look.blocks]), default=0)

    def _fold(self, key: _Key, row: _Row) -> None:
        assert self._layout is not None
        segment, _, minute = key
        whole, place = self._layout.whole(row), (minute, segment)
        self._sums[segment] = self._sums[segment] + whole if segment in self._sums else whole.copy()
        block = whole[:-_STARTS]
        self._blocks[place] = self._blocks[place] + block if place in self._blocks else block.copy()
        self._packed.pop(place, None)
        first_s, last_s = self._spans.get(segment, (_AFTER_ALL, 0))
        self._spans[segment] = (min(first_s, row.first_s), max(last_s, row.last_s))
        row.reach = None
        self._folded[key] = row
        del self._open[key]

    def _block(self, place: _Place, look: "_Look") -> Block:
        assert self._layout is not None
        packed = self._packed.get(place)
        ahead = look.blocks.get(place)
        if packed is not None and ahead is None:
            return packed
        counts = self._blocks.get(place, 0) + (0 if ahead is None else ahead)
        made = Block.of(*place, np.where(self._layout.in_blocks, counts, 0))
        if ahead is None:
            self._packed[place] = made
        return made

    def _forget(self, now: int) -> None:
        """Once a minute: gives up what is needed only to correct a folded minute, once no correction can come."""
        if now == self._forgot_at:
            return
        self._forgot_at, oldest = now, now - CORRECTABLE_MIN
        for key in [key for key in self._folded if key[2] < oldest]:
            del self._folded[key]
            self._gone.add(key)
        self._absorbed = {key for key in self._absorbed if key[2] >= oldest}
        for place in [place for place in self._blocks if place[0] < oldest]:
            del self._blocks[place]
            self._packed.pop(place, None)


class _Look:
    """The sums of one look."""

    def __init__(self, layout: _Layout, sums: Mapping[int, Ints], spans: Mapping[int, tuple[int, int]]) -> None:
        self.blocks: dict[_Place, Ints] = {}  # of open minutes
        self._layout = layout
        self._sums = {segment: vector.copy() for segment, vector in sums.items()}
        self._ages = len(layout.tables.ages_us)
        self._first_s = {segment: span[0] for segment, span in spans.items()}
        self._until_s = {segment: np.full(self._ages, span[1] + 1, dtype=np.int64) for segment, span in spans.items()}
        self._columns = np.arange(layout.rates + _STARTS)

    def add_total(self, row: _Row) -> None:
        """Adds a segment's total."""
        if row.whole is None:
            row.whole, row.reach = self._layout.whole(row), None
        self._add_sum(row.row.segment, row.whole)
        self._add_span(row, np.full(self._ages, row.last_s + 1, dtype=np.int64))

    def add(self, key: _Key, row: _Row, tick_us: int) -> None:
        """Adds what is settled of an open row."""
        layout, (segment, _, minute) = self._layout, key
        reach = row.summed(layout)
        settled_until_s = (tick_us - layout.tables.ages_us) // _SECOND_US  # for each age, exclusive
        seconds = np.append(np.clip(settled_until_s - minute * _MINUTE_S, 0, _MINUTE_S), _MINUTE_S)
        found = np.zeros(layout.size, dtype=np.int64)
        columns = reach[seconds[layout.age_of_column], self._columns]
        found[: layout.rates], found[-_STARTS:] = columns[: layout.rates], columns[-_STARTS:]
        self._add_sum(segment, found)
        self._add_span(row, np.minimum(settled_until_s, row.last_s + 1))
        block = found[:-_STARTS]
        if block.any():
            place = (minute, segment)
            self.blocks[place] = self.blocks[place] + block if place in self.blocks else block

    def _add_sum(self, segment: int, found: Ints) -> None:
        self._sums[segment] = self._sums[segment] + found if segment in self._sums else found.copy()

    def _add_span(self, row: _Row, until_s: Ints) -> None:
        segment = row.row.segment
        self._first_s[segment] = min(self._first_s.get(segment, _AFTER_ALL), row.first_s)
        before = self._until_s.get(segment)
        self._until_s[segment] = until_s if before is None else np.maximum(before, until_s)

    def totals(self, blocks: Sequence[Block], *, as_of_us: int) -> Totals:
        """What was added."""
        segments, rates = {}, self._layout.rates
        for segment in sorted(self._sums):
            counts = self._sums[segment].tolist()
            spans = np.maximum(self._until_s[segment] - self._first_s[segment], 0)
            segments[segment] = SegmentTotals(
                counts=tuple(counts[:rates]),
                values=tuple(counts[rates:-_STARTS]),
                assigned_candidate=counts[-2],
                assigned_stable=counts[-1],
                settled_s=tuple(spans.tolist()),
            )
        first_s = min(self._first_s.values(), default=_AFTER_ALL)
        first_minute = first_s // _MINUTE_S if first_s < _AFTER_ALL else 0
        return Totals(segments=segments, blocks=tuple(blocks), first_minute=first_minute, as_of_us=as_of_us)
