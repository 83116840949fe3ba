"""Imagined pairs: two equal versions must look equal however many pairs are drawn from one set of kinds."""

import numpy as np

from canary.rollout.plan import Plan
from canary.rollout.simulate import Lab, Question
from canary.rollout.typical import typical_profile
from canary.rollout.worlds import EQUAL, answers
from canary.stats.cells import METRIC_SHIFT, PAIR_END
from canary.terms import Measures, RouteKind

_BIN = (1 << 16) - 1


def test_equal_versions_are_not_worse_in_more_pairs_than_they_are_better_in() -> None:
    lab = Lab(Question(plan=Plan(name="p"), profile=typical_profile(RouteKind.HTTP), rate_per_s=10.0), EQUAL)
    levels = len(lab.scoring.pair_stable_us)
    classes = levels + 3
    seen = np.zeros((classes, classes))  # candidate's class, stable's
    for key, count in lab.pairs.expected(10_000_000).items():
        if key >> METRIC_SHIFT == PAIR_END:
            seen[divmod(key & _BIN, classes)[0] % classes, (key & _BIN) % classes] += count
    for level in range(levels):
        slow = slice(level + 1, levels + 1)
        quick = slice(0, level + 1)
        worse, better = seen[slow, quick].sum(), seen[quick, slow].sum()
        assert better > 10_000
        assert worse <= better, "the candidate's threshold is the higher one"


def test_where_diversity_is_guarded_every_imagined_answer_says_something_of_its_own() -> None:
    profile = typical_profile(RouteKind.HTTP)
    guarded, plain = (
        answers(profile, one, EQUAL, np.random.default_rng(1)) for one in (Measures(diversity="body"), Measures())
    )
    said = [answer.fact.answer for answer in guarded]
    assert all(said)
    assert len({*said}) == len(said) > 20
    assert not any(answer.fact.answer for answer in plain)
