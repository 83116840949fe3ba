"""Guards whose evidence is a handful of counts: absolute limits, which the candidate keeps or breaks alone.

Each returns the natural log of an e-value: a test supermartingale at 1 or less on average under its null, at every look.
"""

import math

import numpy as np

from canary.stats.bets import CLIP, mixed
from canary.stats.contrast import Vector
from canary.stats.kelly import LADDER


def limit_log_e(limit: float, *, n: int, bad: int) -> float:
    """Against "at most `limit` of the candidate's requests are bad", by the candidate alone: h = y - limit.

    It knows no stable arm, so an outage that both share speaks against the candidate too: it alerts, and rolls nothing back.
    """
    if not 0 < limit < 1:
        raise ValueError(f"a limit between 0 and 1 expected, found {limit}")
    if not 0 <= bad <= n:
        raise ValueError(f"0 <= bad <= n expected, found {bad} of {n}")
    return _ladder_log_e(np.array([1 - limit, -limit]), np.array([bad, n - bad]))


def mean_limit_log_e(limit: float, *, values: Vector, counts: Vector) -> float:
    """Against "the candidate's mean is at most `limit`", by the candidate alone: h = y - limit, bets below 1 / limit.

    `values` are what the bins of answers are worth, from 0 on, `counts` how many each holds. It alerts, as `limit_log_e`.
    """
    if not limit > 0 or len(values) != len(counts) or min(values) < 0:
        raise ValueError(f"a limit above 0 and values from 0 on expected, found {limit} and {len(values)} values")
    return _ladder_log_e(np.append(values, 0.0) - limit, np.append(counts, 0.0))


def _ladder_log_e(score: Vector, counts: Vector) -> float:
    """The mixture of the ten bets that need no profile: each half the one before, the first just below the largest."""
    largest = CLIP / float(-score.min())
    sizes = largest * 0.5 ** np.arange(LADDER, dtype=np.float64)
    return float(mixed(np.full(LADDER, -math.log(LADDER)), np.log1p(sizes[:, None] * score) @ counts))
