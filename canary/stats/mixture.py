"""The one-sided normal mixture: an e-value for a sum whose variance is known as it grows.

Source: Robbins' mixture with a normal prior of precision r on the drift (Howard, Ramdas, McAuliffe, Sekhon 2021). With sum S
and variance V the two-sided value is sqrt(r / (V + r)) exp(S^2 / (2 (V + r))); the one-sided prior is the half-normal, which
doubles the part of the mixture whose drift is positive: times 2 Phi(S / sqrt(V + r)).
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import erfcx, log_ndtr

from canary.stats.contrast import Vector

_LN_2: Final = math.log(2.0)


def one_sided_log_e(s: npt.ArrayLike, v: npt.ArrayLike, r: npt.ArrayLike) -> Vector:
    """Log e-value against a drift of at most 0; finite for every finite sum."""
    total, spread, precision = _floats(s), _floats(v), _floats(r)
    z = total / np.sqrt(spread + precision)
    # Below 0 the square and the log of the tail cancel; together they are 2 Phi(z) exp(z^2 / 2) = erfcx(-z / sqrt 2).
    above = _LN_2 + z * z / 2 + log_ndtr(z)
    below = np.log(erfcx(np.maximum(-z, 0) / math.sqrt(2.0)))
    return np.asarray(-0.5 * np.log1p(spread / precision) + np.where(z >= 0, above, below))


def _floats(values: npt.ArrayLike) -> Vector:
    return np.asarray(values, dtype=np.float64)
