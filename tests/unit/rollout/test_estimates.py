"""What people are shown of each metric: the true difference lies in its interval, in the metric's own unit."""

import numpy as np
import pytest

from canary.rollout.estimates import Estimate, estimates
from canary.rollout.plan import Plan, ShadowStage, Stage
from canary.rollout.simulate import T0, Lab, Question, _Run
from canary.rollout.trend import past_of
from canary.rollout.weighing import evidence_of
from canary.rollout.worlds import EQUAL, Effect
from canary.stats.counts import Horizon
from canary.stats.facts import Fact
from canary.stats.profile import Profile, profile_cells
from canary.stats.value_profile import value_profile_cells
from canary.terms import Better, Measures, MetricKind, MetricSpec

COST = MetricSpec(name="cost", kind=MetricKind.MEAN, source="header:x-cost", rollback_rho=1.02, promote_rho=1.10, share=0.1)
SCORE = MetricSpec(
    name="score", kind=MetricKind.MEAN, better=Better.HIGHER, cap=10.0, source="json:/s", promote_delta=0.2, share=0.1
)
MEASURES = Measures(metrics=(COST, SCORE), classes=("hard",))
PLAN = Plan(
    name="live",
    shadow=ShadowStage(share_bp=0),
    stages=(Stage(weight_bp=5_000, dwell_s=1e6),),
    warm_up_s=0.0,
    alpha_rollback=1e-40,
)


def a_profile() -> Profile:
    rng, cells = np.random.default_rng(3), {}
    for _ in range(2_000):
        stratum, us = int(rng.random() < 0.3), round(1e5 * float(np.exp(0.5 * rng.normal())))
        values = (0.004 * float(np.exp(0.5 * rng.normal())), 10 * float(rng.beta(8, 2)))
        fact = Fact(
            age_us=us, latency_us=us, failed=bool(rng.random() < 0.01), left=False, exchange_id=rng.bytes(16), values=values
        )
        for key in (*profile_cells(fact, stratum=stratum), *value_profile_cells(MEASURES, fact, stratum)):
            cells[key] = cells.get(key, 0) + 1
    return Profile.of(cells)


PROFILE = a_profile()


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
