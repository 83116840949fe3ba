"""First events of units as a ledger keeps them: which of them are settled, and how many users of either arm that makes."""

from collections.abc import Iterable, Mapping
from typing import Final

from canary.stats.first_event import FirstEvent, FirstEventRow, FirstEvents
from canary.stats.unit_answers import SAID, Answers, FirstAnswer, FirstAnswers, said_bin
from canary.stats.unit_events import BLOCK_US, UNIT, late_block
from canary.stats.unit_late import Counts, LateFirsts
from canary.terms import Arm, Scored

_SECOND_US: Final = 1_000_000
_MINUTE_US: Final = 60 * _SECOND_US
_GONE_AFTER_US: Final = 120 * _SECOND_US
"""A journal that is not among the horizons any more has been settled when the others are so far past."""


class UnitFirsts:
    """Rows of the store in any order, with repetitions."""

    def __init__(self) -> None:
        self._waiting: list[FirstEventRow] = []
        self._settled: dict[str, FirstEvents] = {}
        self._late = LateFirsts()
        self._answers = FirstAnswers()
        self._units: dict[int, set[bytes]] = {}  # of each segment
        self._on_candidate: dict[int, int] = {}
        self._everybody: set[bytes] = set()

    def add(self, rows: Iterable[FirstEventRow]) -> None:
        """Takes rows in."""
        for row in rows:
            if row.metric.startswith(UNIT):
                self._add_unit(row)
            else:
                self._waiting.append(row)

    def _add_unit(self, row: FirstEventRow) -> None:
        """A unit's arm is the same all through a segment: its bucket and the weight stay."""
        units = self._units.setdefault(row.segment, set())
        self._on_candidate.setdefault(row.segment, 0)
        if row.unit_hash not in units:
            units.add(row.unit_hash)
            self._everybody.add(row.unit_hash)
            self._on_candidate[row.segment] += row.arm == Arm.CANDIDATE

    def settle(self, ticks: Mapping[str, int], *, age_us: int, scored: Mapping[int, Scored]) -> None:
        """Counts what is settled: a row whose journal's tick has passed the second of its start by the age.

        `scored` says for what each segment counts; answers wait until theirs is known.
        """
        newest = max((tick for tick in ticks.values() if tick < 2**60), default=0)
        left = []
        for row in self._waiting:
            until_us = (row.start_at_us // _SECOND_US + 1) * _SECOND_US + age_us
            tick = ticks.get(row.journal, newest - _GONE_AFTER_US)
            if tick < until_us or (row.metric.startswith(SAID) and row.segment not in scored):
                left.append(row)
            elif row.metric.startswith(SAID):
                if scored[row.segment] is Scored.ALL:
                    answer = FirstAnswer(row.start_at_us, row.segment, row.arm, said_bin(row.metric))
                    self._answers.add(row.unit_hash, answer)
            else:
                self._add_event(row)
        self._waiting = left

    def _add_event(self, row: FirstEventRow) -> None:
        event, block = FirstEvent(row.start_at_us, row.segment, row.arm), late_block(row.metric)
        if block < 0:
            self._settled.setdefault(row.metric, FirstEvents()).add(row.unit_hash, event)
        else:
            self._late.add(block, row.unit_hash, event)

    def forget(self, minute: int) -> None:
        """Drops late onset's bets that began up to this minute, the last one of its block."""
        self._late.forget((minute + 1) * _MINUTE_US // BLOCK_US)

    @property
    def users(self) -> int:
        """Distinct units that were seen under a coin."""
        return len(self._everybody)

    def units(self) -> Counts:
        """Distinct units of each segment, settled or not: where a unit belongs is known at once."""
        return {segment: (found, len(self._units[segment]) - found) for segment, found in sorted(self._on_candidate.items())}

    def events(self) -> dict[str, Counts]:
        """Units with a settled event, by metric."""
        return {metric: events.counts() for metric, events in sorted(self._settled.items())}

    def answers(self) -> Answers:
        """Units by the settled answer to their first request of a scored segment."""
        return self._answers.counts()

    def late(self) -> dict[int, Counts]:
        """Units with a settled failure since each block that has one."""
        return self._late.counts()

    def full(self) -> tuple[str, ...]:
        """Metrics of which later users were left out."""
        return tuple(metric for metric, events in sorted(self._settled.items()) if events.is_full)
