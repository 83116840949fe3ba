"""A plan tried out: imagined answers have the profile's rates, and the real deciding runs on imagined time."""

import msgspec
import numpy as np
import pytest

from canary.rollout.foresee import power, true_pairs, true_rates
from canary.rollout.plan import HarmBudget, Plan, ShadowStage, Stage
from canary.rollout.simulate import Lab, Question, simulated
from canary.rollout.typical import FIGURES, typical_profile
from canary.rollout.worlds import EQUAL, Answer, Effect, answers, failing
from canary.stats.contrast import Rule
from canary.terms import Measures, Phase, RouteKind
from tests.support.rollouts import a_plan

PROFILE = typical_profile(RouteKind.HTTP)
LIVE = Plan(name="live", shadow=ShadowStage(share_bp=0), stages=(Stage(weight_bp=5_000, dwell_s=60.0),), warm_up_s=0.0)


def asked(plan: Plan = LIVE, *, per_s: float = 100.0, **fields: object) -> Question:
    return Question(plan=plan, profile=PROFILE, rate_per_s=per_s, **fields)  # type: ignore[arg-type]


def the_answers(effect: Effect) -> list[Answer]:
    return answers(PROFILE, Measures(), effect, np.random.default_rng(1))


def test_a_typical_profile_has_its_stated_figures() -> None:
    figures = FIGURES[RouteKind.HTTP]
    assert PROFILE.n == 5_000
    assert PROFILE.rate(PROFILE.failed) == pytest.approx(figures.errors, rel=0.05)
    assert (PROFILE.quantile_us(0.5) or 0) / 1e6 == pytest.approx(figures.median_s, rel=0.02)
    assert (PROFILE.quantile_us(0.95) or 0) / 1e6 == pytest.approx(figures.p95_s, rel=0.02)


@pytest.mark.parametrize(
    ("effect", "rate"),
    [(EQUAL, 0.0051), (Effect(name="x4", errors=4.0), 0.0204), (Effect(name="out", outage=True), 1.0)],
)
def test_imagined_answers_fail_as_often_as_meant(effect: Effect, rate: float) -> None:
    found = the_answers(effect)
    assert sum(answer.chance for answer in found) == pytest.approx(1.0)
    assert failing(found) == pytest.approx(rate, rel=0.02)


def test_slower_answers_are_slower_and_fail_no_oftener() -> None:
    slow, usual = the_answers(Effect(name="slow", latency=2.0)), the_answers(EQUAL)
    assert failing(slow) == pytest.approx(failing(usual))
    means = [sum(a.chance * a.fact.latency_us for a in found if not a.fact.failed) for found in (slow, usual)]
    assert means[0] == pytest.approx(2 * means[1], rel=0.01)


def test_true_rates_are_those_of_the_counting() -> None:
    lab = Lab(asked(), Effect(name="x4", errors=4.0))
    rates = {c.name: found for c, found in zip(lab.scoring.contrasts, true_rates(lab), strict=True)}
    assert rates["error_timeout.rollback"][0] == pytest.approx(0.0204, rel=0.02)
    assert rates["error_timeout.rollback"][1] == pytest.approx(0.0051, rel=0.02)


def test_power_grows_with_the_size_and_a_small_change_is_never_found_in_time() -> None:
    day = msgspec.structs.replace(LIVE, max_duration_s=86_400.0)
    found = [power(Lab(asked(day, per_s=1.0), Effect(name="e", errors=times)))[0] for times in (1.5, 4.0, 20.0)]
    assert [one.metric for one in found[1:]] == ["error", "error"] or all(one.metric.startswith("error") for one in found)
    assert found[0].chance < 0.5 < found[1].chance < found[2].chance + 1e-9
    assert (found[1].median_s or 0) > (found[2].median_s or 1e9)


def test_pairs_have_a_power_of_their_own_and_leaning_on_them_makes_it_greater() -> None:
    """At 6 requests a minute: in the shadow, at 5 % beside a canary that is five times slower, and by the canary alone."""
    plan = Plan(name="few", stages=(Stage(weight_bp=500), Stage(weight_bp=5_000)))
    effect = Effect(name="x4", errors=4.0)
    found = {}
    for lean_on in ("pairs", "canary"):
        question = asked(msgspec.structs.replace(plan, lean_on=lean_on), per_s=0.1)
        assert Lab(question, effect).scoring.spec.leans_on_pairs is (lean_on == "pairs")
        found[lean_on] = [one.median_s or 0.0 for one in power(Lab(question, effect))]
    assert [one.weight_bp for one in power(Lab(asked(plan, per_s=0.1), effect))] == [0, 500, 5_000]
    (alone,) = power(Lab(asked(msgspec.structs.replace(LIVE, stages=(Stage(weight_bp=500),)), per_s=0.1), effect))
    assert found["pairs"][0] < 0.8 * found["canary"][0]
    assert found["pairs"][1] < 0.8 * found["canary"][1] < 0.3 * (alone.median_s or 0.0)
    assert found["pairs"][1] == pytest.approx(found["pairs"][0] / 0.95, rel=0.01), "5 % of the requests have no copy"


def test_true_pairs_are_those_of_the_counting_and_none_without_a_shadow() -> None:
    plan = msgspec.structs.replace(LIVE, shadow=ShadowStage())
    lab = Lab(asked(plan), Effect(name="x4", errors=4.0))
    chances = {c.name: found for c, found in zip(lab.scoring.contrasts, true_pairs(lab), strict=True)}
    both, worse, better = chances["error.rollback.pairs"]
    assert both + worse == pytest.approx(0.0204, rel=0.02)
    assert both + better == pytest.approx(0.0051, rel=0.02)
    assert both == pytest.approx(0.0204 * 0.0051, rel=0.05)
    assert set(true_pairs(Lab(asked(), EQUAL))) == {(0.0, 0.0, 0.0)}


def test_an_outage_is_rolled_back_within_seconds_and_the_forecast_agrees() -> None:
    effect = Effect(name="outage", outage=True)
    (tally,) = simulated(asked(), (effect,), runs=9)
    assert tally.share("rolled back") == 1.0
    median = float(np.median([one.seconds for one in tally.endings]))
    assert median <= 15
    assert (power(Lab(asked(), effect))[0].median_s or 0) == pytest.approx(median, abs=10)
    assert all(0 < one.harmed <= one.served for one in tally.endings)


def test_an_equal_candidate_is_promoted_and_the_shadow_is_left_too() -> None:
    plan = msgspec.structs.replace(LIVE, shadow=ShadowStage(share_bp=10_000, min_pairs=200))
    (tally,) = simulated(asked(plan), (EQUAL,), runs=4)
    assert [one.word for one in tally.endings] == ["promoted"] * 4
    assert {one.phase for one in tally.endings} <= {Phase.WATCHING, Phase.DONE}


def test_what_nobody_can_tell_in_time_is_undecided() -> None:
    plan = msgspec.structs.replace(LIVE, max_duration_s=600.0)
    (tally,) = simulated(asked(plan, per_s=1.0), (EQUAL,), runs=3)
    assert [(one.word, one.reason) for one in tally.endings] == [("undecided", "inconclusive")] * 3


def test_a_harm_budget_ends_runs_too() -> None:
    plan = msgspec.structs.replace(LIVE, alpha_rollback=1e-12, harm_budget=HarmBudget(failed=20.0))
    (tally,) = simulated(asked(plan), (Effect(name="x20", errors=20.0),), runs=3)
    assert {one.reason for one in tally.endings} == {"harm"}


def test_runs_are_seeded_and_stop_when_told() -> None:
    effects = (EQUAL, Effect(name="x20", errors=20.0))
    question = asked(a_plan(max_duration_s=300.0))
    once, again = (simulated(question, effects, runs=2) for _ in range(2))
    assert once == again
    few = simulated(question, effects, runs=50, keep_going=lambda done, _: done < 3)
    assert [len(tally.endings) for tally in few] == [2, 1]


def test_contrasts_of_throughput_have_no_growth_of_their_own() -> None:
    lab = Lab(asked(), Effect(name="x4", errors=4.0))
    assert any(contrast.rule is Rule.GONE for contrast in lab.scoring.contrasts)
    assert power(lab)[0].metric != "throughput"
