"""What the courier counts for its own metrics: since its start, summed over all journals."""

from typing import Final

from canary.observe.outcome import Outcome
from canary.store.frames import Live
from canary.terms import Arm

BUCKETS: Final = 40
"""Bucket i of a histogram holds durations under 2**i microseconds; the last everything longer."""


class Histogram:
    """Durations in powers of two of a microsecond."""

    __slots__ = ("buckets", "sum_us")

    def __init__(self) -> None:
        self.buckets = [0] * BUCKETS
        self.sum_us = 0

    def add(self, duration_us: int) -> None:
        """Counts one duration."""
        self.buckets[min(duration_us.bit_length(), BUCKETS - 1)] += 1
        self.sum_us += duration_us


class Tally:
    """Counters by label; plain dictionaries, because they grow with every frame."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, Arm, int], int] = {}  # route, arm, status // 100
        self.durations: dict[tuple[str, Arm], Histogram] = {}
        self.rejected = 0
        self.unkept: dict[str, int] = {}  # of these, by why they are not among the files set aside: files, bytes, disk
        self.aside_files = 0  # in rejected/ now
        self.aside_bytes = 0
        self.lost = 0
        self.frames = 0
        self.commits = 0
        self.blind_s = 0.0  # how long nobody could judge the canary here, as of the last look
        self.blind_orders = 0

    def live(self, frame: Live, outcome: Outcome) -> None:
        """One client's answer."""
        key = (frame.route, frame.arm, outcome.status // 100)
        self.requests[key] = self.requests.get(key, 0) + 1
        histogram = self.durations.get(key[:2])
        if histogram is None:
            histogram = self.durations[key[:2]] = Histogram()
        histogram.add(outcome.age_us)
