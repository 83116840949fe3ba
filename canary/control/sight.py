"""What people see of a rollout: its evidence with all alerts, its harm, an earlier look for forecasts. Reads only."""

import time
from collections.abc import Callable
from typing import Final

from canary.control.books import Books
from canary.control.look import Looks
from canary.errors import StoreAway
from canary.rollout.considered import seen_before
from canary.rollout.harm import Harm
from canary.rollout.past import Past
from canary.rollout.signs import alerted, signs_of
from canary.rollout.state import DecisionRow, RolloutState
from canary.rollout.trend import window_of
from canary.rollout.weighing import weighed_again
from canary.stats.counts import Totals
from canary.stats.evidence import Evidence
from canary.telemetry.guard import guarded, in_short
from canary.terms import Frozen

_ROWS: Final = 20
_FORGET_S: Final = 60.0
"""Between two questions which rollouts are not over: what was kept of the others would stay for ever."""


class Sighted(Frozen, frozen=True, kw_only=True):
    """One look for people."""

    evidence: Evidence | None = None  # None before there is traffic to count
    harm: Harm | None = None
    past: Past | None = None
    totals: Totals | None = None
    unseen: str = ""  # the error that hides all of it


NOTHING_SEEN = Sighted()


class Sight:
    """The present look, or what the last decision read where a rollout is over."""

    def __init__(self, books: Books, *, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._books = books
        self._looks = Looks(books.counters, elapsed=elapsed)
        self._elapsed = elapsed
        self._forgot_s = elapsed()

    async def see(self, state: RolloutState) -> Sighted:
        """One rollout as of now; what fails hides this one and no other. Raises StoreAway."""
        away: StoreAway | None = None
        with guarded("look for people") as look:
            try:
                return await self._seen(state)
            except StoreAway as error:
                away = error
        if away is not None:
            raise away
        assert look.failed is not None
        return Sighted(unseen=in_short(look.failed))

    async def _seen(self, state: RolloutState) -> Sighted:
        await self._forget_ended()
        if state.phase.is_final:
            return await self._ended(state)
        seen = await self._looks.look(state)
        at_s, histories = self._elapsed(), self._books.histories
        window_s = window_of(state)
        past = histories.past(state.id, state.stage, at_s=at_s, window_s=window_s)
        if seen.evidence is not None:
            histories.note(state.id, state.stage, seen.evidence, at_s=at_s, window_s=window_s)
        evidence = alerted(state, seen.counted, seen.evidence, past=past)
        harm = signs_of(state, seen.counted, evidence, in_full=True).harm
        return Sighted(evidence=evidence, harm=harm, past=past, totals=seen.counted)

    async def _forget_ended(self) -> None:
        """Drops counters and earlier looks of what is over; the loop does it too, but only where it leads."""
        if self._elapsed() - self._forgot_s < _FORGET_S:
            return
        self._forgot_s = self._elapsed()
        active = {state.id for state in await self._books.rollouts.active()}
        self._looks.forget_all_but(active)
        self._books.histories.forget_all_but(active)

    async def _ended(self, state: RolloutState) -> Sighted:
        rows = await self._books.rollouts.decisions(state.id, limit=_ROWS)
        row = next((row for row in rows if row.evidence is not None), None)
        return NOTHING_SEEN if row is None else _as_read(row, state)


def _as_read(row: DecisionRow, state: RolloutState) -> Sighted:
    if row.before is None or not row.read:
        return Sighted(evidence=row.evidence)
    then = seen_before(state, row.before)
    totals = weighed_again(row.read, then, newest_tick_age_s=row.before.newest_tick_age_s).totals
    harm = signs_of(then, totals, row.evidence, in_full=True).harm
    return Sighted(evidence=row.evidence, harm=harm, past=row.before.past, totals=totals)
