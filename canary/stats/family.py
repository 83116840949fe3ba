"""The factors of all contrasts of one scoring, side by side."""

import math
from functools import lru_cache

import numpy as np

from canary.stats.bets import bets, log_factors
from canary.stats.contrast import CELLS, Vector
from canary.stats.frozen import Scoring
from canary.terms import BUCKETS


class Family:
    """The factors of all contrasts of a scoring, padded to one shape: rows of bets that do not exist have prior 0."""

    def __init__(self, scoring: Scoring) -> None:
        self.scoring = scoring
        sizes = [len(bets(contrast, 0.5)) for contrast in scoring.contrasts]
        self.shape = (len(sizes), max(sizes, default=1), CELLS)
        self.log_prior = np.full(self.shape[:2], -math.inf)
        for index, size in enumerate(sizes):
            self.log_prior[index, :size] = -math.log(size)

    def factors(self, weight_bp: int) -> Vector:
        """Log factors of one segment, [contrasts, bets, 4]; 0 where there is no coin to bet on."""
        factors = np.zeros(self.shape)
        for index, contrast in enumerate(self.scoring.contrasts):
            if contrast.pairs or 0 < weight_bp < BUCKETS:
                rows = log_factors(contrast, weight_bp / BUCKETS)
                factors[index, : len(rows)] = rows
        return factors


@lru_cache(maxsize=64)
def family_of(scoring: Scoring) -> Family:
    """The family of a scoring, built once."""
    return Family(scoring)


@lru_cache(maxsize=512)
def factors_of(scoring: Scoring, weight_bp: int) -> Vector:
    """The factors of one segment's weight, built once."""
    return family_of(scoring).factors(weight_bp)
