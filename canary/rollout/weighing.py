"""The counts of one look, as bytes and back, and the evidence that they are."""

import msgspec

from canary.rollout.state import RolloutState
from canary.stats.counts import Totals
from canary.stats.evidence import Evidence
from canary.stats.weigh import SegmentWeight, silent, weigh
from canary.terms import Frozen, Phase

_totals_of = msgspec.json.Decoder(Totals).decode


class Weighed(Frozen, frozen=True, kw_only=True):
    """Counts, and what they say."""

    totals: Totals | None = None
    evidence: Evidence | None = None


def read_of(totals: Totals | None) -> bytes:
    """What a decision row keeps of the counts."""
    return b"" if totals is None else msgspec.json.encode(totals)


def weighed_again(read: bytes, state: RolloutState, *, newest_tick_age_s: float | None) -> Weighed:
    """The counts that a decision read, weighed under the rollout's frozen scoring. Raises ValueError where they are damaged."""
    if state.phase is Phase.PENDING:
        return Weighed()
    if state.scoring is None:
        return Weighed(evidence=silent("no scoring", newest_tick_age_s=newest_tick_age_s))
    totals = _totals_of(read)
    evidence = weigh(
        totals,
        state.scoring,
        segments_of(state),
        stage=state.stage if state.stage is not None else -1,
        newest_tick_age_s=newest_tick_age_s,
        sticky=state.sticky,
    )
    return Weighed(totals=totals, evidence=evidence)


def segments_of(state: RolloutState) -> list[SegmentWeight]:
    """The rollout's segments as the statistics know them."""
    return [
        SegmentWeight(id=segment.id, stage=segment.stage, weight_bp=segment.weight_bp, scored=segment.scored)
        for segment in state.segments
    ]
