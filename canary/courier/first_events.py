"""The first events of sticky units that one journal tells; what is in flight is rebuilt from the journal after a restart.

An event that has happened is written with the batch that holds its frame, not when it settles: its reader counts it once
this journal's tick has passed its start by the age. So between an end and its settling there is nothing to lose here. What
has to wait is what did not happen: stable's exchanges that are open at the age, and copies that have not been answered.
"""

from typing import Final

import msgspec

from canary.courier.known import SegmentFacts
from canary.stats.facts import Fact
from canary.stats.first_event import FirstEventRow
from canary.stats.frozen import Scoring
from canary.stats.unit_answers import SILENT, bin_said, reads_answers, said_metric
from canary.stats.unit_events import ERROR, discordant, fails, fails_open, late_metric, unit_metric, unknown
from canary.store.frames import Live, Open
from canary.terms import BUCKETS, Arm

MOST_UNITS: Final = 50_000
"""Told of each segment, whichever come first: far more than a sample ratio needs, and no choice by arm."""

MOST_TOLD: Final = 65_536
"""Remembered so as not to be told again. To tell one twice changes nothing, it only costs."""

_SECOND_US: Final = 1_000_000


class _Started(msgspec.Struct, frozen=True):
    """An exchange or a copy in flight."""

    rollout: str
    unit_hash: bytes
    start_at_us: int
    segment: int
    arm: Arm
    scoring: Scoring

    def is_settled(self, tick_at_us: int) -> bool:
        """Whether whatever ended by the age stands before this tick."""
        return tick_at_us >= (self.start_at_us // _SECOND_US + 1) * _SECOND_US + self.scoring.pair_age_us


class UnitEvents:
    """Frames in, rows out; routes whose units are requests pass through unseen."""

    def __init__(self) -> None:
        self._answers: dict[bytes, _Started] = {}  # under a coin, not ended
        self._asked: dict[bytes, _Started] = {}  # a unit's first request of a segment, not answered, where answers are compared
        self._copies: dict[bytes, _Started] = {}  # meant to be sent, not answered
        self._told: dict[tuple[str, str, bytes], int] = {}  # least start
        self._units: dict[int, int] = {}  # told of each segment
        self._rows: list[FirstEventRow] = []

    def opened(self, frame: Open, segment: SegmentFacts | None) -> None:
        """An exchange was assigned; `segment` is None where it does not count."""
        started = _started(frame, segment)
        if started is None or segment is None:
            return
        if 0 < segment.weight_bp < BUCKETS:
            self._answers[frame.exchange_id] = started
            if self._unit(started) and reads_answers(started.scoring.values):
                self._asked[frame.exchange_id] = started
        if frame.mirrored:
            self._copies[frame.exchange_id] = started

    def ended(self, exchange_id: bytes, fact: Fact, *, copied: bool) -> None:
        """An answer ended; `copied`: its copy was sent."""
        copy = self._copies.get(exchange_id)
        if copy is not None and not copied and fact.age_us <= copy.scoring.pair_age_us:
            del self._copies[exchange_id]  # dropped before it was sent; said later it changes nothing
        started = self._answers.pop(exchange_id, None)
        if started is not None and fails(started.arm, fact, started.scoring.pair_age_us):
            self._failed(started)

    def asks(self, exchange_id: bytes) -> bool:
        """Whether an answer's digest is wanted."""
        return exchange_id in self._asked

    def said(self, exchange_id: bytes, fact: Fact) -> None:
        """What a unit's first request was answered, with its digest."""
        started = self._asked.pop(exchange_id, None)
        if started is not None:
            self._tell_said(started, bin_said(started.scoring.values, fact))

    def waits(self, frame: Live, segment: SegmentFacts | None) -> None:
        """A copy's answer is outstanding, as its live frame says where the open frame stood in an older file."""
        started = _started(frame, segment)
        if started is not None and frame.exchange_id not in self._copies:
            self._copies[frame.exchange_id] = started

    def paired(self, exchange_id: bytes, live: Fact, shadow: Fact) -> None:
        """Both answers of a copied request ended."""
        started = self._copies.pop(exchange_id, None)
        if started is not None:
            for metric, worse in discordant(started.scoring, live, shadow):
                self._tell(started, metric, worse)

    def answered(self, exchange_id: bytes) -> None:
        """Both answers ended, and what they say is told."""
        self._answers.pop(exchange_id, None)
        self._copies.pop(exchange_id, None)

    def tick(self, at_us: int) -> None:
        """What is open at its age now settles as open."""
        for exchange_id, started in _settled(self._answers, at_us):
            del self._answers[exchange_id]
            if fails_open(started.arm):
                self._failed(started)
        for exchange_id, started in _settled(self._asked, at_us):
            del self._asked[exchange_id]
            self._tell_said(started, SILENT)
        for exchange_id, started in _settled(self._copies, at_us):
            del self._copies[exchange_id]
            self._tell_unknown(started)

    def lost(self) -> None:
        """The writer is dead: what is in flight ended badly, and its copies are unknown."""
        for started in self._answers.values():
            self._failed(started)
        for started in self._copies.values():
            self._tell_unknown(started)
        for started in self._asked.values():
            self._tell_said(started, SILENT)
        self._answers.clear()
        self._asked.clear()
        self._copies.clear()

    def take(self) -> list[FirstEventRow]:
        """The rows made since the last call."""
        rows, self._rows = self._rows, []
        return rows

    def _unit(self, started: _Started) -> bool:
        """Tells a unit's first request of a segment; False where another one is known to be it."""
        told = self._units.get(started.segment, 0)
        if told >= MOST_UNITS or not self._tell(started, unit_metric(started.segment), started.arm):
            return False
        self._units[started.segment] = told + 1
        return True

    def _tell_said(self, started: _Started, bin_index: int) -> None:
        self._tell(started, said_metric(started.segment, bin_index), started.arm)

    def _failed(self, started: _Started) -> None:
        """The unit's first failure of the rollout, and of its ten minutes."""
        self._tell(started, ERROR, started.arm)
        self._tell(started, late_metric(started.start_at_us), started.arm)

    def _tell_unknown(self, started: _Started) -> None:
        for metric, worse in unknown(started.scoring):
            self._tell(started, metric, worse)

    def _tell(self, started: _Started, metric: str, arm: Arm) -> bool:
        key = (started.rollout, metric, started.unit_hash)
        before = self._told.get(key)
        if before is not None and before <= started.start_at_us:
            return False
        self._told[key] = started.start_at_us
        self._rows.append(FirstEventRow(*key, started.start_at_us, started.segment, arm))
        if len(self._told) > MOST_TOLD:
            self._told = dict([*self._told.items()][MOST_TOLD // 2 :])
        return True


def _started(frame: Open | Live, segment: SegmentFacts | None) -> _Started | None:
    if segment is None or segment.scoring is None or not segment.scoring.spec.sticky or not frame.unit_hash:
        return None
    return _Started(
        rollout=segment.rollout,
        unit_hash=frame.unit_hash,
        start_at_us=frame.start_at_us,
        segment=frame.segment,
        arm=frame.arm,
        scoring=segment.scoring,
    )


def _settled(flying: dict[bytes, _Started], at_us: int) -> list[tuple[bytes, _Started]]:
    return [(exchange_id, started) for exchange_id, started in flying.items() if started.is_settled(at_us)]
