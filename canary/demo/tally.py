"""What the clients of the demonstration met, counted at their side of the wire."""

import msgspec


class Tally(msgspec.Struct, kw_only=True):
    """Cumulative counts. A client is harmed where its answer failed, whoever was to blame."""

    sent: int = 0
    answered: int = 0  # whole answers with a status under 500
    harmed: int = 0  # 5xx, cut, or no answer at all
    on_trial: dict[str, int] = {}  # answers that say they come from the candidate's arm, by version
    on_trial_harmed: dict[str, int] = {}  # of these, failed
    skipped: int = 0  # not sent: every connection was busy
    in_flight: int = 0
    elapsed_s: float = 0.0

    def ended(self, *, ok: bool, trial: str = "") -> None:
        """Counts one answer's end; `trial` is the version where the candidate's arm answered."""
        self.in_flight -= 1
        if trial:
            self.on_trial[trial] = self.on_trial.get(trial, 0) + 1
        if ok:
            self.answered += 1
            return
        self.harmed += 1
        if trial:
            self.on_trial_harmed[trial] = self.on_trial_harmed.get(trial, 0) + 1


def rate(before: Tally, after: Tally) -> float:
    """Requests a second between two readings; 0 where no time passed."""
    span_s = after.elapsed_s - before.elapsed_s
    return (after.sent - before.sent) / span_s if span_s > 0 else 0.0
