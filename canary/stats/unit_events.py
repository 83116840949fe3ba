"""Which events of a sticky unit's exchanges may be its first: failures in the canary, discordant pairs in the shadow.

Both are read at the timeout's age. A failure is bracketed as everywhere: the candidate ended badly by the age, stable had not
ended well by it. A pair is discordant where one side alone is bad; one of which a side stays unknown counts as stable's, and
so does one that has not come by the age, which can only weaken the evidence against the candidate.
"""

from collections.abc import Iterable
from typing import Final

from canary.stats.contrast import Contrast, Rule
from canary.stats.facts import Fact
from canary.stats.frozen import Scoring
from canary.terms import Arm

ERROR: Final = "error"
"""The canary's rare metric: errors at the timeout's age."""

LATE: Final = "error@"
"""With a block's number after it: a unit's first failure among those that started in that block."""

BLOCK_US: Final = 600_000_000
"""Ten minutes of starts: where late onset's bets may begin."""

UNIT: Final = "unit:"
"""With the segment's number after it: a unit's first request there, for the sample ratio."""

PAIR: Final = "pair:"
"""With a contrast's name after it."""


def unit_metric(segment: int) -> str:
    """Under which name the units of a segment are kept."""
    return f"{UNIT}{segment}"


def late_metric(start_at_us: int) -> str:
    """Under which name a unit's first failure of that block is kept."""
    return f"{LATE}{start_at_us // BLOCK_US}"


def late_block(metric: str) -> int:
    """The block of such a name; -1 where it is another's."""
    return int(metric.removeprefix(LATE)) if metric.startswith(LATE) else -1


def pair_metric(contrast: Contrast) -> str:
    """Under which name a pair contrast's first events are kept: `pair:error`, `pair:p95`, `pair:later`."""
    return PAIR + contrast.name.partition(".")[0]


def pair_contrasts(scoring: Scoring) -> list[Contrast]:
    """The contrasts of which a unit's first discordant pair counts: those of the rollback side."""
    return [contrast for contrast in scoring.contrasts if contrast.pairs and not contrast.promote]


def fails(arm: Arm, fact: Fact, age_us: int) -> bool:
    """Whether an exchange that has ended is an event of its unit."""
    if fact.lost:
        return True
    if fact.age_us > age_us:
        return arm == Arm.STABLE
    return fact.failed


def fails_open(arm: Arm) -> bool:
    """Whether one that is open at the age is."""
    return arm == Arm.STABLE


def discordant(scoring: Scoring, live: Fact, shadow: Fact) -> Iterable[tuple[str, Arm]]:
    """(metric, the arm that was worse) of each contrast in which the sides differ."""
    if live.lost or shadow.lost or max(live.age_us, shadow.age_us) > scoring.pair_age_us:
        yield from unknown(scoring)
        return
    for contrast in pair_contrasts(scoring):
        candidate, stable = _bits(contrast, live, shadow, later=scoring.pair_later)
        if candidate != stable:
            yield pair_metric(contrast), Arm.CANDIDATE if candidate else Arm.STABLE


def unknown(scoring: Scoring) -> Iterable[tuple[str, Arm]]:
    """What a pair says that has not come by its age, or of which a side was lost."""
    for contrast in pair_contrasts(scoring):
        yield pair_metric(contrast), Arm.STABLE


def _bits(contrast: Contrast, live: Fact, shadow: Fact, *, later: float) -> tuple[bool, bool]:
    """Whether the candidate's side is bad, and whether stable's is."""
    if contrast.rule is Rule.LATER:
        return _later(live, shadow, later)
    return _bad(contrast, shadow, contrast.candidate_us, left=False), _bad(contrast, live, contrast.stable_us, left=True)


def _bad(contrast: Contrast, fact: Fact, limit_us: int, *, left: bool) -> bool:
    if fact.failed:
        return True
    if fact.left:
        return left
    return contrast.rule is Rule.SLOW and _latency(fact) > limit_us


def _later(live: Fact, shadow: Fact, later: float) -> tuple[bool, bool]:
    """A failed answer is later than any, two failed ones are a tie; an answer whose client left would have come later."""
    if shadow.failed:
        return (False, False) if live.failed or live.left else (True, False)
    if live.failed or live.left or shadow.left:
        return False, True
    tolerated = later * _latency(live)
    return _latency(shadow) > tolerated, _latency(shadow) < tolerated


def _latency(fact: Fact) -> int:
    return fact.latency_us if fact.latency_us >= 0 else fact.age_us
