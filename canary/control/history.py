"""Looks of the last minutes, rollout by rollout, so that forecasts can be made; bounded, and nothing depends on them."""

from typing import Final

import msgspec

from canary.rollout.past import WINDOW_S, Past
from canary.rollout.trend import past_of
from canary.stats.evidence import Evidence
from canary.terms import Frozen

KEPT: Final = 30
"""Looks of a rollout, evenly over its window, whatever the tick."""


class _Kept(Frozen, frozen=True, kw_only=True):
    """One look and the stage it was made in: a gate's margins are its stage's own, so growth is told within one alone."""

    at_s: float
    stage: int | None
    said: Past


class Histories:
    """Shared by the loop, which fills it, and by those who show forecasts. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._kept: dict[str, list[_Kept]] = {}
        self._stood: dict[str, tuple[int, float]] = {}  # the counters' instant, and since when it is the same

    def note(self, rollout: str, stage: int | None, evidence: Evidence, *, at_s: float, window_s: float = WINDOW_S) -> None:
        """Keeps a look, where the last one is long enough ago."""
        kept = [one for one in self._kept.get(rollout, []) if one.stage == stage and at_s - one.at_s <= window_s]
        if not kept or at_s - kept[-1].at_s >= window_s / KEPT:
            kept.append(_Kept(at_s=at_s, stage=stage, said=past_of(evidence, age_s=0.0)))
        self._kept[rollout] = kept
        if self._stood.get(rollout, (None, 0.0))[0] != evidence.as_of_us:
            self._stood[rollout] = (evidence.as_of_us, at_s)

    def past(self, rollout: str, stage: int | None, *, at_s: float, window_s: float = WINDOW_S) -> Past | None:
        """The oldest look of this stage within the window, aged; None where there is none yet."""
        for one in self._kept.get(rollout, []):
            age_s = at_s - one.at_s
            if one.stage == stage and 0 < age_s <= window_s:
                as_of_us, since_s = self._stood[rollout]
                stood_s = at_s - since_s
                return msgspec.structs.replace(one.said, age_s=age_s, window_s=window_s, as_of_us=as_of_us, stood_s=stood_s)
        return None

    def forget_all_but(self, rollouts: set[str]) -> None:
        """Drops what is over."""
        self._kept = {rollout: kept for rollout, kept in self._kept.items() if rollout in rollouts}
        self._stood = {rollout: stood for rollout, stood in self._stood.items() if rollout in rollouts}
