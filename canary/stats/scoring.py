"""The cells that each event of an exchange increments, under a rollout's frozen scoring."""

from bisect import bisect_left, bisect_right
from typing import Final

from canary.stats.cells import (
    ARM_SHIFT,
    END,
    FIRST_BYTE,
    METRIC_SHIFT,
    PAIR_DROP,
    PAIR_END,
    PAIR_START,
    SECOND_SHIFT,
    START,
    STRATUM_SHIFT,
)
from canary.stats.facts import Fact
from canary.stats.freezing import freeze
from canary.stats.frozen import Scoring
from canary.stats.spec import ScoringSpec
from canary.stats.sticky_cells import clustered
from canary.stats.values import end_cells, pair_cells
from canary.terms import Arm

__all__ = ["Fact", "Scoring", "ScoringSpec", "ends", "freeze", "pair_drops", "pair_ends", "pair_starts", "starts"]

WELL: Final = 0
LEFT: Final = 1
FAILED: Final = 2
"""How an answer ended, in the bin of an END cell."""

BETTER: Final = 0
SAME: Final = 1
WORSE: Final = 2
"""The candidate's latency beside stable's, in the bin of a PAIR_END cell."""

_CANDIDATE: Final = Arm.CANDIDATE
_START: Final = START << METRIC_SHIFT
_END: Final = END << METRIC_SHIFT
_FIRST_BYTE: Final = FIRST_BYTE << METRIC_SHIFT
_PAIR_START: Final = PAIR_START << METRIC_SHIFT
_PAIR_DROP: Final = PAIR_DROP << METRIC_SHIFT
_PAIR_END: Final = PAIR_END << METRIC_SHIFT
_CANDIDATE_BIT: Final = 1 << ARM_SHIFT
_SECOND_US: Final = 1_000_000
_NOTHING: Final[tuple[int, ...]] = ()


def starts(scoring: Scoring, arm: Arm, start_at_us: int, *, stratum: int = 0, unit_hash: bytes = b"") -> tuple[int, ...]:
    """Cells of an assignment (an open frame): the keys to increment in the row of the start's minute."""
    key = _START | stratum << STRATUM_SHIFT | start_at_us // _SECOND_US % 60 << SECOND_SHIFT
    keys = (key | _CANDIDATE_BIT if arm == _CANDIDATE else key,)
    return clustered(keys, unit_hash) if scoring.spec.sticky else keys


def ends(scoring: Scoring, arm: Arm, start_at_us: int, fact: Fact, *, stratum: int = 0) -> tuple[int, ...]:
    """Cells of an answer's end (a live frame): one joint bin from which every contrast reads its score, then the values'.

    The bin is (how it ended, first age by which it had ended, first threshold within which it stayed). Where the time to
    the first byte is guarded, a second cell says the same of it.
    """
    mine = arm == _CANDIDATE
    at = stratum << STRATUM_SHIFT | start_at_us // _SECOND_US % 60 << SECOND_SHIFT | (_CANDIDATE_BIT if mine else 0)
    thresholds = scoring.candidate_us if mine else scoring.stable_us
    keys: tuple[int, ...] = (_END | at | _bin(scoring.ages_us, thresholds, fact, _level(thresholds, fact)),)
    if scoring.first_stable_us:
        thresholds = scoring.first_candidate_us if mine else scoring.first_stable_us
        level = bisect_left(thresholds, fact.ttfb_us) if fact.ttfb_us >= 0 else _level(thresholds, fact)
        keys += (_FIRST_BYTE | at | _bin(scoring.ages_us, thresholds, fact, level),)
    if scoring.values.metrics:
        keys += end_cells(scoring.values, arm, fact, stratum)
    return clustered(keys, fact.unit_hash) if scoring.spec.sticky else keys


def _bin(ages: tuple[int, ...], thresholds: tuple[int, ...], fact: Fact, level: int) -> int:
    levels = len(thresholds) + 1
    if fact.lost:  # its worker died: failed at every age, and no latency is known
        return FAILED * (len(ages) + 1) * levels
    status = FAILED if fact.failed else LEFT if fact.left else WELL
    return (status * (len(ages) + 1) + bisect_left(ages, fact.age_us)) * levels + level


def _level(thresholds: tuple[int, ...], fact: Fact) -> int:
    """The first threshold within which it stayed; where no first byte came, all of it was waiting for one."""
    if fact.failed:  # one that was never written had no latency: to the contrasts that ask what was open, it was closed
        return bisect_left(thresholds, fact.latency_us)
    # A client that leaves at age a exceeds T iff a >= T; one that waits until a exceeds it iff a > T.
    return bisect_right(thresholds, _latency(fact)) if fact.left else bisect_left(thresholds, _latency(fact))


def pair_starts(scoring: Scoring, start_at_us: int, *, stratum: int = 0, unit_hash: bytes = b"") -> tuple[int, ...]:
    """Cells of a copy that is meant to be sent: an open frame that says `mirrored`."""
    keys = (_PAIR_START | stratum << STRATUM_SHIFT | start_at_us // _SECOND_US % 60 << SECOND_SHIFT,)
    return clustered(keys, unit_hash) if scoring.spec.sticky else keys


def pair_drops(scoring: Scoring, start_at_us: int, age_us: int, *, stratum: int = 0, unit_hash: bytes = b"") -> tuple[int, ...]:
    """Cells of a meant copy that was dropped before it was sent, as its live frame says; `age_us` is that answer's end.

    Said after the pairs' age it changes nothing: what is settled stays as it is.
    """
    if age_us > scoring.pair_age_us:
        return _NOTHING
    keys = (_PAIR_DROP | stratum << STRATUM_SHIFT | start_at_us // _SECOND_US % 60 << SECOND_SHIFT,)
    return clustered(keys, unit_hash) if scoring.spec.sticky else keys


def pair_ends(scoring: Scoring, start_at_us: int, live_fact: Fact, shadow_fact: Fact, *, stratum: int = 0) -> tuple[int, ...]:
    """Cells of a pair frame: both sides' scores and their order in one bin; none where a side was lost or came too late.

    A pair without cells stays open, and an open pair is scored against the side that it could help (see `tables`).
    """
    last_us = scoring.pair_age_us
    if live_fact.lost or shadow_fact.lost or live_fact.age_us > last_us or shadow_fact.age_us > last_us:
        return _NOTHING
    candidate = _pair_class(scoring.pair_candidate_us, shadow_fact)
    stable = _pair_class(scoring.pair_stable_us, live_fact)
    order = _order(scoring.pair_later, live_fact, shadow_fact)
    classes = len(scoring.pair_stable_us) + 3
    bin_index = (order * classes + candidate) * classes + stable
    keys: tuple[int, ...] = (_PAIR_END | stratum << STRATUM_SHIFT | start_at_us // _SECOND_US % 60 << SECOND_SHIFT | bin_index,)
    if scoring.values.metrics:
        keys += pair_cells(scoring.values, live_fact, shadow_fact, stratum)
    return clustered(keys, live_fact.unit_hash) if scoring.spec.sticky else keys


def _pair_class(thresholds: tuple[int, ...], fact: Fact) -> int:
    """0..n: ended well, by the thresholds it exceeded; n + 1: failed; n + 2: unknown, as the client left."""
    if fact.failed:
        return len(thresholds) + 1
    if fact.left:
        return len(thresholds) + 2
    return bisect_left(thresholds, _latency(fact))


def _order(later: float, live: Fact, shadow: Fact) -> int:
    """Which answer came later; a failed one is later than any, two failed ones are a tie.

    An answer whose client left would have come at an unknown later time: in its pair the candidate is called better, or
    equal if it failed, which can only weaken the evidence against it. (Counting the time of leaving as stable's latency
    would make an equal candidate look slow: the clients of slow answers are the ones that leave.)
    """
    if shadow.failed:
        return SAME if live.failed or live.left else WORSE
    if live.failed or live.left or shadow.left:
        return BETTER
    tolerated = later * _latency(live)
    latency = _latency(shadow)
    if latency > tolerated:
        return WORSE
    return BETTER if latency < tolerated else SAME


def _latency(fact: Fact) -> int:
    return fact.latency_us if fact.latency_us >= 0 else fact.age_us
