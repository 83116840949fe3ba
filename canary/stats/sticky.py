"""One e-value from the two methods for sticky units, so that both spend one share of the error budget."""

import math
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from canary.stats.clustered import ClusterEvidence
from canary.stats.first_event import FirstEventEvidence
from canary.stats.restarts import FROM_START

FIRST_EVENTS_WEIGHT: Final = 0.5
"""Fixed before the first request: choosing the louder method afterwards, or changing over, would spend the share twice."""


def rollback_log_e(first: FirstEventEvidence, clustered: ClusterEvidence) -> float:
    """Log of the mixture for a rare metric's rollback side; a method that abstains has not bet, and counts as e = 1."""
    return float(np.logaddexp(math.log(FIRST_EVENTS_WEIGHT) + first.log_e, math.log1p(-FIRST_EVENTS_WEIGHT) + clustered.log_e))


def abstention(first: FirstEventEvidence, clustered: ClusterEvidence) -> str:
    """Why a rare metric may not roll back: only where neither method can speak."""
    return clustered.abstains if first.abstains and clustered.abstains else ""


def starts_of(blocks: Iterable[int], *, first: int) -> dict[int, int]:
    """Of each block with an event the number, from 1 on, of the earliest one from which a bet would have seen the same.

    `first` is the block in which the rollout began; what a slow clock dates before it has no bet of its own.
    """
    found: dict[int, int] = {}
    earliest: int | None = None
    for block in sorted(blocks):
        if block >= first:
            found[block] = max(block if earliest is None else earliest, first) - first + 1
        earliest = block + 1
    return found


def restarted_log_e(from_start: float, since: Mapping[int, float]) -> float:
    """The value since the start, or that of the best bet which began with a later block, each within its share.

    `since` holds log values by the block's number k from 1 on; k has the share 1 / (k (k + 1)) of what restarts have together.
    The largest is taken, not the mean: a bet that begins anew counts users whose arm the bets before it know, so each is fair
    by what itself has seen and not by what all have seen. Then P(ever >= 1 / alpha) <= alpha still adds up; a mean does not.
    """
    best = max((log_e - math.log(k * (k + 1)) for k, log_e in since.items()), default=-math.inf)
    return max(math.log(FROM_START) + from_start, math.log1p(-FROM_START) + best)
