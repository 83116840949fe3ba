"""Leaning on pairs keeps the promise: over every small sample of requests and pairs on the null's edge, e has mean one."""

import itertools
import math

import pytest

from canary.rollout.scoring_of import scoring_spec
from canary.stats.freezing import freeze
from canary.stats.scoring import Scoring
from canary.stats.weigh import weigh
from tests.support.rollouts import a_plan, a_state
from tests.support.scorings import a_profile, a_segment
from tests.support.weighing import contrast_of, row_of, totals_of

MINUTE = 28_000_000
WEIGHT_BP = 500
REQUESTS, PAIRS = 2, 2


def leaning(lean_on: str) -> Scoring:
    return freeze(a_profile(), scoring_spec(a_state(plan=a_plan(lean_on=lean_on)), rate_per_s=0.1))


def log_e(scoring: Scoring, requests: tuple[int, ...], pairs: tuple[int, ...]) -> float:
    """Of errors at the timeout's age: the cells that so many requests and pairs fell into."""
    names = ("error_timeout.rollback", "error.rollback.pairs")
    samples = (requests, pairs)
    counts = {(name, 0): [sample.count(cell) for cell in range(4)] for name, sample in zip(names, samples, strict=True)}
    evidence = weigh(totals_of(scoring, {7: {MINUTE: counts}}), scoring, [a_segment(weight_bp=WEIGHT_BP)], stage=0)
    found = row_of(evidence, "error_timeout").log_e_rollback
    assert found is not None
    return found


@pytest.mark.parametrize("lean_on", ["pairs", "canary"])
@pytest.mark.parametrize(("stable", "together"), [(0.02, 0.0), (0.09, 0.09)])
def test_the_mean_over_every_sample_is_one(lean_on: str, stable: float, together: float) -> None:
    scoring, weight = leaning(lean_on), WEIGHT_BP / 10_000
    canary, paired = (contrast_of(scoring, name) for name in ("error_timeout.rollback", "error.rollback.pairs"))
    assert (canary.rho, canary.delta) == (paired.rho, paired.delta)
    candidate = canary.rho * stable + canary.delta
    arms = (weight * candidate, weight * (1 - candidate), (1 - weight) * stable, (1 - weight) * (1 - stable))
    cells = (together, candidate - together, stable - together, 1 - candidate - stable + together)
    mean = 0.0
    for requests in itertools.product(range(4), repeat=REQUESTS):
        for pairs in itertools.product(range(4), repeat=PAIRS):
            chance = math.prod(arms[cell] for cell in requests) * math.prod(cells[cell] for cell in pairs)
            mean += chance * math.exp(log_e(scoring, requests, pairs))
    assert mean == pytest.approx(1.0)


def test_the_lane_that_is_leaned_on_says_more() -> None:
    """A pair in which the candidate alone failed; a request of it that failed."""
    pairs, canary = leaning("pairs"), leaning("canary")
    worse, bad = ((), (1, 1)), ((0, 0), ())
    by_pairs = [log_e(scoring, *worse) for scoring in (pairs, canary)]
    by_canary = [log_e(scoring, *bad) for scoring in (pairs, canary)]
    assert by_pairs[0] > by_pairs[1]
    assert by_canary[0] < by_canary[1]
    shares = [
        row_of(weigh(totals_of(one, {}), one, [], stage=0), "error_timeout").need_rollback or 0.0 for one in (pairs, canary)
    ]
    assert shares[1] - shares[0] == pytest.approx(math.log(0.25 / 0.08)), "a lower threshold, from the other ages' shares"
