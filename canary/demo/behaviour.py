"""How a demonstration model behaves: how often it fails, and how slow its slow answers are."""

import random
from dataclasses import dataclass, replace
from typing import Final

from canary.demo.sample import P50_S, Sample

FAILURE_S: Final = 0.03
"""A failure comes fast, as from a model server that is out of memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What `error_rate` of the answers fail, and `tail` times as long is every answer over twice the median."""

    error_rate: float = 0.005
    tail: float = 1.0

    def with_errors(self, error_rate: float) -> "Behaviour":
        """The same with another share of failures."""
        return replace(self, error_rate=error_rate)


GOOD: Final = Behaviour()
BAD: Final = Behaviour(error_rate=0.08, tail=2.0)
BROKEN: Final = Behaviour(error_rate=0.15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer as drawn: when it ends and whether it fails."""

    latency_s: float
    failed: bool


def draw(behaviour: Behaviour, sample: Sample, out_tok: int, chance: random.Random) -> Answer:
    """The answer to one request of `out_tok` tokens."""
    if chance.random() < behaviour.error_rate:
        return Answer(latency_s=FAILURE_S * (0.5 + chance.random()), failed=True)
    latency_s = sample.scale.latency_s(sample.timings[int(chance.random() * len(sample.timings))], out_tok)
    slow = latency_s > 2 * P50_S
    return Answer(latency_s=latency_s * behaviour.tail if slow else latency_s, failed=False)
