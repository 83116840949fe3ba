"""What a candidate has cost: expected and at worst, whatever the ramp; and a budget that ends it."""

import numpy as np
import pytest

from canary.rollout.counted import counted
from canary.rollout.decide import decide
from canary.rollout.harm import Harm, harm_of, overspent
from canary.rollout.plan import HarmBudget
from canary.rollout.signs import Signs
from canary.rollout.simulate import T0 as T0_SIMULATED
from canary.rollout.simulate import Lab, Question, _Run
from canary.rollout.state import Reason, SegmentRef
from canary.rollout.weighing import evidence_of
from canary.rollout.worlds import Effect
from canary.stats.contrast import Rule
from canary.stats.counts import Horizon, SegmentTotals, Totals
from canary.stats.scoring import Scoring
from canary.terms import Action, Phase, Scored
from tests.support.priced import MEASURES, PLAN, PROFILE
from tests.support.rollouts import T0, a_metric, a_plan, a_state, an_evidence, at, breached
from tests.support.scorings import a_scoring

Four = tuple[int, int, int, int]


def a_ref(number: int, weight_bp: int) -> SegmentRef:
    return SegmentRef(id=number, stage=0, weight_bp=weight_bp, shadow_bp=0, scored=Scored.ALL, opened_at=T0)


def the_totals(scoring: Scoring, *segments: tuple[int, Four]) -> Totals:
    """Totals in which every error contrast of a segment has the same four counts."""
    rows = {}
    for number, four in segments:
        errors = [contrast.rule in {Rule.BAD, Rule.UNWELL} and not contrast.pairs for contrast in scoring.contrasts]
        counts = [count for is_error in errors for count in (four if is_error else (0, 0, 0, 0))]
        rows[number] = SegmentTotals(counts=tuple(counts), assigned_candidate=four[0] + four[1] + 7, assigned_stable=1)
    return Totals(segments=rows)


def the_harm(*segments: tuple[int, Four]) -> Harm:
    """Harm of segments given as (weight_bp, counts)."""
    scoring = a_scoring()
    refs = [a_ref(number, weight_bp) for number, (weight_bp, _) in enumerate(segments, start=1)]
    totals = the_totals(scoring, *[(number, four) for number, (_, four) in enumerate(segments, start=1)])
    return harm_of(counted(totals, scoring, refs), scoring, an_evidence(), in_full=True)


def test_the_excess_is_what_stable_would_not_have_failed() -> None:
    harm = the_harm((1_000, (60, 940, 90, 8_910)))
    assert harm.served == 1_007
    assert harm.failed == 60
    assert harm.expected_failed == pytest.approx(60 - 90 / 9)
    assert 50 < (harm.worst_failed or 0) < 60
    assert harm.noise_failed == pytest.approx((150 / 9) ** 0.5)


def test_without_failures_of_stable_all_of_the_candidates_are_harm() -> None:
    harm = the_harm((500, (4, 46, 0, 950)))
    assert harm.expected_failed == 4
    assert harm.worst_failed == 4


def test_a_better_candidate_harms_nobody() -> None:
    assert the_harm((5_000, (10, 990, 30, 970))).expected_failed == 0


def test_a_drifting_stable_is_no_harm_of_the_candidate() -> None:
    """1 % while nothing fails, then 50 % while a fifth fails in both arms: pooled rates would blame the candidate."""
    harm = the_harm((100, (0, 1_000, 0, 99_000)), (5_000, (2_000, 8_000, 2_000, 8_000)))
    assert harm.expected_failed == 0
    pooled = 2_000 - 11_000 * 2_000 / 109_000
    assert pooled > 1_000


def spending(times: float, *, requests: int = 6_000) -> Harm:
    """Harm of a candidate that spends so many times what stable does, 0.004 USD a request on average, at 50 %."""
    run = _Run(
        Lab(
            Question(plan=PLAN, profile=PROFILE, rate_per_s=100.0, measures=MEASURES),
            Effect(name="dear", metric="cost", times=times),
        ),
        np.random.default_rng(5),
    )
    for _ in range(requests // 2_000):
        run._serve(20.0)
    tick = Horizon(journal="j", tick_at_us=round(T0_SIMULATED.timestamp() * 1e6) + 10**10, dead=False)
    totals = run._ledger.settled([tick], run._lab.scoring)
    evidence = evidence_of(totals, run._state, newest_tick_age_s=0.0)
    return harm_of(counted(totals, run._lab.scoring, run._state.segments), run._lab.scoring, evidence, in_full=True)


def test_money_is_what_was_spent_and_what_stable_would_have_spent() -> None:
    harm = spending(1.5)
    assert harm.spent is not None
    assert harm.spent == pytest.approx(3_000 * 0.0045 * 1.5, rel=0.15)
    assert harm.expected_spent == pytest.approx(harm.spent / 3, rel=0.25)
    assert harm.worst_spent == harm.spent
    assert overspent(harm, HarmBudget(cost=3.0)).startswith("about ")


def test_an_equal_bill_is_within_its_noise() -> None:
    harm = spending(1.0)
    assert (harm.expected_spent or 0.0) <= 3 * harm.noise_spent
    assert overspent(harm, HarmBudget(cost=0.01)) == ""


def test_a_cost_that_abstains_is_unknown_and_not_nothing() -> None:
    row = a_metric("cost", mean_candidate=0.006, mean_stable=0.004, abstains="a model without a price")
    assert harm_of((), a_scoring(), an_evidence(row)).spent is None


def a_harm(**fields: float) -> Harm:
    usual = {"served": 1_000, "failed": 60, "expected_failed": 55.0, "worst_failed": 58.0, "noise_failed": 8.0}
    return Harm(**{**usual, **fields})  # type: ignore[arg-type]


def test_a_spent_budget_rolls_back_for_a_reason_of_its_own_even_on_hold() -> None:
    state = a_state(Phase.CANARYING, plan=a_plan(harm_budget=HarmBudget(failed=50)), paused=True)
    decision = decide(state, an_evidence(), at(100), profile_n=0, signs=Signs(harm=a_harm()))
    assert (decision.action, decision.reason) == (Action.ROLL_BACK, Reason.HARM)
    assert decision.because == (
        "rolled back: the harm budget is spent, about 55 requests failed that stable would have answered,"
        " of a budget of 50 (60 of 1,000 failed)"
    )


def test_a_breached_guardrail_is_named_before_the_budget() -> None:
    state = a_state(Phase.CANARYING, plan=a_plan(harm_budget=HarmBudget(failed=50)))
    decision = decide(state, an_evidence(breached()), at(100), profile_n=0, signs=Signs(harm=a_harm()))
    assert decision.reason is Reason.GUARDRAIL


@pytest.mark.parametrize("budget", [HarmBudget(), HarmBudget(failed=56), HarmBudget(cost=3.0)])
def test_what_is_not_spent_rolls_nothing_back(budget: HarmBudget) -> None:
    assert overspent(a_harm(spent=9.0, expected_spent=2.9), budget) == ""


def test_an_excess_within_its_own_noise_is_not_spent() -> None:
    assert overspent(a_harm(noise_failed=20.0), HarmBudget(failed=50)) == ""


def test_money_beyond_stables_is_bounded_too() -> None:
    told = overspent(a_harm(spent=9.0, expected_spent=5.25, unit="USD"), HarmBudget(cost=5.0))
    assert told == "about 5.25 USD spent beyond what stable would have cost, of a budget of 5.00 USD (9.00 USD in all)"


def test_an_ended_rollout_spends_nothing_more() -> None:
    state = a_state(Phase.ROLLED_BACK, plan=a_plan(harm_budget=HarmBudget(failed=50)))
    assert decide(state, None, at(100), profile_n=0, signs=Signs(harm=a_harm())).reason is Reason.FINISHED


@pytest.mark.parametrize("weight", [0.05, 0.5, 0.95])
def test_an_equal_candidate_seldom_spends_a_budget(weight: float) -> None:
    """400 runs of 200,000 requests at 1 % errors, looked at every 1,000: at most 5 % of them lose a budget of 50."""
    rng = np.random.default_rng(7)
    looks, requests, runs = 200, 1_000, 400
    mine = rng.binomial(requests, weight * 0.01, (runs, looks)).cumsum(axis=1)
    theirs = rng.binomial(requests, (1 - weight) * 0.01, (runs, looks)).cumsum(axis=1)
    odds = weight / (1 - weight)
    excess, noise = mine - odds * theirs, np.sqrt(odds * (mine + theirs))
    spent = (excess >= np.maximum(50, 3 * noise)).any(axis=1)
    assert spent.mean() <= 0.05
