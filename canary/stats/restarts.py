"""Late onset: bets that begin anew with every block of start times, mixed so that one budget pays for all of them.

    E = 1/2 E_0 + 1/2 (sum over k = 1..n of E_k / (k (k + 1)) + 1 / (n + 1))

E_0 bets since the rollout's start. E_k bets on blocks k, k + 1, ... alone, is 1 before block k, and keeps its value after
120 blocks. All weights are fixed beforehand, so E is one e-process. Rollback side only, outside all other mixtures.

Sums of logs run from the first block to the last, always in that order, so that the result is a function of the blocks'
counts alone: taken in one by one, read in between, or computed at once from what a decision stored, to the last bit.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np

from canary.stats.contrast import Vector

BLOCK_S: Final = 60
"""A block is a minute of start times."""

LENGTH: Final = 120
"""Blocks after which a start is stopped: what it has not seen in two hours the next ones see as well."""

FROM_START: Final = 0.5
"""Share of the bet that never restarts: what the mixture costs it is ln 2."""

Combine: TypeAlias = Callable[[Vector], Vector]
"""Log sums of components [starts, components] to log e-values [starts]: alternatives, strata, thresholds, lanes, inside out."""


class Restarts:
    """Running sums of all starts that still bet. Costs `LENGTH` additions for a block, whatever the rollout's age."""

    def __init__(self, components: int, combine: Combine, *, length: int = LENGTH) -> None:
        self._combine = combine
        self._length = length
        self._whole = np.zeros(components)
        self._running = np.zeros((0, components))  # a row for each start that is not stopped, oldest first
        self._first = 1  # number of the oldest of them
        self._stopped = -math.inf  # log of the stopped starts' part of the sum
        self.blocks = 0

    def close(self, block: Vector) -> None:
        """Takes in the next block: the logs that its counts add to each component; zeros where nothing started in it."""
        self.blocks += 1
        self._whole = self._whole + block
        self._running = np.vstack([self._running, np.zeros_like(block)]) + block
        if len(self._running) == self._length:
            (ended,) = self._combine(self._running[:1]).tolist()
            self._stopped = float(np.logaddexp(self._stopped, ended - _log_share(self._first)))
            self._running = self._running[1:]
            self._first += 1

    def look(self, open_blocks: Sequence[Vector] = ()) -> float:
        """Log e-value of all closed blocks and of the open ones that follow them, which may still change until they close."""
        ahead = copy.copy(self)  # arrays are replaced, never written to
        for block in open_blocks:
            ahead.close(block)
        return ahead.log_e()

    def log_e(self) -> float:
        """Log e-value of all closed blocks."""
        rows = np.vstack([self._whole, self._running])
        log_e = self._combine(rows)
        shares = [_log_share(self._first + row) for row in range(len(self._running))]
        terms = [self._stopped, -math.log(self.blocks + 1), *(log_e[1:] - np.array(shares)).tolist()]
        restarted = float(np.logaddexp.reduce(np.array(terms)))
        return float(np.logaddexp(math.log(FROM_START) + log_e[0], math.log(1 - FROM_START) + restarted))


def _log_share(start: int) -> float:
    return math.log(start) + math.log(start + 1)


def restarted_log_e(
    blocks: Mapping[int, Vector], combine: Combine, *, first: int, components: int, length: int = LENGTH
) -> float:
    """The same at once: `blocks` by minute, missing ones empty; `first` is the minute of the rollout's first scored segment.

    Raises ValueError for a block before the first.
    """
    if blocks and min(blocks) < first:
        raise ValueError(f"block {min(blocks)} lies before the rollout's first, {first}")
    restarts, nothing = Restarts(components, combine, length=length), np.zeros(components)
    for minute in range(first, max(blocks, default=first - 1) + 1):
        restarts.close(blocks.get(minute, nothing))
    return restarts.log_e()
