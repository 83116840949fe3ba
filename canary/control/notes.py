"""When a decision that moves nothing is worth writing down."""

from dataclasses import dataclass
from typing import Final

from canary.rollout.state import Decision, RolloutState
from canary.terms import Action

QUIET_S: Final = 5.0
"""Between two notes of one rollout: a sentence whose numbers grow each second is no news each second."""


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


class Notebook:
    """Remembers, rollout by rollout, what was written last and when."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[Word, float]] = {}

    def knows(self, rollout: str) -> bool:
        """True where what was written last is known here."""
        return rollout in self._last

    def wrote(self, rollout: str, decision: Decision, at_s: float) -> None:
        """A decision of this rollout was written."""
        self._last[rollout] = (Word.of(decision), at_s)

    def noted(self, rollout: str, at_s: float) -> None:
        """Only words were written: no decision row."""
        if rollout in self._last:
            self._last[rollout] = (self._last[rollout][0], at_s)

    def is_due(self, state: RolloutState, decision: Decision, at_s: float) -> bool:
        """True where a KEEP says something that the stored state does not, and the last writing is long enough ago."""
        _, wrote_s = self._last.get(state.id, (None, float("-inf")))
        if at_s - wrote_s < QUIET_S:
            return False
        return self.is_news(state.id, decision) or (state.because, state.waiting) != (decision.because, decision.waiting)

    def is_news(self, rollout: str, decision: Decision) -> bool:
        """True where a KEEP deserves a decision row: the reason or a verdict changed since the last row."""
        assert decision.action is Action.KEEP, "actions are always written"
        return rollout not in self._last or self._last[rollout][0] != Word.of(decision)

    def forget_all_but(self, rollouts: set[str]) -> None:
        """Drops what is over."""
        self._last = {rollout: last for rollout, last in self._last.items() if rollout in rollouts}
