"""Several rollouts at once: which of them to call bad, so that few of those are called so wrongly."""

import math
from collections.abc import Mapping


def discoveries(log_e: Mapping[str, float], q: float) -> frozenset[str]:
    """The rollouts to reject so that at most a share q of them is expected to be wrong (e-BH, Wang and Ramdas 2022).

    Takes each rollout's one e-value (natural log), whatever their dependence; rejects the largest k of m with the k-th
    largest e-value at least m / (k q).
    """
    if not 0 < q < 1:
        raise ValueError(f"a share between 0 and 1 expected, found {q}")
    ranked = sorted(log_e.items(), key=lambda item: (-item[1], item[0]))
    most = 0
    for k, (_, found) in enumerate(ranked, start=1):
        if found >= math.log(len(ranked)) - math.log(k * q):
            most = k
    return frozenset(name for name, _ in ranked[:most])
