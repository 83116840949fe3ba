"""The shipped traces: when requests come, how long they are, how fast models answer."""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

P50_S: Final = 0.1
P99_S: Final = 1.2
SLOWEST_S: Final = 1.7
"""Nothing comes later: the demonstration's deadline is 2 s, and a good model does not fail by it."""
FASTEST_S: Final = 0.01
_TIMINGS_FOR_SCALE: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One recorded request."""

    gap_s: float
    in_tok: int
    out_tok: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How fast one recorded answer came."""

    first_token_s: float
    per_token_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The power law that maps recorded latencies to those of the demonstration: factor * seconds ** power."""

    factor: float
    power: float

    def latency_s(self, timing: Timing, out_tok: int) -> float:
        """What a request of that length takes here, in seconds."""
        raw = timing.first_token_s + timing.per_token_s * out_tok
        scaled: float = self.factor * raw**self.power
        return min(max(scaled, FASTEST_S), SLOWEST_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Both traces and the scale between record and demonstration."""

    calls: tuple[Call, ...]
    timings: tuple[Timing, ...]
    scale: Scale

    @classmethod
    def load(cls) -> "Sample":
        """The traces that ship with the package."""
        calls = tuple(
            Call(gap_s=float(row["gap_s"]), in_tok=int(row["in_tok"]), out_tok=int(row["out_tok"]))
            for row in _rows("azure_conv_2023.csv")
        )
        timings = tuple(
            Timing(first_token_s=float(row["ttft_s"]), per_token_s=float(row["itl_s"])) for row in _rows("llmperf_timings.csv")
        )
        return cls(calls=calls, timings=timings, scale=_scale(calls, timings))

    def gaps(self, rate: float) -> tuple[float, ...]:
        """The recorded gaps, compressed so that `rate` requests come in a second on average."""
        factor = len(self.calls) / rate / sum(call.gap_s for call in self.calls)
        return tuple(call.gap_s * factor for call in self.calls)


def _rows(name: str) -> Iterator[dict[str, str]]:
    yield from csv.DictReader(files("canary.demo").joinpath("data", name).read_text(encoding="utf-8").splitlines())


def _scale(calls: tuple[Call, ...], timings: tuple[Timing, ...]) -> Scale:
    """Two quantiles fix the two numbers of the law; every tenth timing with every call is sample enough."""
    few = timings[:: max(1, len(timings) // _TIMINGS_FOR_SCALE)]
    raw = sorted(t.first_token_s + t.per_token_s * call.out_tok for t in few for call in calls)
    median, slow = raw[len(raw) // 2], raw[int(len(raw) * 0.99)]
    power = math.log(P99_S / P50_S) / math.log(slow / median)
    return Scale(factor=P50_S / median**power, power=power)
