"""What there is to see at one moment of the demonstration, and what it came to."""

from dataclasses import dataclass, field

from canary.demo.admin import Seen
from canary.demo.plan import Candidate
from canary.demo.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one candidate, with the numbers."""

    candidate: str
    says: str
    phase: str
    right: bool
    because: str
    took_s: float
    pairs: int
    served: int  # answers that clients got from it
    harmed: int  # of these, failed
    seconds_after_break: float | None = None

    @property
    def headline(self) -> str:
        """`promoted after 31 s`"""
        words = {"done": "promoted", "rolled_back": "rolled back"}.get(self.phase, self.phase)
        if self.phase == "rolled_back" and self.served == 0:
            words = "stopped in its shadow"
        after = "" if self.seconds_after_break is None else f", {self.seconds_after_break:.1f} s after it broke"
        return f"{words} after {self.took_s:.0f} s{after}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One moment: what the view shows."""

    act: int  # from 1
    candidate: Candidate
    elapsed_s: float
    seen: Seen | None
    rate: float
    tally: Tally
    harmed: int  # clients of this act answered badly by the candidate
    events: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = field(default=())


def verdict_of(candidate: Candidate, seen: Seen, *, took_s: float, tally: Tally, broke_s: float | None = None) -> Verdict:
    """Judges how one act ended. A candidate that is bad from the start must not have served anybody."""
    served = tally.on_trial.get(candidate.version, 0)
    right = seen.phase == candidate.ends
    if candidate.in_phase == "shadow":
        right = right and not seen.went_live and served == 0
    elif candidate.in_phase == "live":
        right = right and seen.went_live and broke_s is not None
    return Verdict(
        candidate=candidate.version,
        says=candidate.says,
        phase=seen.phase,
        right=right,
        because=seen.because,
        took_s=took_s,
        pairs=seen.evidence.pairs if seen.evidence else 0,
        served=served,
        harmed=tally.on_trial_harmed.get(candidate.version, 0),
        seconds_after_break=None if broke_s is None else took_s - broke_s,
    )
