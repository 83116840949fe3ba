"""A profile of answers with a price and a score, in two task classes, and a plan that rolls nothing back."""

import numpy as np

from canary.rollout.plan import Plan, ShadowStage, Stage
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
