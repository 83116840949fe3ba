"""The rollback side of every metric at one look: bets since the rollout's start, and those that began with each late minute."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from canary.stats.contrast import Vector
from canary.stats.family import family_of
from canary.stats.frozen import Scoring
from canary.stats.restarts import log_shares, restarted_log_e, running
from canary.stats.side import Counted, SegmentWeight
from canary.stats.totals import Block, Totals, arrays_of
from canary.stats.values import sides
from canary.terms import Scored

_AT_ONCE: Final = 16
"""Minutes that are mixed together: what is larger costs more in fresh pages of memory than in sums."""


class Late:
    """What a look's blocks say, for every metric that has a rollback side."""

    def __init__(self, scoring: Scoring, totals: Totals, segments: Sequence[SegmentWeight]) -> None:
        self._family = family_of(scoring)
        known = {segment.id: segment for segment in segments}
        blocks = [block for block in totals.blocks if block.segment in known]
        minutes = sorted({block.minute for block in blocks})
        first = min((segment.opened_minute for segment in segments if segment.opened_minute), default=totals.first_minute)
        self._shares = log_shares(
            [max(1, minute - first + 1) for minute in minutes], whole=bool(minutes) and minutes[0] <= totals.first_minute
        )
        rates, _ = _sizes(scoring)
        shape = (len(minutes), len(self._family.rollback), *self._family.shape[1:])
        self._contrasts = np.full((len(minutes), len(scoring.contrasts)), -np.inf)
        if minutes:
            self._running = running(_summed(scoring, known, blocks))
            rollback = list(self._family.rollback)
            sums = np.array_split(self._running[:, :rates].reshape(shape), -(-len(minutes) // _AT_ONCE))
            mixed = np.concatenate([self._family.log_e(some, rollback) for some in sums])
            self._contrasts[:, rollback] = self._family.rolled_back(mixed)
        self._scoring = scoring

    def rates(self, from_start: Vector) -> dict[str, float]:
        """Log e-value of each metric that counts by contrasts; `from_start` holds those of the contrasts, both mixed alike."""
        found = {}
        for metric in self._scoring.metrics:
            if metric.share:
                begun = self._family.against(metric, self._contrasts)
                found[metric.name] = restarted_log_e(float(self._family.against(metric, from_start)), begun, self._shares)
        return found

    def values(self, found: Sequence[Counted]) -> Mapping[str, float]:
        """The same of each metric of values; `found` holds the segments' counts since the start, by id."""
        place, _ = _sizes(self._scoring)
        log_e = {}
        for side in sides(self._scoring):
            whole = np.zeros(side.size)
            for one in found:
                whole += side.components(one)
            begun = side.combine(self._running[:, place : place + side.size]) if len(self._contrasts) else np.zeros(0)
            log_e[side.name] = restarted_log_e(float(side.combine(whole)), begun, self._shares)
            place += side.size
        return log_e


def _summed(scoring: Scoring, known: Mapping[int, SegmentWeight], blocks: Sequence[Block]) -> list[Vector]:
    """What each minute adds to each component, by minute, segments in the order of their ids."""
    summed: dict[int, Vector] = {}
    for block in sorted(blocks, key=lambda block: (block.minute, block.segment)):
        segment = known[block.segment]
        parts = _components(scoring, segment.weight_bp, segment.scored, block.counts)
        before = summed.get(block.minute)
        summed[block.minute] = parts if before is None else before + parts
    return list(summed.values())


@lru_cache(maxsize=64)
def _sizes(scoring: Scoring) -> tuple[int, int]:
    """Components of all rollback contrasts, and of all sides of values."""
    family = family_of(scoring)
    return len(family.rollback) * family.shape[1] * family.shape[2], sum(side.size for side in sides(scoring))


@lru_cache(maxsize=1024)
def _components(scoring: Scoring, weight_bp: int, scored: Scored, counts: bytes) -> Vector:
    """One block's components, one after the other. Minutes that are settled stay as they are, and are worth keeping."""
    family = family_of(scoring)
    rates, values = arrays_of(scoring, counts)
    found = Counted(weight_bp=weight_bp, scored=scored, rates=rates, values=values)
    parts = [family.components(weight_bp, scored, rates)[list(family.rollback)].ravel()]
    parts += [side.components(found) for side in sides(scoring)]
    whole = np.concatenate(parts)
    whole.flags.writeable = False
    return whole
