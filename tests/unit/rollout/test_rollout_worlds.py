"""Imagined pairs: two equal versions must look equal however many pairs are drawn from one set of kinds."""

import numpy as np

from canary.rollout.plan import Plan
from canary.rollout.simulate import Lab, Question
from canary.rollout.typical import typical_profile
from canary.rollout.worlds import EQUAL
from canary.stats.cells import METRIC_SHIFT, PAIR_END
from canary.stats.scoring import BETTER, WORSE
from canary.terms import RouteKind

_BIN = (1 << 16) - 1


def test_equal_versions_are_better_and_worse_in_equally_many_pairs() -> None:
    lab = Lab(Question(plan=Plan(name="p"), profile=typical_profile(RouteKind.HTTP), rate_per_s=10.0), EQUAL)
    classes = len(lab.scoring.pair_stable_us) + 3
    orders = np.zeros(3)
    for key, count in lab.pairs.expected(10_000_000).items():
        if key >> METRIC_SHIFT == PAIR_END:
            orders[(key & _BIN) // classes**2] += count
    assert orders[WORSE] > 100_000
    # 3 % slower is tolerated, so a few more are better than worse: never the other way round
    assert orders[WORSE] <= orders[BETTER]
