"""Sample ratio: do the arms get the shares that the coin was meant to give them?"""

import math
from typing import Final

from scipy.special import betaln

BROKEN_LOG_E: Final = math.log(1000.0)
"""From here on nothing is promoted."""

_STRENGTH: Final = 100.0
"""Pseudo-counts of the alternative's prior around the configured share."""


def sample_ratio_log_e(weight: float, candidate: int, stable: int) -> float:
    """Log e-value that the candidate's share of one segment's starts is not `weight`; beta mixture against a binomial."""
    if not 0 < weight < 1:
        return 0.0
    a, b = _STRENGTH * weight, _STRENGTH * (1 - weight)
    mixture = float(betaln(a + candidate, b + stable) - betaln(a, b))
    return mixture - candidate * math.log(weight) - stable * math.log1p(-weight)
