"""Settled counts as a rollout reads them: each contrast's four numbers, segment by segment."""

from collections.abc import Iterable, Sequence

from canary.rollout.state import SegmentRef
from canary.stats.counts import SegmentTotals, Totals
from canary.stats.scoring import Scoring
from canary.terms import BUCKETS, Frozen, Scored

CELLS = 4


class Four(Frozen, frozen=True, kw_only=True):
    """One contrast in one segment: how many of each arm scored 1 and 0."""

    candidate_bad: int
    candidate_good: int
    stable_bad: int
    stable_good: int

    @property
    def candidate(self) -> int:
        """Settled starts of the candidate."""
        return self.candidate_bad + self.candidate_good

    @property
    def stable(self) -> int:
        """Settled starts of stable."""
        return self.stable_bad + self.stable_good


class Counted(Frozen, frozen=True, kw_only=True):
    """One segment whose arms a coin assigned."""

    segment: SegmentRef
    found: SegmentTotals
    strata: tuple[tuple[Four, ...], ...]  # [strata][contrasts]

    @property
    def weight(self) -> float:
        """Chance of the candidate, strictly between 0 and 1."""
        return self.segment.weight_bp / BUCKETS

    def four(self, contrast: int) -> Four:
        """A contrast's counts of all classes together."""
        return _sum(stratum[contrast] for stratum in self.strata)


def counted(totals: Totals, scoring: Scoring, segments: Sequence[SegmentRef]) -> tuple[Counted, ...]:
    """The scored segments with live traffic in both arms that have counts, in the order of their ids."""
    known = [
        (segment, totals.segments[segment.id])
        for segment in sorted(segments, key=lambda segment: segment.id)
        if segment.id in totals.segments and segment.scored is not Scored.NONE and 0 < segment.weight_bp < BUCKETS
    ]
    return tuple(Counted(segment=segment, found=found, strata=_strata(found, scoring)) for segment, found in known)


def _strata(found: SegmentTotals, scoring: Scoring) -> tuple[tuple[Four, ...], ...]:
    numbers, width = found.counts, CELLS * len(scoring.contrasts)
    return tuple(
        tuple(_four(numbers[at : at + CELLS]) for at in range(start, start + width, CELLS))
        for start in range(0, len(numbers), width)
    )


def _four(numbers: Sequence[int]) -> Four:
    a, b, c, d = (int(number) for number in numbers)
    return Four(candidate_bad=a, candidate_good=b, stable_bad=c, stable_good=d)


def _sum(parts: Iterable[Four]) -> Four:
    rows = [(part.candidate_bad, part.candidate_good, part.stable_bad, part.stable_good) for part in parts]
    return _four([sum(column) for column in zip(*rows, strict=True)] or [0] * CELLS)
