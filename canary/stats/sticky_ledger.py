"""Counter rows of a sticky rollout, and what of them is settled: clusters of users in layers of time, summed as moments.

A layer is a segment, a task class and ten minutes of starts; what the store has added up of older minutes is one layer. A
minute is settled for an age once its journal's tick has passed its end by the age. Integers are added in any order; moments
are sums of fractions and are made of the layers at each look, always in the same order.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from canary.stats.cells import ARM_SHIFT, METRIC_SHIFT, SECOND_SHIFT, STRATUM_SHIFT, arrays_of
from canary.stats.clusters import CLUSTERS, Ints, Layer
from canary.stats.comparisons import NUMBERS, Comparisons, comparisons_of
from canary.stats.contrast import Vector
from canary.stats.counts import FLEET, CounterRow, Horizon
from canary.stats.first_event import FirstEventRow
from canary.stats.frozen import Scoring
from canary.stats.horizon import present_us
from canary.stats.moments import moments_of, no_moments
from canary.stats.row_book import Key, RowBook
from canary.stats.side import SegmentWeight
from canary.stats.sticky_cells import plain
from canary.stats.sticky_totals import StickyTotals
from canary.stats.totals import SegmentTotals
from canary.stats.unit_first import UnitFirsts
from canary.terms import Scored

BLOCK_MIN: Final = 10
"""Minutes of starts in a layer."""

OLD: Final = -1
"""Block of what was added up: its minutes are not known any more."""

TOLD_APART_MIN: Final = 120
"""Older minutes may become one layer: half a dozen shorter ones would tell little more."""

LEAST_IN_LAYER: Final = 10
"""Requests of the arm with fewer of them; a layer with less is joined to the next one of its class."""

_MINUTE_US: Final = 60_000_000
_MINUTE_S: Final = 60
_AFTER_ALL: Final = 2**62
_BIN_MASK: Final = (1 << SECOND_SHIFT) - 1
_STRATUM_MASK: Final = (1 << METRIC_SHIFT - STRATUM_SHIFT) - 1
_CODE_MASK: Final = -(1 << METRIC_SHIFT) | 1 << ARM_SHIFT | _BIN_MASK


class _Counted:
    """Whole numbers of some minutes: by layer and cluster, and plain ones by segment and class."""

    def __init__(self) -> None:
        self.layers: dict[Layer, Ints] = {}  # [cluster, comparisons * 4]
        self.plain: dict[tuple[int, int], Ints] = {}  # (segment, class) -> four for each contrast

    def add(self, other: "_Counted", *, sign: int = 1) -> None:
        """Adds (or subtracts) what another one counted."""
        for layer, found in other.layers.items():
            self.layers[layer] = self.layers[layer] + sign * found if layer in self.layers else sign * found
        for place, numbers in other.plain.items():
            self.plain[place] = self.plain[place] + sign * numbers if place in self.plain else sign * numbers


class StickyLedger:
    """All counter rows and first events of one sticky rollout, in any order and however often. Read the horizons before."""

    def __init__(self) -> None:
        self.stale = False
        """Something was moved that this ledger had added up for good: a new one must read all rows anew."""
        self.old_minute = 0
        """Nobody reads minutes up to here one by one any more, as of the last look: a whole number of layers."""
        self._book = RowBook()
        self._firsts = UnitFirsts()
        self._counted = _Counted()  # of settled rows
        self._moments: dict[Layer, Vector] = {}  # of layers that stayed as they were
        self._minutes: dict[int, tuple[int, int]] = {}  # of settled rows: first and last minute, by segment
        self._read: dict[Key, tuple[int, _Counted]] = {}  # open rows and totals, by their revision
        self._comparisons: Comparisons | None = None

    def add(self, rows: Iterable[CounterRow]) -> None:
        """Takes rows in; an older revision than the one at hand changes nothing."""
        for row in rows:
            for gone in self._book.add(row):
                self._take(gone, sign=-1)
        self.stale = self.stale or self._book.stale

    def add_first(self, rows: Iterable[FirstEventRow]) -> None:
        """Takes first events in."""
        self._firsts.add(rows)

    def settled(self, horizons: Sequence[Horizon], scoring: Scoring, segments: Sequence[SegmentWeight] = ()) -> StickyTotals:
        """What is settled; moments are those of `segments`, warm-ups for errors alone.

        Raises ValueError where the ledger was read under another scoring before: counts have meaning under one alone.
        """
        if self._comparisons is None:
            self._comparisons = comparisons_of(scoring)
        elif scoring != self._comparisons.scoring:
            raise ValueError("a ledger belongs to the scoring that it was first read under")
        self._book.looked = True
        live = sorted(horizon.tick_at_us for horizon in horizons if not horizon.dead)
        ticks = {horizon.journal: _AFTER_ALL if horizon.dead else horizon.tick_at_us for horizon in horizons}
        ticks[FLEET] = _AFTER_ALL
        last_us = max(int(self._comparisons.ages_us.max(initial=0)), scoring.pair_age_us)
        for key in [key for key in self._book.open if ticks.get(key[1], 0) - last_us >= (key[2] + 1) * _MINUTE_US]:
            self._take(self._book.settle(key), sign=1)
        look = _Look(self._comparisons, self._counted, self._minutes)
        self._read = {key: self._read[key] for key in self._read.keys() & {*self._book.open, *self._total_keys()}}
        for row in self._book.totals.values():
            look.add_total(row, self._reading(row))
        for row in self._book.open.values():
            if ticks.get(row.journal, 0) >= (row.minute + 1) * _MINUTE_US:
                look.add(row, self._reading(row), ticks[row.journal])
        scored = {segment.id: segment.scored for segment in segments}
        self._firsts.settle(ticks, age_us=scoring.pair_age_us, scored=scored)
        present = present_us(horizons)
        if present is not None:
            now = present // _MINUTE_US
            self.old_minute = max(0, (now - TOLD_APART_MIN) // BLOCK_MIN * BLOCK_MIN - 1)
            self._book.forget(now)
            self._firsts.forget(self.old_minute)
        return look.totals(segments, self._firsts, self._moments, as_of_us=live[0] if live else 0)

    def _total_keys(self) -> set[Key]:
        return {(row.segment, row.journal, row.minute) for row in self._book.totals.values()}

    def _reading(self, row: CounterRow) -> _Counted:
        """What an open row or a total counts, read once for each of its revisions."""
        assert self._comparisons is not None
        key = (row.segment, row.journal, row.minute)
        found = self._read.get(key)
        if found is None or found[0] != row.revision:
            found = self._read[key] = (row.revision, _counted(self._comparisons, row))
        return found[1]

    def _take(self, row: CounterRow, *, sign: int) -> None:
        assert self._comparisons is not None
        found = _counted(self._comparisons, row)
        self._counted.add(found, sign=sign)
        for layer in found.layers:
            self._moments.pop(layer, None)
        first, last = self._minutes.get(row.segment, (row.minute, row.minute))
        self._minutes[row.segment] = (min(first, row.minute), max(last, row.minute))


class _Look:
    """The sums of one look."""

    def __init__(self, comparisons: Comparisons, counted: _Counted, minutes: dict[int, tuple[int, int]]) -> None:
        self._comparisons = comparisons
        self._settled = counted
        self._ahead = _Counted()
        ages = [*dict.fromkeys(sorted({contrast.age_us for contrast in comparisons.scoring.contrasts}))]
        self._ages_us = np.array(ages, dtype=np.int64)
        self._of_plain = np.repeat([contrast.age_us for contrast in comparisons.scoring.contrasts], NUMBERS)
        self._of_layer = np.repeat(comparisons.ages_us, NUMBERS)
        self._first = {segment: first for segment, (first, _) in minutes.items()}
        self._until = {segment: np.full(len(ages), last + 1) for segment, (_, last) in minutes.items()}

    def add_total(self, row: CounterRow, found: _Counted) -> None:
        """Adds what the store has added up."""
        self._ahead.add(found)
        until = np.full(len(self._ages_us), row.last_s // _MINUTE_S + 1)
        self._span(row.segment, row.first_s // _MINUTE_S, until)

    def add(self, row: CounterRow, found: _Counted, tick_us: int) -> None:
        """Adds what is settled of an open row: each comparison's whole minute, or nothing of it."""
        passed_us = tick_us - (row.minute + 1) * _MINUTE_US
        there = self._ages_us <= passed_us
        self._span(row.segment, row.minute, np.where(there, row.minute + 1, 0))
        if not there.any():
            return
        part = _Counted()
        part.layers = {layer: np.where(self._of_layer <= passed_us, cells, 0) for layer, cells in found.layers.items()}
        part.plain = {place: np.where(self._of_plain <= passed_us, counts, 0) for place, counts in found.plain.items()}
        self._ahead.add(part)

    def _span(self, segment: int, first: int, until: Ints) -> None:
        self._first[segment] = min(self._first.get(segment, first), first)
        before = self._until.get(segment)
        self._until[segment] = until if before is None else np.maximum(before, until)

    def totals(
        self, segments: Sequence[SegmentWeight], firsts: UnitFirsts, moments: dict[Layer, Vector], *, as_of_us: int
    ) -> StickyTotals:
        """What was added; `moments` keeps those of layers without an open minute."""
        total = no_moments(len(self._comparisons.all))
        failures = np.array([comparison.failures for comparison in self._comparisons.all])
        for segment in sorted(segments, key=lambda one: one.id):
            if segment.scored is not Scored.NONE:
                found = self._of_segment(segment.id, moments)
                total += found if segment.scored is Scored.ALL else np.where(failures[:, None], found, 0.0)
        units = firsts.units()
        return StickyTotals(
            segments={segment: self._plain_totals(segment, units.get(segment, (0, 0))) for segment in sorted(self._first)},
            first_minute=min(self._first.values(), default=0),
            as_of_us=as_of_us,
            moments=total.astype("<f8").tobytes(),
            events=firsts.events(),
            units=units,
            full=firsts.full(),
            late=firsts.late(),
            answers=firsts.answers(),
            users=firsts.users,
        )

    def _plain_totals(self, segment: int, units: tuple[int, int]) -> SegmentTotals:
        counts: list[int] = []
        for stratum in range(self._comparisons.scoring.strata):
            parts = (one.plain.get((segment, stratum)) for one in (self._settled, self._ahead))
            counts += sum((part for part in parts if part is not None), np.zeros(self._comparisons.plain, np.int64)).tolist()
        # The first minute may have begun anywhere in its sixty seconds: it is not counted as time.
        spans = np.maximum(self._until[segment] - self._first[segment] - 1, 0) * _MINUTE_S
        return SegmentTotals(
            counts=tuple(counts),
            assigned_candidate=units[0],
            assigned_stable=units[1],
            settled_s=tuple(spans.tolist()),
        )

    def _of_segment(self, segment: int, kept: dict[Layer, Vector]) -> Vector:
        """Moments of a segment's layers, by class and time; small ones are joined to the next."""
        total = no_moments(len(self._comparisons.all))
        waiting: Ints | None = None
        stratum = -1
        for layer in self._layers(segment):
            if waiting is not None and layer.stratum != stratum:
                total += moments_of(waiting)
                waiting = None
            stratum = layer.stratum
            cells = self._cells(layer)
            if waiting is None and _is_large(cells):
                total += self._moments(layer, cells, kept)
                continue
            waiting = cells if waiting is None else waiting + cells
            if _is_large(waiting):
                total += moments_of(waiting)
                waiting = None
        return total if waiting is None else total + moments_of(waiting)

    def _layers(self, segment: int) -> Iterator[Layer]:
        every = {*self._settled.layers, *self._ahead.layers}
        yield from sorted(layer for layer in every if layer.segment == segment)

    def _cells(self, layer: Layer) -> Ints:
        """[comparisons, arm, cluster, (n, Y)]"""
        parts = [one.layers[layer] for one in (self._settled, self._ahead) if layer in one.layers]
        found = parts[0] if len(parts) == 1 else parts[0] + parts[1]
        return np.ascontiguousarray(found.reshape(CLUSTERS, -1, 2, 2).transpose(1, 2, 0, 3))

    def _moments(self, layer: Layer, cells: Ints, kept: dict[Layer, Vector]) -> Vector:
        if layer in self._ahead.layers:
            return moments_of(cells)
        found = kept.get(layer)
        if found is None:
            found = kept[layer] = moments_of(cells)
        return found


def _is_large(cells: Ints) -> bool:
    """Whether some comparison has requests enough in both arms."""
    return bool(cells[..., 0].sum(axis=2).min(axis=1).max(initial=0) >= LEAST_IN_LAYER)


def _counted(comparisons: Comparisons, row: CounterRow) -> _Counted:
    """A whole row."""
    found = _Counted()
    keys, counts = arrays_of(row.cells)
    clusters, keys = plain(keys)
    strata = keys >> STRATUM_SHIFT & _STRATUM_MASK
    strata[strata >= comparisons.scoring.strata] = 0  # a class that the rollout does not know
    block = OLD if row.total else row.minute // BLOCK_MIN
    for stratum in np.unique(strata).tolist():
        here = strata == stratum
        codes, place = np.unique(keys[here] & _CODE_MASK, return_inverse=True)
        where = clusters[here] * len(codes) + place
        by_cluster = np.bincount(where, weights=counts[here], minlength=CLUSTERS * len(codes)).reshape(CLUSTERS, -1)
        meaning = np.array([comparisons.meaning(code) for code in codes.tolist()], dtype=np.float64)
        numbers = by_cluster @ meaning  # whole numbers below 2**53
        found.layers[Layer(row.segment, stratum, block)] = np.rint(numbers[:, comparisons.plain :]).astype(np.int64)
        found.plain[row.segment, stratum] = np.rint(numbers[:, : comparisons.plain].sum(axis=0)).astype(np.int64)
    return found
