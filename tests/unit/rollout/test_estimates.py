"""What people are shown of each metric: the true difference lies in its interval, in the metric's own unit."""

import numpy as np
import pytest

from canary.rollout.estimates import Estimate, estimates
from canary.rollout.simulate import T0, Lab, Question, _Run
from canary.rollout.trend import past_of
from canary.rollout.weighing import evidence_of
from canary.rollout.worlds import EQUAL, Effect
from canary.stats.counts import Horizon
from tests.support.priced import MEASURES, PLAN, PROFILE


def after(effect: Effect, *, requests: int = 20_000) -> dict[str, Estimate]:
    """Estimates after so many requests at 50 %."""
    run = _Run(Lab(Question(plan=PLAN, profile=PROFILE, rate_per_s=100.0, measures=MEASURES), effect), np.random.default_rng(5))
    for _ in range(requests // 2_000):
        run._serve(20.0)
    tick = Horizon(journal="j", tick_at_us=round(T0.timestamp() * 1e6) + 10**10, dead=False)
    totals = run._ledger.settled([tick], run._lab.scoring)
    evidence = evidence_of(totals, run._state, newest_tick_age_s=0.0)
    return {one.metric: one for one in estimates(run._state, totals, evidence, past=past_of(evidence, age_s=60.0))}


@pytest.mark.parametrize(
    ("effect", "metric", "difference"),
    [
        (EQUAL, "error_timeout", 0.0),
        (EQUAL, "cost", 0.0),
        (EQUAL, "score", 0.0),
        (Effect(name="e", errors=5.0), "error_timeout", 0.043),
        (Effect(name="c", metric="cost", times=1.5), "cost", 0.00225),
        (Effect(name="s", metric="score", worst=0.2), "score", -1.6),
    ],
)
def test_the_interval_holds_the_true_difference(effect: Effect, metric: str, difference: float) -> None:
    one = after(effect)[metric]
    assert one.difference is not None
    assert one.difference.lower is not None
    assert one.difference.upper is not None
    assert one.difference.lower < difference < one.difference.upper
    assert one.difference.lower <= one.difference.estimate <= one.difference.upper
    assert one.candidate is not None
    assert one.stable is not None
    if difference:
        assert (one.difference.lower > 0) == (difference > 0) or one.difference.upper < 0, "a large one is told from none"


def test_quantiles_are_shown_at_the_tolerated_limit_and_averages_have_no_interval() -> None:
    found = after(EQUAL, requests=4_000)
    median = found["p50"]
    assert median.candidate == pytest.approx(0.5, abs=0.08)
    assert median.stable == pytest.approx(0.5, abs=0.08)
    assert found["latency"].difference is None


def test_nothing_counted_is_nothing_shown() -> None:
    lab = Lab(Question(plan=PLAN, profile=PROFILE, rate_per_s=1.0, measures=MEASURES), EQUAL)
    assert estimates(lab.state, None, None) == ()
