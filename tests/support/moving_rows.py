"""Counter rows as a store keeps them, reduced to what a reader sees: of journals, closed and moved together, summed."""

from collections.abc import Iterable

from canary.stats.closed import fleet_cells, span_of, total_cells
from canary.stats.counts import CounterRow

FLEET = ""


class MovingRows:
    """Every count in exactly one row at each moment. Revisions grow with each write."""

    def __init__(self) -> None:
        self.revision = 0
        self._rows: dict[tuple[str, int, int], CounterRow] = {}
        self._totals: dict[int, CounterRow] = {}
        self._closed: set[tuple[str, int, int]] = set()

    def put(self, journal: str, rows: Iterable[CounterRow]) -> None:
        """A courier's commit; what was closed stays closed."""
        self.revision += 1
        for row in rows:
            key = (journal, row.segment, row.minute)
            if key not in self._closed:
                self._rows[key] = self._made(row.segment, row.minute, row.cells, journal=journal)

    def close(self, keys: Iterable[tuple[str, int, int]]) -> None:
        """Moves journals' rows into the fleet's."""
        self.revision += 1
        for key in [key for key in keys if key in self._rows and key[0] != FLEET]:
            journal, segment, minute = key
            taken = self._rows.pop(key)
            self._closed.add(key)
            there = self._rows.get((FLEET, segment, minute))
            cells = fleet_cells([taken.cells, *([there.cells] if there else [])])
            journals = (*(there.journals if there else ()), journal)
            self._rows[FLEET, segment, minute] = self._made(segment, minute, cells, journals=journals)

    def fold(self, minute: int) -> None:
        """Moves the fleet's rows up to a minute into totals."""
        self.revision += 1
        for segment in {key[1] for key in self._rows}:
            old = [key for key in self._rows if key[0] == FLEET and key[1] == segment and key[2] <= minute]
            if not old:
                continue
            rows = [self._rows.pop(key) for key in old]
            spans = [span_of(row.cells, row.minute) for row in rows]
            before = self._totals.get(segment)
            if before is not None:
                spans.append((before.first_s, before.last_s))
            self._totals[segment] = CounterRow(
                rollout="r",
                segment=segment,
                journal=FLEET,
                minute=minute,
                cells=total_cells([row.cells for row in rows] + ([before.cells] if before else [])),
                revision=self.revision,
                total=True,
                holds=max(row.revision for row in rows),
                first_s=min(span[0] for span in spans),
                last_s=max(span[1] for span in spans),
            )

    def rows(self, since: int = 0) -> list[CounterRow]:
        """What grew after a revision."""
        every = [*self._rows.values(), *self._totals.values()]
        return [row for row in every if row.revision > since]

    def moved_since(self, since: int) -> bool:
        """Whether a reader of that revision has to read anew."""
        return since > 0 and any(total.holds > since for total in self._totals.values())

    def keys(self) -> list[tuple[str, int, int]]:
        """Of the journals' rows."""
        return [key for key in self._rows if key[0] != FLEET]

    def _made(
        self, segment: int, minute: int, cells: bytes, *, journal: str = FLEET, journals: tuple[str, ...] = ()
    ) -> CounterRow:
        return CounterRow(
            rollout="r",
            segment=segment,
            journal=journal,
            minute=minute,
            cells=cells,
            revision=self.revision,
            journals=journals,
        )
