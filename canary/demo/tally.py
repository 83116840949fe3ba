"""What the clients of the demonstration met, counted at their side of the wire."""

import msgspec


class Tally(msgspec.Struct, kw_only=True):
    """Cumulative counts. A client is harmed where its answer failed, whoever was to blame."""

    sent: int = 0
    answered: int = 0  # whole answers with a status under 500
    harmed: int = 0  # 5xx, cut, or no answer at all
    harmed_by_candidate: int = 0  # of these, answered by the candidate's arm
    from_candidate: int = 0  # all answers that say they come from the candidate's arm
    skipped: int = 0  # not sent: every connection was busy
    in_flight: int = 0
    elapsed_s: float = 0.0

    def ended(self, *, ok: bool, candidate: bool) -> None:
        """Counts one answer's end."""
        self.in_flight -= 1
        self.from_candidate += candidate
        if ok:
            self.answered += 1
        else:
            self.harmed += 1
            self.harmed_by_candidate += candidate


def rate(before: Tally, after: Tally) -> float:
    """Requests a second between two readings; 0 where no time passed."""
    span_s = after.elapsed_s - before.elapsed_s
    return (after.sent - before.sent) / span_s if span_s > 0 else 0.0
