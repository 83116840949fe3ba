"""Every contrast's counts by the words of its definition, request by request: slow, and without cells."""

from collections.abc import Sequence
from dataclasses import dataclass

from canary.stats.contrast import Contrast, Rule
from canary.stats.scoring import Fact
from canary.terms import Arm


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request: when and where it started, how it ended, and its copy, if one was meant."""

    start_us: int
    arm: Arm
    fact: Fact
    mirrored: bool = False
    dropped: bool = False
    shadow: Fact | None = None  # None where the copy never ended
    stratum: int = 0

    @property
    def frames(self) -> dict[str, int]:
        """When each thing that is written down about it is written down."""
        found = {"start": self.start_us, "end": self.start_us + self.fact.age_us}
        if self.mirrored and not self.dropped and self.shadow is not None:
            found["pair"] = self.start_us + max(self.fact.age_us, self.shadow.age_us)
        return found


def counts(contrast: Contrast, requests: Sequence[Request], tick_us: int, *, later: float) -> tuple[int, int, int, int]:
    """The four counts of the requests whose second of start is settled for the contrast's age at a tick."""
    settled = [r for r in requests if (r.start_us // 1_000_000 + 1) * 1_000_000 + contrast.age_us <= tick_us]
    cells = [0, 0, 0, 0]
    for request in settled:
        if not contrast.pairs:
            cells[canary_place(contrast, request)] += 1
        elif is_pair(contrast, request):
            candidate, stable = pair_bits(contrast, request, later)
            cells[(0 if candidate else 2) + (0 if stable else 1)] += 1
    return tuple(cells)  # type: ignore[return-value]


def canary_place(contrast: Contrast, request: Request) -> int:
    candidate = request.arm is Arm.CANDIDATE
    limit_us = contrast.candidate_us if candidate else contrast.stable_us
    return (0 if candidate else 2) + (0 if bit(contrast, request.fact, candidate=candidate, limit_us=limit_us) else 1)


def bit(contrast: Contrast, fact: Fact, *, candidate: bool, limit_us: int) -> bool:
    """What one side scores as things stood at the contrast's age."""
    ended = fact.lost or fact.age_us <= contrast.age_us
    failed = fact.failed or fact.lost
    ended_badly, ended_well = ended and failed, ended and not failed
    written = fact.latency_us >= 0
    latency_us = fact.latency_us if written else fact.age_us
    slow = latency_us >= limit_us if fact.left and not failed else latency_us > limit_us
    first_us = fact.ttfb_us if fact.ttfb_us >= 0 else latency_us if written or not failed else -1
    gone_by_then = fact.left and fact.ttfb_us < 0 and first_us >= limit_us
    first_in_time = not failed and first_us <= limit_us and not gone_by_then
    match contrast.rule:
        case Rule.BAD:
            return ended_badly if candidate else not ended_well
        case Rule.UNWELL:
            return not ended_well if candidate else ended_badly
        case Rule.SLOW:
            return not (ended_well and not slow)
        case Rule.OPEN:
            never_written_failure = failed and (fact.lost or not written)
            return not (ended and (never_written_failure or not slow))
        case Rule.GONE:
            return ended_badly if candidate else not ended_well
        case Rule.TARDY:
            return ended and not first_in_time if candidate else not (ended and first_in_time)
        case Rule.UNMET:
            return not (ended and first_in_time) if candidate else ended and not first_in_time
        case Rule.SILENT:
            waited = first_us > limit_us or (fact.left and not failed and fact.ttfb_us < 0 and first_us == limit_us)
            silent = waited and not (failed and (fact.lost or first_us < 0))
            return not ended or silent if candidate else ended and silent
        case Rule.LATER:
            raise AssertionError("pairs only")


def is_pair(contrast: Contrast, request: Request) -> bool:
    """A copy that was meant, unless the live answer said in time that it was dropped."""
    said_in_time = request.dropped and request.fact.age_us <= contrast.age_us
    return request.mirrored and not said_in_time


def pair_bits(contrast: Contrast, request: Request, later: float) -> tuple[bool, bool]:
    """Both sides' scores; where a side is not known in time, each is what hurts the claim."""
    live, shadow = request.fact, request.shadow
    late = shadow is None or max(live.age_us, shadow.age_us) > contrast.age_us
    if late or request.dropped or live.lost or shadow is None or shadow.lost:
        return contrast.promote, not contrast.promote
    if contrast.rule is Rule.LATER:
        return order(live, shadow, later)
    candidate = bit(contrast, shadow, candidate=True, limit_us=contrast.candidate_us)
    stable = bit(contrast, live, candidate=False, limit_us=contrast.stable_us)
    if shadow.left and not shadow.failed:
        candidate = contrast.promote
    if live.left and not live.failed:
        stable = not contrast.promote
    return candidate, stable


def order(live: Fact, shadow: Fact, later: float) -> tuple[bool, bool]:
    """(candidate later, stable later); a failure is later than any answer, an answer nobody waited for than any that came."""
    if shadow.failed:
        return (False, False) if live.failed or live.left else (True, False)
    if live.failed or live.left or shadow.left:
        return False, True
    mine = shadow.latency_us if shadow.latency_us >= 0 else shadow.age_us
    theirs = later * (live.latency_us if live.latency_us >= 0 else live.age_us)
    return mine > theirs, mine < theirs
