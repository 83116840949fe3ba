"""When a decision that moves nothing is worth writing down."""

from dataclasses import dataclass, replace
from typing import Final

from canary.rollout.state import Decision, Reason, RolloutState
from canary.terms import Action

QUIET_S: Final = 5.0
"""Between two notes of one rollout: a sentence whose numbers grow each second is no news each second."""

ROWS: Final = 30
"""Of one rollout before they are rationed: a verdict that hovers at its threshold wrote 17,000 a day, 20 to 40 KB each."""

ROW_EVERY_S: Final = 600.0
"""From then on, until the rollout moves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What a decision said, without its numbers: action, reason, and each metric's two verdicts."""

    action: str
    reason: str
    verdicts: tuple[tuple[str, str, str], ...]

    @classmethod
    def of(cls, decision: Decision) -> "Word":
        """The word of a decision."""
        verdicts = tuple((v.metric, v.rollback, v.promote) for v in decision.verdicts)
        return cls(action=decision.action, reason=decision.reason, verdicts=verdicts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Last:
    """What was written last of a rollout, and how much of its ration is left."""

    word: Word
    wrote_s: float  # a row, or words alone
    rows: float = ROWS  # left at `counted_s`
    counted_s: float = float("-inf")
    reasons: frozenset[Reason] = frozenset()  # given since the last move: the first of each is written whatever is left

    def left(self, at_s: float) -> float:
        """Rows that may be written now."""
        return min(ROWS, self.rows + (at_s - self.counted_s) / ROW_EVERY_S)


class Notebook:
    """Remembers, rollout by rollout, what was written last and when."""

    def __init__(self) -> None:
        self._last: dict[str, _Last] = {}

    def knows(self, rollout: str) -> bool:
        """True where what was written last is known here."""
        return rollout in self._last

    def wrote(self, rollout: str, decision: Decision, at_s: float) -> None:
        """A decision of this rollout was written."""
        last, word = self._last.get(rollout), Word.of(decision)
        if last is None or decision.action is not Action.KEEP:
            self._last[rollout] = _Last(word=word, wrote_s=at_s, reasons=frozenset({decision.reason}))
            return
        reasons = last.reasons | {decision.reason}
        rows = max(0.0, last.left(at_s) - 1)
        self._last[rollout] = _Last(word=word, wrote_s=at_s, rows=rows, counted_s=at_s, reasons=reasons)

    def noted(self, rollout: str, at_s: float) -> None:
        """Only words were written: no decision row."""
        if rollout in self._last:
            self._last[rollout] = replace(self._last[rollout], wrote_s=at_s)

    def is_due(self, state: RolloutState, decision: Decision, at_s: float) -> bool:
        """True where a KEEP says something that the stored state does not, and the last writing is long enough ago."""
        last = self._last.get(state.id)
        if last is not None and at_s - last.wrote_s < QUIET_S:
            return False
        stands_so = (state.because, state.waiting) == (decision.because, decision.waiting)
        return not stands_so or self.is_news(state.id, decision, at_s)

    def is_news(self, rollout: str, decision: Decision, at_s: float) -> bool:
        """True where a KEEP deserves a row: the reason or a verdict changed since the last row, and the ration allows one."""
        assert decision.action is Action.KEEP, "actions are always written"
        last = self._last.get(rollout)
        if last is None:
            return True
        return last.word != Word.of(decision) and (decision.reason not in last.reasons or last.left(at_s) >= 1)

    def forget_all_but(self, rollouts: set[str]) -> None:
        """Drops what is over."""
        self._last = {rollout: last for rollout, last in self._last.items() if rollout in rollouts}
