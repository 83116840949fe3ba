"""What is known of normal mixtures beside the value that the product uses: the two-sided one, bounds, the best precision.

Source as in `canary.stats.mixture`: Howard, Ramdas, McAuliffe, Sekhon 2021.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from canary.stats.contrast import Vector
from canary.stats.mixture import one_sided_log_e

_BISECTIONS: Final = 200


def best_r(v_opt: float, alpha: float, *, one_sided: bool = False) -> float:
    """The prior's precision whose bound at level alpha is about the tightest where the variance is v_opt."""
    if v_opt <= 0 or not 0 < alpha < (0.5 if one_sided else 1):
        raise ValueError(f"a variance above 0 and a level below {'1/2' if one_sided else '1'} expected, found {v_opt}, {alpha}")
    tail = -math.log(2 * alpha if one_sided else alpha)
    return v_opt / (2 * tail + math.log1p(2 * tail))


def two_sided_log_e(s: npt.ArrayLike, v: npt.ArrayLike, r: npt.ArrayLike) -> Vector:
    """Log e-value against drift 0, whichever way the sum went."""
    total, spread, precision = (np.asarray(values, dtype=np.float64) for values in (s, v, r))
    return np.asarray(-0.5 * np.log1p(spread / precision) + total * total / (2 * (spread + precision)))


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
