"""Kayenta's judge, by its description: a Mann-Whitney comparison of points of time, metric by metric.

Source: "How canary judgment works" (spinnaker.io/guides/user/canary/judge) and spinnaker/kayenta, NetflixACAJudge and
MannWhitneyClassifier: a 98 % confidence interval of the Hodges-Lehmann shift between the candidate's and stable's points; the
metric is High where the interval's lower end lies above a quarter of the estimated shift. Values that are no number are
removed and, by default, outliers are kept. The interval is the classical one from the ordered differences (Hollander, Wolfe
and Chicken, Nonparametric Statistical Methods, section 4.3).

Ours to choose: a point every 10 s or 60 s, a judgement every 60 s on all points so far, the first High rolls back, and no
judgement while the points are too few for 98 % (a single pair of points would otherwise be enough to fail).
"""

import math
from typing import Final

import numpy as np
from scipy.stats import norm

from tests.bench.stats.draws import Bools, Floats

LEVEL: Final = 0.98
_QUANTILE: Final = float(norm.ppf((1 + LEVEL) / 2))
TOLERANCE: Final = 0.25
JUDGE_EVERY_S: Final = 60
MOST_POINTS: Final = 120
"""Of one arm; longer histories are judged on the last ones, as a judgement of ever more pairs costs their square."""


def points(values: Floats, candidate: Bools, each: int) -> tuple[Floats, Floats]:
    """The mean of each arm in every point of time, NaN where it had no request."""
    whole = len(values) // each * each
    place = np.arange(whole) // each
    found = []
    for arm in (candidate[:whole], ~candidate[:whole]):
        n = np.bincount(place[arm], minlength=whole // each)
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append(np.bincount(place[arm], weights=values[:whole][arm], minlength=whole // each) / n)
    return found[0], found[1]


def is_high(candidate: Floats, stable: Floats) -> bool:
    """Whether the shift's lower limit lies above the tolerance."""
    candidate, stable = candidate[~np.isnan(candidate)], stable[~np.isnan(stable)]
    m, n = len(candidate), len(stable)
    spread = _QUANTILE * math.sqrt(m * n * (m + n + 1) / 12)
    place = math.floor(m * n / 2 - spread)
    if place < 1:
        return False
    differences = np.sort((candidate[:, None] - stable[None, :]).ravel())
    return bool(differences[place - 1] > TOLERANCE * abs(np.median(differences)))


def kayenta(values: Floats, candidate: Bools, *, point_s: int, per_s: float) -> float:
    """After how many requests the metric is judged High; infinite where it never is."""
    each = max(1, round(point_s * per_s))
    mine, theirs = points(values, candidate, each)
    per_judgement = max(1, JUDGE_EVERY_S // point_s)
    for until in range(per_judgement, len(mine) + 1, per_judgement):
        since = max(0, until - MOST_POINTS)
        if is_high(mine[since:until], theirs[since:until]):
            return float(until * each)
    return math.inf
