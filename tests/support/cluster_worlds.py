"""Users with ways of their own, as cluster cells, and the formulas of their evidence written out one by one."""

import math
from collections import defaultdict
from statistics import NormalDist

import numpy as np

from canary.stats.clustered import ClusterEvidence, ClusterTest, evidence_of
from canary.stats.clusters import CLUSTERS, Ints
from canary.stats.moments import Moments, moments_of, no_moments


def no_cells(layers: int = 1) -> Ints:
    """[layers, arm, cluster, (n, Y)], arm 0 the candidate."""
    return np.zeros((layers, 2, CLUSTERS, 2), dtype=np.int64)


def evidence(cells: Ints, test: ClusterTest) -> ClusterEvidence:
    """Of such layers."""
    total = no_moments(1)
    for layer in cells:
        total += moments_of(layer[None])
    return evidence_of(Moments.of(total), [test])[0]


def some_clusters(seed: int, *, layers: int = 2, users: int = 300, rate: float = 0.1, worse: float = 1.0) -> Ints:
    """Requests of users, half of them the candidate's; each user fails at a rate of its own."""
    rng = np.random.default_rng(seed)
    found = no_cells(layers)
    for user in range(users):
        arm = user % 2
        own = min(1.0, rate * rng.gamma(2.0, 0.5) * (1.0 if arm else worse))
        for block in range(layers):
            n = int(rng.integers(1, 12))
            found[block, arm, int(rng.integers(CLUSTERS))] += (n, int(rng.binomial(n, own)))
    return found


def plain_moments(layers: Ints, test: ClusterTest) -> tuple[float, float, float]:
    """D, V and nu, sum by sum."""
    n_of = [[int(cells[arm, :, 0].sum()) for arm in (0, 1)] for cells in layers]
    om = [c * s / (c + s) for c, s in n_of]
    total = sum(om)
    psi: list[defaultdict[int, float]] = [defaultdict(float), defaultdict(float)]
    difference = 0.0
    for cells, (n_c, n_s), weight in zip(layers, n_of, om, strict=True):
        means = [int(cells[arm, :, 1].sum()) / n for arm, n in ((0, n_c), (1, n_s))]
        difference += weight * (means[0] - test.rho * means[1] - test.delta) / total
        for arm, n_arm in ((0, n_c), (1, n_s)):
            for cluster in range(CLUSTERS):
                n, y = (int(value) for value in cells[arm, cluster])
                if n:
                    factor = test.rho if arm else 1.0
                    psi[arm][cluster] += factor * weight / total * (y - means[arm] * n) / (n_arm - n)
    variances = [(len(one) - 1) / len(one) * sum(value * value for value in one.values()) for one in psi]
    if test.promote:  # the candidate on its margin, its users as different as stable's
        margin, n_c, n_s = test.rho * test.stable_rate + test.delta, sum(c for c, _ in n_of), sum(s for _, s in n_of)
        rate = sum(int(cells[1, :, 1].sum()) for cells in layers) / n_s
        design = variances[1] / test.rho**2 / (rate * (1 - rate) / n_s)
        variances[0] = max(variances[0], max(1.0, design) * margin * (1 - margin) / n_c)
    variance = sum(variances)
    nu = variance**2 / sum(v * v / (len(one) - 1) for v, one in zip(variances, psi, strict=True))
    return difference, variance * nu / (nu - 2), nu


def plain_log_e(difference: float, variance: float, test: ClusterTest) -> float:
    """The mixture over the four scales."""
    information = 1 / variance
    s = (-difference if test.promote else difference) * information
    parts = []
    for scale in (0.3, 1.0, 5.0, 25.0):
        r = 1 / (scale * test.effect) ** 2
        z = s / math.sqrt(information + r)
        parts.append(2 * math.sqrt(r / (information + r)) * math.exp(z * z / 2) * NormalDist().cdf(z))
    return math.log(sum(parts) / 4)
