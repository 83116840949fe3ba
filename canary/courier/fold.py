"""Frames of one journal to rows, counters' cells and profile cells.

What is in flight is kept beside the committed offset: opens without their end, lives without their pair. Every open frame
and every whole answer makes exactly one outcome row, every sent copy exactly one pair row.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from canary.courier.cells import HOUR_US, MINUTE_US, Cells
from canary.courier.first_events import UnitEvents
from canary.courier.hearing import Heard, facts_text, lost_fact
from canary.courier.known import NOTHING_MEASURED, UNKNOWN_ROUTE, Known, RouteFacts, SegmentFacts
from canary.courier.making import body_row, content_type, lost_outcome_row, lost_pair_row, outcome_row, pair_row
from canary.courier.tally import Tally
from canary.observe.outcome import Outcome, observe
from canary.observe.values import Reader
from canary.split.assign import Coin, arm_of
from canary.stats.facts import Fact
from canary.stats.profile import profile_cells
from canary.stats.scoring import Scoring, ends, pair_drops, pair_ends, pair_starts, starts
from canary.stats.values import value_profile_cells
from canary.store.frames import Frame, Live, Open, Pair, Side, Tick
from canary.store.journal import without_bodies
from canary.store.rows import BodyRow, OutcomeRow, PairRow
from canary.terms import Arm, AssignedBy

SLACK_US: Final = 2_000_000  # ticks come each second
_coin = lru_cache(maxsize=256)(Coin)
_PROFILED: Final = frozenset({AssignedBy.DEFAULT, AssignedBy.HASH})


class Waiting:
    """A live frame whose copy was sent."""

    __slots__ = ("fact", "frame", "outcome", "segment", "told")

    def __init__(
        self, frame: Live, outcome: Outcome, *, segment: SegmentFacts | None, fact: Fact | None = None, told: str = ""
    ) -> None:
        self.frame = frame  # without bodies: the pair frame repeats them
        self.outcome = outcome
        self.segment = segment  # None where its start was not counted
        self.fact = fact  # None: its pair may tell more of it
        self.told = told


class Fold:
    """The growing state of one journal, and the rows made since the last `take`."""

    def __init__(self, *, known: Known, cells: Cells, tally: Tally) -> None:
        self.known = known
        self.cells = cells
        self.tick_at_us = 0
        self.opens: dict[bytes, Open] = {}
        self.waiting: dict[bytes, Waiting] = {}
        self.outcomes: list[OutcomeRow] = []
        self.pairs: list[PairRow] = []
        self.bodies: list[BodyRow] = []
        self.units = UnitEvents()
        self._tally = tally

    def recall(self, frames: Iterable[Frame]) -> None:
        """What was in flight at the committed offset, from the frames of its segment before it: no rows, no counts."""
        for frame in frames:
            match frame:
                case Open():
                    self.opens[frame.exchange_id] = frame
                    self.units.opened(frame, self._counted(frame))
                case Live():
                    counted = self.opens.pop(frame.exchange_id, None) is not None or frame.carried
                    heard = self._hear(frame, frame.side)
                    fact = heard.fact(NOTHING_MEASURED)
                    self.units.ended(frame.exchange_id, fact, copied=bool(frame.mirror))
                    self.units.said(frame.exchange_id, fact)
                    self._begin_waiting(frame, heard, counted=counted)
                case Pair():
                    self.opens.pop(frame.live.exchange_id, None)
                    self.waiting.pop(frame.live.exchange_id, None)
                    self.units.answered(frame.live.exchange_id)
                case Tick():
                    self._tick(frame)
        self.units.take()  # told with the commits before

    def fold(self, frames: Iterable[Frame], *, carried_is_known: bool = False) -> None:
        """Takes frames in their order. `carried_is_known`: carried ones were folded before a restart, from an older segment."""
        for frame in frames:
            kind = type(frame)
            if kind is Live:
                self._live(frame, carried_is_known)  # type: ignore[arg-type]
            elif kind is Pair:
                self._pair(frame)  # type: ignore[arg-type]
            elif kind is Open:
                self._open(frame, carried_is_known)  # type: ignore[arg-type]
            else:
                self._tick(frame)  # type: ignore[arg-type]

    def lose(self) -> None:
        """The writer is dead and everything is read: what is in flight is lost."""
        for opened in self.opens.values():
            segment = self._counted(opened)
            self.outcomes.append(lost_outcome_row(opened, self.known.segments.get(opened.segment)))
            if segment is not None and segment.scoring is not None:
                lost, stratum = lost_fact(opened.exchange_id, opened.unit_hash), _stratum(opened, segment.scoring)
                keys = ends(segment.scoring, opened.arm, opened.start_at_us, lost, stratum=stratum)
                self.cells.count((segment.rollout, opened.segment, opened.start_at_us // MINUTE_US), keys)
        for waiting in self.waiting.values():  # a lost pair stays open to the statistics: see `pair_ends`
            self.pairs.append(lost_pair_row(waiting.frame, waiting.outcome, rollout=self._rollout(waiting.frame.segment)))
        self.units.lost()
        self._tally.lost += len(self.opens) + len(self.waiting)
        self.opens.clear()
        self.waiting.clear()

    def take(self) -> tuple[list[OutcomeRow], list[PairRow], list[BodyRow]]:
        """The rows made since the last call."""
        rows = self.outcomes, self.pairs, self.bodies
        self.outcomes, self.pairs, self.bodies = [], [], []
        return rows

    def _open(self, frame: Open, carried_is_known: bool) -> None:
        if frame.exchange_id in self.opens:
            return  # a carried copy
        self.opens[frame.exchange_id] = frame
        segment = self._counted(frame)
        self.units.opened(frame, segment)
        if frame.carried and carried_is_known:
            return
        if segment is None or segment.scoring is None:
            return
        stratum = _stratum(frame, segment.scoring)
        keys = starts(segment.scoring, frame.arm, frame.start_at_us, stratum=stratum, unit_hash=frame.unit_hash)
        if frame.mirrored:
            keys += pair_starts(segment.scoring, frame.start_at_us, stratum=stratum, unit_hash=frame.unit_hash)
        self.cells.count((segment.rollout, frame.segment, frame.start_at_us // MINUTE_US), keys)

    def _live(self, frame: Live, carried_is_known: bool) -> None:
        exchange_id = frame.exchange_id
        if frame.carried and (exchange_id in self.waiting or carried_is_known):
            if exchange_id not in self.waiting:
                # its open frame stood in an older segment: taken as counted, as all of a copied answer's are
                self._begin_waiting(frame, self._hear(frame, frame.side), counted=True)
            return
        route = self.known.routes.get(frame.route, UNKNOWN_ROUTE)
        heard = self._hear(frame, frame.side)
        fact = heard.fact(route.reader)
        told = facts_text(route.reader, fact)
        self.units.ended(exchange_id, fact, copied=bool(frame.mirror))
        opened = self.opens.pop(exchange_id, None)
        self.outcomes.append(outcome_row(frame, heard.outcome, rollout=self._rollout(frame.segment), facts=told))
        self._tally.live(frame, heard.outcome)
        if frame.arm is Arm.STABLE and frame.assigned_by in _PROFILED:
            self._profile(frame, route, fact)
            self._calibrate(frame, heard)
        if opened is not None:
            self._count_end(opened, heard, copied=bool(frame.mirror))
        if frame.mirror:
            self._begin_waiting(frame, heard, counted=opened is not None, told=told)
        else:
            self._body(frame, None)

    def _pair(self, frame: Pair) -> None:
        live = frame.live
        waiting = self.waiting.pop(live.exchange_id, None)
        if waiting is None:
            if live.exchange_id not in self.opens:
                return  # folded before
            self._live(live, carried_is_known=False)  # its live frame was damaged: the pair repeats it
            waiting = self.waiting.pop(live.exchange_id)
        route = self.known.routes.get(live.route, UNKNOWN_ROUTE)
        segment = waiting.segment
        reader = self._reader(live, segment)
        shadow = self._hear(live, frame.shadow)
        shadow_fact = shadow.fact(reader)
        outcome, live_fact, told = waiting.outcome, waiting.fact, waiting.told
        if live_fact is None:  # looked at anew: the pair brings the bodies of both sides, so that both are read alike
            mine = self._hear(live, live.side)
            outcome, live_fact = mine.outcome, mine.fact(reader)
            told = facts_text(route.reader, mine.fact(route.reader))
        both = told, facts_text(route.reader, shadow.fact(route.reader))
        rollout = self._rollout(live.segment)
        self.pairs.append(pair_row(frame, outcome, shadow=shadow.outcome, rollout=rollout, facts=both))
        self._body(live, frame)
        self.units.paired(live.exchange_id, live_fact, shadow_fact)
        if segment is not None and segment.scoring is not None and self._still_counts(segment, live.start_at_us):
            stratum = _stratum(live, segment.scoring)
            keys = pair_ends(segment.scoring, live.start_at_us, live_fact, shadow_fact, stratum=stratum)
            self.cells.count((segment.rollout, live.segment, live.start_at_us // MINUTE_US), keys)

    def _profile(self, frame: Live, route: RouteFacts, fact: Fact) -> None:
        """Cells of an answer of stable under what the route measures now."""
        version_hash = self.known.hashes.get((frame.route, frame.side.version))
        if version_hash is None:
            return
        measures = route.reader.measures
        keys = profile_cells(fact, stratum=frame.stratum, first_byte=measures.first_byte)
        keys += value_profile_cells(measures, fact, frame.stratum)
        self.cells.profile((frame.route, version_hash, frame.start_at_us // HOUR_US), keys)

    def _calibrate(self, frame: Live, heard: Heard) -> None:
        """Deals an answer of stable to a pseudo-arm, start and end at once: its coin touches nothing, not even when it ends."""
        arms = self.known.calibrations.get(frame.route)
        if arms is None or arms.stable != frame.side.version or not self._still_counts(arms.facts, frame.start_at_us):
            return
        scoring = arms.facts.scoring
        if scoring is None:
            return
        fact, stratum = heard.fact(arms.facts.reader), _stratum(frame, scoring)
        arm = arm_of(_coin(arms.salt).bucket(frame.exchange_id), arms.facts.weight_bp)
        keys = starts(scoring, arm, frame.start_at_us, stratum=stratum)
        keys += ends(scoring, arm, frame.start_at_us, fact, stratum=stratum)
        self.cells.count((arms.facts.rollout, arms.segment, frame.start_at_us // MINUTE_US), keys)

    def _tick(self, frame: Tick) -> None:
        self.tick_at_us = max(self.tick_at_us, frame.at_us)
        self.units.tick(self.tick_at_us)

    def _count_end(self, opened: Open, heard: Heard, *, copied: bool) -> None:
        """Cells of an end whose start was counted; segment, arm and stratum are those of the open frame."""
        segment = self._counted(opened)
        if segment is None or segment.scoring is None:
            return
        fact = self._to_count(opened, heard, segment)
        start_at_us, stratum = opened.start_at_us, _stratum(opened, segment.scoring)
        keys = ends(segment.scoring, opened.arm, start_at_us, fact, stratum=stratum)
        if opened.mirrored and not copied:
            keys += pair_drops(segment.scoring, start_at_us, fact.age_us, stratum=stratum, unit_hash=opened.unit_hash)
        self.cells.count((segment.rollout, opened.segment, opened.start_at_us // MINUTE_US), keys)

    def _to_count(self, opened: Open, heard: Heard, segment: SegmentFacts) -> Fact:
        """What is scored of an answer; where units are sticky, answers are compared apart, one of each unit."""
        assert segment.scoring is not None
        if not segment.scoring.spec.sticky:
            return heard.fact_with_answer(segment.reader)
        if self.units.asks(opened.exchange_id):
            self.units.said(opened.exchange_id, heard.fact_with_answer(segment.reader))
        return heard.fact(segment.reader)

    def _counted(self, opened: Open) -> SegmentFacts | None:
        """The segment where this exchange counts; None where it does not, or no longer."""
        segment = self.known.segments.get(opened.segment)
        if segment is None or segment.scoring is None or not self._still_counts(segment, opened.start_at_us):
            return None
        return segment

    def _still_counts(self, segment: SegmentFacts, start_at_us: int) -> bool:
        """False once the minute is closed: its end and the timeout are behind the journal's tick."""
        return self.tick_at_us <= (start_at_us // MINUTE_US + 1) * MINUTE_US + segment.timeout_us + SLACK_US

    def _begin_waiting(self, frame: Live, heard: Heard, *, counted: bool, told: str = "") -> None:
        if not frame.mirror:
            return
        segment = self.known.segments.get(frame.segment) if counted else None
        self.units.waits(frame, segment)
        reader = self._reader(frame, segment)
        bare, outcome = without_bodies(frame), heard.outcome
        if heard.is_final(reader, self.known.routes.get(frame.route, UNKNOWN_ROUTE).reader):
            waiting = Waiting(bare, outcome, segment=segment, fact=heard.fact(reader), told=told)
        else:
            waiting = Waiting(bare, outcome, segment=segment)
        self.waiting[frame.exchange_id] = waiting

    def _reader(self, frame: Live, segment: SegmentFacts | None) -> Reader:
        """Of what is measured: as the rollout began, or now where the exchange counts for none."""
        return segment.reader if segment is not None else self.known.routes.get(frame.route, UNKNOWN_ROUTE).reader

    def _hear(self, frame: Live, side: Side) -> Heard:
        """One side's answer, the live one or its shadow's."""
        route = self.known.routes.get(frame.route, UNKNOWN_ROUTE)
        outcome = observe(side, kind=route.kind, content_type=content_type(side) if side.body else "")
        return Heard(side, outcome, exchange_id=frame.exchange_id, unit_hash=frame.unit_hash)

    def _rollout(self, segment: int) -> str:
        facts = self.known.segments.get(segment)
        return facts.rollout if facts else ""

    def _body(self, live: Live, pair: Pair | None) -> None:
        route = self.known.routes.get(live.route, UNKNOWN_ROUTE)
        if route.full_bodies and (row := body_row(live, pair, keep_us=route.keep_us)):
            self.bodies.append(row)


def _stratum(frame: Open | Live, scoring: Scoring) -> int:
    """The request's task class; one that was named after the rollout began is no class of it."""
    stratum = frame.stratum
    return stratum if not stratum or stratum < scoring.strata else 0
