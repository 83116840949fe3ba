"""Normal mixtures: e-values for a sum whose variance is known as it grows, and the bounds that they mean.

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

_BISECTIONS: Final = 200
_LN_2: Final = math.log(2.0)


def best_r(v_opt: float, alpha: float, *, one_sided: bool = False) -> float:
    """The prior's precision whose bound at level alpha is about the tightest where the variance is v_opt."""
    if v_opt <= 0 or not 0 < alpha < (0.5 if one_sided else 1):
        raise ValueError(f"a variance above 0 and a level below {'1/2' if one_sided else '1'} expected, found {v_opt}, {alpha}")
    tail = -math.log(2 * alpha if one_sided else alpha)
    return v_opt / (2 * tail + math.log1p(2 * tail))


def two_sided_log_e(s: npt.ArrayLike, v: npt.ArrayLike, r: npt.ArrayLike) -> Vector:
    """Log e-value against drift 0, whichever way the sum went."""
    total, spread, precision = _floats(s), _floats(v), _floats(r)
    return np.asarray(_shrunk(spread, precision) + total * total / (2 * (spread + precision)))


def one_sided_log_e(s: npt.ArrayLike, v: npt.ArrayLike, r: npt.ArrayLike) -> Vector:
    """Log e-value against a drift of at most 0; finite for every finite sum."""
    total, spread, precision = _floats(s), _floats(v), _floats(r)
    z = total / np.sqrt(spread + precision)
    # Below 0 the square and the log of the tail cancel; together they are 2 Phi(z) exp(z^2 / 2) = erfcx(-z / sqrt 2).
    above = _LN_2 + z * z / 2 + log_ndtr(z)
    below = np.log(erfcx(np.maximum(-z, 0) / math.sqrt(2.0)))
    return np.asarray(_shrunk(spread, precision) + np.where(z >= 0, above, below))


def two_sided_bound(v: float, r: float, *, alpha: float) -> float:
    """The |sum| at which the two-sided e-value is 1 / alpha."""
    return math.sqrt((v + r) * (math.log1p(v / r) - 2 * math.log(alpha)))


def one_sided_bound(v: float, r: float, *, alpha: float) -> float:
    """The sum at which the one-sided e-value is 1 / alpha, by bisection to the last digits."""
    if not 0 < alpha < 1:
        raise ValueError(f"a level between 0 and 1 expected, found {alpha}")
    need = -math.log(alpha)
    # 2 Phi is at least 1 from 0 on, so the one-sided value has crossed where the two-sided one does.
    low, high = 0.0, two_sided_bound(v, r, alpha=alpha)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if float(one_sided_log_e(middle, v, r)) < need else (low, middle)
    return high


def _shrunk(spread: Vector, precision: Vector) -> Vector:
    """Log of sqrt(r / (V + r))."""
    return np.asarray(-0.5 * np.log1p(spread / precision))


def _floats(values: npt.ArrayLike) -> Vector:
    return np.asarray(values, dtype=np.float64)
