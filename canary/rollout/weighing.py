"""The counts of one look, as bytes and back, and the evidence that they are: for the loop, people and replays alike."""

from canary.rollout.state import RolloutState
from canary.stats.counts import Totals
from canary.stats.evidence import Evidence
from canary.stats.side import SegmentWeight
from canary.stats.sticky_totals import StickyTotals
from canary.stats.sticky_weigh import weigh_sticky
from canary.stats.weigh import silent, weigh
from canary.terms import Frozen, Phase

NO_SCORING = "no scoring"


class Weighed(Frozen, frozen=True, kw_only=True):
    """Counts, and what they say."""

    totals: Totals | None = None
    evidence: Evidence | None = None


def read_of(totals: Totals | None) -> bytes:
    """What a decision row keeps of the counts."""
    return b"" if totals is None else totals.to_bytes()


def weighed_again(read: bytes, state: RolloutState, *, newest_tick_age_s: float | None) -> Weighed:
    """The counts that a decision read, weighed under the rollout's frozen scoring. Raises ValueError where they are damaged."""
    if state.phase is Phase.PENDING:
        return Weighed()
    if state.scoring is None:
        return Weighed(evidence=silent(NO_SCORING, newest_tick_age_s=newest_tick_age_s))
    kind = StickyTotals if state.scoring.spec.sticky else Totals
    totals = kind.of_bytes(read, state.scoring)
    return Weighed(totals=totals, evidence=evidence_of(totals, state, newest_tick_age_s=newest_tick_age_s))


def evidence_of(totals: Totals, state: RolloutState, *, newest_tick_age_s: float | None) -> Evidence:
    """The evidence of a rollout's settled counts, by requests or by users as its units are."""
    scoring = state.scoring
    assert scoring is not None, "counts have a scoring"
    stage = state.stage if state.stage is not None else -1
    if isinstance(totals, StickyTotals):
        return weigh_sticky(totals, scoring, segments_of(state), stage=stage, newest_tick_age_s=newest_tick_age_s)
    return weigh(totals, scoring, segments_of(state), stage=stage, newest_tick_age_s=newest_tick_age_s)


def segments_of(state: RolloutState) -> list[SegmentWeight]:
    """The rollout's segments as the statistics know them."""
    return [
        SegmentWeight(
            id=segment.id,
            stage=segment.stage,
            weight_bp=segment.weight_bp,
            scored=segment.scored,
            opened_minute=int(segment.opened_at.timestamp()) // 60,
        )
        for segment in state.segments
    ]
