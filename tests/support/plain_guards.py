"""Throughput and preference in closed form, from a handful of counts: independent checks of what the product weighs by bins.

Each is the natural log of an e-value: a test supermartingale at 1 or less on average under its null, at every look.
"""

import math

import numpy as np

from canary.stats.bets import CLIP, THROUGHPUT_RATIOS, rare_log_e
from canary.stats.kelly import LADDER


def throughput_log_e(counts: tuple[tuple[float, int, int], ...]) -> float:
    """Against "the candidate completes at least as many of its requests as stable does".

    `counts` holds (weight, candidate completions, stable completions) of each segment's settled starts; a completion is an
    answer that ended well by the timeout's age. Units must be requests.
    """
    return rare_log_e(counts, rho=1.0, ratios=THROUGHPUT_RATIOS)


def preference_log_e(margin: float, *, losses: int, ties: int, wins: int, promote: bool = False) -> float:
    """Against "the candidate's net loss over pairs is at most the margin" (promote: at least): h = preference - margin.

    A loss is 1, a tie 0, a win -1. Where users are sticky or ask again, only a user's first decided pair may be counted,
    in whichever direction it went.
    """
    if not 0 <= margin < 1:
        raise ValueError(f"a margin of net loss from 0 to below 1 expected, found {margin}")
    if min(losses, ties, wins) < 0:
        raise ValueError(f"counts from 0 on expected, found {losses} losses, {ties} ties, {wins} wins")
    h = np.array([1 - margin, -margin, -1 - margin])
    score, counts = -h if promote else h, np.array([losses, ties, wins])
    sizes = CLIP / float(-score.min()) * 0.5 ** np.arange(LADDER)
    return float(np.logaddexp.reduce(np.log1p(sizes[:, None] * score) @ counts) - math.log(LADDER))
