"""The tables of counters in memory: journals' rows, the fleet's, totals, and how far each journal is closed."""

from collections import Counter
from collections.abc import Iterable

from canary.ports import Moved
from canary.stats.counts import CounterRow, Horizon
from canary.store.closing import FleetRow, Taken, TotalRow, fleet_rows, portion, total_rows
from canary.store.counters import whole_rows
from canary.store.rows import CounterDelta

_MINUTE_US = 60_000_000
_FLEET = ""

_Key = tuple[str, str, int, int, int]  # rollout, journal, segment, minute, part


class CountTables:
    """One process, no disk; each method is one transaction."""

    def __init__(self) -> None:
        self._rows: dict[_Key, tuple[bytes, int, tuple[str, ...]]] = {}  # cells, revision, journals of a fleet row
        self._totals: dict[tuple[str, int], CounterRow] = {}
        self._closed: dict[tuple[str, str], int] = {}

    def write(self, journal: str, deltas: Iterable[CounterDelta], *, revision: int) -> None:
        """A courier's cumulative rows; what is closed already is not written again."""
        for delta in deltas:
            if delta.minute > self._closed.get((delta.rollout, journal), -1):
                key = (delta.rollout, journal, delta.segment, delta.minute, delta.part)
                self._rows[key] = (delta.cells, revision, ())

    def open_rows(self, journal: str, *, since_minute: int) -> list[CounterDelta]:
        """A journal's rows that have not moved."""
        return [
            CounterDelta(rollout, segment, minute, cells, part)
            for (rollout, name, segment, minute, part), (cells, _, _) in sorted(self._rows.items())
            if name == journal and minute >= since_minute
        ]

    def read(self, rollout: str, *, since: int) -> list[CounterRow]:
        """Whole minutes of which a part grew, and totals that did."""
        grown = {key[:4] for key, row in self._rows.items() if key[0] == rollout and row[1] > since}
        parts = [(key[1], key[2], key[3], *row) for key, row in sorted(self._rows.items()) if key[:4] in grown]
        totals = [row for key, row in sorted(self._totals.items()) if key[0] == rollout and row.revision > since]
        return [*totals, *whole_rows(rollout, parts)]

    def journals(self, rollout: str) -> list[str]:
        """All that ever counted for it."""
        counted = {key[1] for key in self._rows if key[0] == rollout}
        return sorted((counted | {journal for name, journal in self._closed if name == rollout}) - {_FLEET})

    def close(self, rollout: str, horizons: Iterable[Horizon], *, settle_us: int, most: int, revision: int) -> Moved:
        """Closed rows of journals into the fleet's."""
        ends = {h.journal: 2**31 if h.dead else (h.tick_at_us - settle_us) // _MINUTE_US - 1 for h in horizons}
        parts = Counter((minute, name) for key, name, _, minute, _ in self._rows if key == rollout)
        closable = [(name, minute, count) for (minute, name), count in sorted(parts.items()) if minute <= ends.get(name, -1)]
        until = portion(closable, most=most)
        keys = [key for key in sorted(self._rows) if key[0] == rollout and key[3] <= until.get(key[1], -1)]
        taken = [Taken(*key[1:4], self._rows.pop(key)[0]) for key in keys]
        self._closed |= {(rollout, name): max(minute, self._closed.get((rollout, name), -1)) for name, minute in until.items()}
        there = [row for row in self._fleet(rollout) if any((t.segment, t.minute) == row[:2] for t in taken)]
        for row in fleet_rows(taken, there):
            self._rows[rollout, _FLEET, row.segment, row.minute, 0] = (row.cells, revision, row.journals)
        minutes = [row.minute for row in self._fleet(rollout)]
        return Moved(rows=len(taken), oldest=min(minutes, default=None), newest=max(minutes, default=None))

    def fold(self, rollout: str, *, minute: int, seen: int, revision: int) -> int:
        """Old rows of the fleet into totals."""
        totals = [row for key, row in sorted(self._totals.items()) if key[0] == rollout]
        if any(row.minute > minute for row in totals):
            return 0
        keys = [key for key, row in self._rows.items() if key[:2] == (rollout, _FLEET) and key[3] <= minute and row[1] <= seen]
        if not keys:
            return 0
        gone = {key: self._rows.pop(key) for key in sorted(keys)}
        there = [TotalRow(row.segment, row.cells, row.first_s, row.last_s) for row in totals]
        rows = [FleetRow(key[2], key[3], row[0], row[2]) for key, row in gone.items()]
        holds = max(row[1] for row in gone.values())
        for total in total_rows(rows, there):
            self._totals[rollout, total.segment] = CounterRow(
                rollout=rollout,
                journal=_FLEET,
                minute=minute,
                revision=revision,
                total=True,
                holds=holds,
                **total._asdict(),
            )
        return len(keys)

    def _fleet(self, rollout: str) -> list[FleetRow]:
        return [FleetRow(key[2], key[3], row[0], row[2]) for key, row in self._rows.items() if key[:2] == (rollout, _FLEET)]
