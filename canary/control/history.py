"""Looks of the last minutes, rollout by rollout, so that forecasts can be made; bounded, and nothing depends on them."""

from canary.rollout.past import Past
from canary.rollout.trend import WINDOW_S, past_of
from canary.stats.evidence import Evidence
from canary.terms import Frozen

EVERY_S = 10.0
"""Between two looks that are kept: thirty of a rollout, whatever the tick."""


class _Kept(Frozen, frozen=True, kw_only=True):
    """One look and the stage it was made in: a gate's margins are its stage's own, so growth is told within one alone."""

    at_s: float
    stage: int | None
    said: Past


class Histories:
    """Shared by the loop, which fills it, and by those who show forecasts. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._kept: dict[str, list[_Kept]] = {}

    def note(self, rollout: str, stage: int | None, evidence: Evidence, *, at_s: float) -> None:
        """Keeps a look, where the last one is long enough ago."""
        kept = [one for one in self._kept.get(rollout, []) if one.stage == stage and at_s - one.at_s <= WINDOW_S]
        if not kept or at_s - kept[-1].at_s >= EVERY_S:
            kept.append(_Kept(at_s=at_s, stage=stage, said=past_of(evidence, age_s=0.0)))
        self._kept[rollout] = kept

    def past(self, rollout: str, stage: int | None, *, at_s: float) -> Past | None:
        """The oldest look of this stage within the window, aged; None where there is none yet."""
        for one in self._kept.get(rollout, []):
            age_s = at_s - one.at_s
            if one.stage == stage and 0 < age_s <= WINDOW_S:
                return Past(age_s=age_s, rollback=one.said.rollback, promote=one.said.promote, as_of_us=one.said.as_of_us)
        return None

    def forget_all_but(self, rollouts: set[str]) -> None:
        """Drops what is over."""
        self._kept = {rollout: kept for rollout, kept in self._kept.items() if rollout in rollouts}
