"""Late onset: bets that begin anew with every block of start times, mixed so that one budget pays for all of them.

    E = 1/2 E_0 + 1/2 (sum over k = 1, 2, ... of E_k / (k (k + 1)))

E_0 bets since the rollout's start; E_k on blocks k, k + 1, ... alone, and is 1 as long as none of them holds anything, so
that all starts after the last block n together are worth 1 / (n + 1). All weights are fixed beforehand: E is one e-process.
A start whose block is no longer kept counts as 0, which can only lower E. Rollback side only, outside all other mixtures.

E is a function of the kept blocks' counts alone. Sums of logs run from the newest block to the oldest, always, so it is the
same to the last bit in whatever order the counts came, read at once or again from what a decision stored.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from canary.stats.contrast import Vector

BLOCK_S: Final = 60
"""A block is a minute of start times."""

LENGTH: Final = 120
"""Blocks that are kept: what a start has not seen in two hours the next ones see as well."""

FROM_START: Final = 0.5
"""Share of the bet that never restarts: what the mixture costs it is ln 2."""


def running(blocks: Sequence[Vector]) -> Vector:
    """Sums of each block [blocks, ...] and all after it: what a bet that began with it has; one block at least."""
    sums = np.empty((len(blocks), *blocks[0].shape))
    after: Vector | float = 0.0
    for place in range(len(blocks) - 1, -1, -1):  # row by row: three times as fast as `cumsum` along the first axis
        after = np.add(after, blocks[place], out=sums[place])
    return sums


def log_shares(places: Sequence[int], *, whole: bool) -> Vector:
    """Log weights of the starts at each block, and of all starts after the last, [blocks + 1].

    `places` are the kept blocks' numbers from 1 on, ascending; blocks between them hold nothing, so bets that began there
    are worth what the next block's is. `whole`: no block before the first of them was ever filled.
    """
    shares, before = [], 0 if whole or not places else places[0] - 1
    for place in places:
        shares.append(_log(1 / (before + 1) - 1 / (place + 1)))
        before = place
    return np.array([*shares, -math.log(before + 1)])


def restarted_log_e(from_start: float, starts: Vector, shares: Vector) -> float:
    """The mixture: E_0, and the log e-values of the starts at each block under `log_shares`."""
    terms = np.append(starts, 0.0) + shares
    return float(np.logaddexp(math.log(FROM_START) + from_start, math.log(1 - FROM_START) + np.logaddexp.reduce(terms)))


def _log(share: float) -> float:
    return math.log(share) if share > 0 else -math.inf
