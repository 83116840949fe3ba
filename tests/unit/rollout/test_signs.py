"""Silence of a candidate, alerts, forecasts: what is said beside the evidence."""

import pytest

from canary.rollout import alerts
from canary.rollout.counted import counted
from canary.rollout.decide import decide
from canary.rollout.past import Past
from canary.rollout.plan import Stage
from canary.rollout.signs import Signs
from canary.rollout.silence import missing_of, silence_of
from canary.rollout.state import Reason, SegmentRef
from canary.rollout.trend import gates_eta_s, past_of, promote_eta_s, rollback_eta_s, window_of
from canary.stats.contrast import Rule
from canary.stats.counts import SegmentTotals, Totals
from canary.stats.scoring import Scoring
from canary.terms import Action, Measures, MetricKind, MetricSpec, Phase, Scored, Verdict
from tests.support.rollouts import T0, a_metric, a_plan, a_state, an_evidence, at, cleared
from tests.support.scorings import a_scoring

REF = SegmentRef(id=7, stage=0, weight_bp=500, shadow_bp=0, scored=Scored.ALL, opened_at=T0)


def of_rules(scoring: Scoring, fours: dict[Rule, tuple[int, int, int, int]], **assigned: int) -> Totals:
    """Totals of segment 7 in which every contrast of a rule has the same four counts."""
    nothing = (0, 0, 0, 0)
    counts = [n for c in scoring.contrasts for n in (nothing if c.pairs else fours.get(c.rule, nothing))]
    return Totals(segments={7: SegmentTotals(counts=tuple(counts), **assigned)}, as_of_us=5)


def test_a_candidate_that_gets_no_requests_is_waited_for_with_the_numbers() -> None:
    scoring = a_scoring()
    found = counted(of_rules(scoring, {}, assigned_stable=400), scoring, [REF])
    told = silence_of(found, scoring, stage=0)
    assert told.startswith("the candidate's first request of this stage: it is meant to get 5 %, and beside 400 requests")
    assert "about 21 were expected" in told


@pytest.mark.parametrize(("candidate", "stable", "stage"), [(1, 400, 0), (0, 100, 0), (0, 400, 1)])
def test_few_requests_are_no_silence(candidate: int, stable: int, stage: int) -> None:
    scoring = a_scoring()
    totals = of_rules(scoring, {}, assigned_candidate=candidate, assigned_stable=stable)
    assert silence_of(counted(totals, scoring, [REF]), scoring, stage=stage) == ""


def test_a_candidate_whose_answers_never_end_is_said_to_be_silent() -> None:
    scoring = a_scoring()
    fours = {Rule.BAD: (0, 12, 1, 200), Rule.UNWELL: (12, 0, 1, 200)}
    found = counted(of_rules(scoring, fours, assigned_candidate=20, assigned_stable=300), scoring, [REF])
    assert silence_of(found, scoring, stage=0) == (
        "the candidate's first answer of this stage: none of its 12 settled requests had ended after 11 s"
    )
    failed = {Rule.BAD: (12, 0, 1, 200), Rule.UNWELL: (12, 0, 1, 200)}
    found = counted(of_rules(scoring, failed, assigned_candidate=20, assigned_stable=300), scoring, [REF])
    assert silence_of(found, scoring, stage=0) == ""


def test_a_silent_candidate_waits_and_never_advances() -> None:
    signs = Signs(silence="the candidate's first request of this stage: none came")
    decision = decide(a_state(Phase.CANARYING), an_evidence(cleared()), at(100), profile_n=0, signs=signs)
    assert (decision.action, decision.reason) == (Action.KEEP, Reason.SILENT)
    assert decision.waiting == signs.silence


def test_a_silence_without_end_is_inconclusive() -> None:
    state = a_state(Phase.CANARYING, plan=a_plan(max_duration_s=60.0))
    decision = decide(state, an_evidence(), at(100), profile_n=0, signs=Signs(silence="the candidate's first request"))
    assert (decision.action, decision.reason) == (Action.HOLD, Reason.INCONCLUSIVE)


def test_out_of_time_says_how_much_longer_it_would_take() -> None:
    state = a_state(Phase.CANARYING, plan=a_plan(max_duration_s=60.0))
    past = Past(age_s=300.0, promote={"error": 0.5})
    decision = decide(state, an_evidence(a_metric(log_e_promote=1.0)), at(100), profile_n=0, signs=Signs(past=past))
    assert decision.because.endswith("(2/250 against 5/1,000); about 20 min more at the growth of the last 5 min")
    falling = Signs(past=Past(age_s=300.0, promote={"error": 1.5}))
    decision = decide(state, an_evidence(a_metric(log_e_promote=1.0)), at(100), profile_n=0, signs=falling)
    assert decision.because.endswith("; at the growth of the last 5 min it is never proven")
    early = Signs(past=Past(age_s=10.0, promote={"error": 0.5}))
    decision = decide(state, an_evidence(a_metric(log_e_promote=1.0)), at(100), profile_n=0, signs=early)
    assert decision.because.endswith("(2/250 against 5/1,000)")


@pytest.mark.parametrize(
    ("age_s", "then", "now", "eta_s"),
    [
        (29.9, 0.0, 2.0, None),  # no trend yet
        (30.0, 0.0, 2.0, 15.0),
        (100.0, 0.0, 1.0, 200.0),
        (100.0, 0.0, 0.0, None),
        (100.0, 1.0, 0.5, None),
        (-5.0, 0.0, 1.0, None),  # a clock that stepped back
        (29.9, 0.0, 3.0, 0.0),
        (100.0, None, 1.0, None),  # a metric that nobody knew then
        (100.0, 0.0, float("-inf"), None),
        (100.0, 0.0, float("inf"), 0.0),
    ],
)
def test_time_to_a_threshold(age_s: float, then: float | None, now: float, eta_s: float | None) -> None:
    row = a_metric(log_e_rollback=now, need_rollback=3.0)
    past = Past(age_s=age_s, rollback={} if then is None else {"error": then})
    assert rollback_eta_s(row, past) == (None if eta_s is None else pytest.approx(eta_s))


def test_without_an_earlier_look_only_what_is_reached_has_a_time() -> None:
    assert rollback_eta_s(a_metric(log_e_rollback=3.0, need_rollback=3.0), None) == 0.0
    assert rollback_eta_s(a_metric(log_e_rollback=2.9, need_rollback=3.0), None) is None


def test_the_slowest_gate_makes_the_forecast_and_one_that_stands_has_none() -> None:
    now = [a_metric("a", log_e_promote=2.0), a_metric("b", log_e_promote=1.0), cleared("c")]
    past = Past(age_s=100.0, promote={"a": 1.0, "b": 0.5, "c": 3.0})
    assert gates_eta_s(now, past) == pytest.approx(400.0)
    assert promote_eta_s(now[0], past) == pytest.approx(100.0)
    assert gates_eta_s(now, Past(age_s=100.0, promote={"a": 1.0, "b": 1.0})) is None
    assert gates_eta_s(now, None) is None


def test_a_gate_that_pairs_may_open_is_forecast_by_the_sooner_of_the_two() -> None:
    """By the canary in 400 s, by pairs in 50 s; and by pairs alone where the canary's evidence does not grow."""
    row = a_metric("a", log_e_promote=1.0, need_promote=3.0, log_e_promote_pairs=2.5, need_promote_pairs=3.0)
    past = Past(age_s=100.0, promote={"a": 0.5}, promote_pairs={"a": 1.5})
    assert promote_eta_s(row, past) == pytest.approx(50.0)
    assert promote_eta_s(row, Past(age_s=100.0, promote={"a": 0.5})) == pytest.approx(400.0)
    assert gates_eta_s([row], Past(age_s=100.0, promote={"a": 1.0}, promote_pairs={"a": 1.5})) == pytest.approx(50.0)
    assert past_of(an_evidence(row), age_s=60.0).promote_pairs == {"a": 2.5}


def test_a_gate_that_abstains_has_no_forecast() -> None:
    row = a_metric("a", log_e_promote=1.0, need_promote=3.0, promote_abstains="no_profile")
    assert promote_eta_s(row, Past(age_s=100.0, promote={"a": 0.5})) is None
    silent = a_metric("a", log_e_rollback=1.0, need_rollback=3.0, abstains="refused")
    assert rollback_eta_s(silent, Past(age_s=100.0, rollback={"a": 0.5})) is None


@pytest.mark.parametrize(
    ("per_s", "phase", "weight_bp", "window_s"),
    [
        (None, Phase.CANARYING, 500, 300.0),
        (0.0, Phase.CANARYING, 500, 300.0),
        (10.0, Phase.CANARYING, 500, 300.0),
        (0.1, Phase.CANARYING, 500, 6_000.0),  # 30 candidate requests at 18 an hour
        (0.1, Phase.CANARYING, 5_000, 600.0),
        (0.1, Phase.WATCHING, 500, 6_000.0),
        (0.1, Phase.SHADOWING, 500, 300.0),
        (0.01, Phase.CANARYING, 100, 21_600.0),
    ],
)
def test_growth_is_measured_over_as_many_requests_at_any_rate(
    per_s: float | None, phase: Phase, weight_bp: int, window_s: float
) -> None:
    plan = a_plan(stages=(Stage(weight_bp=weight_bp), Stage(weight_bp=9_000)))
    state = a_state(phase, plan=plan, scoring=a_scoring(rate_per_s=per_s))
    assert window_of(state) == pytest.approx(window_s)


def test_a_longer_window_needs_more_history_and_says_how_long_it_is() -> None:
    state = a_state(Phase.CANARYING)
    row = a_metric(log_e_promote=1.0)
    young, old = (Past(age_s=age_s, promote={"error": 0.5}, window_s=6_000.0) for age_s in (590.0, 4_000.0))
    assert gates_eta_s([row], young) is None
    said = [decide(state, an_evidence(row), at(100), profile_n=0, signs=Signs(past=past)).because for past in (young, old)]
    assert said[0].endswith("(2/250 against 5/1,000)")
    assert said[1].endswith("; about 4.4 h more at the growth of the last 100 min")


def test_a_rollback_has_a_forecast_too() -> None:
    row = a_metric(log_e_rollback=2.0, need_rollback=6.0)
    assert rollback_eta_s(row, past_of(an_evidence(a_metric(log_e_rollback=1.0)), age_s=60.0)) == pytest.approx(240.0)


def two_classes() -> Scoring:
    return a_scoring(measures=Measures(classes=("hard",)))


def by_class(scoring: Scoring, *strata: tuple[int, int, int, int]) -> Totals:
    counts = [n for four in strata for c in scoring.contrasts for n in (four if c.rule is Rule.BAD else (0, 0, 0, 0))]
    return Totals(segments={7: SegmentTotals(counts=tuple(counts))})


def test_a_class_that_is_moved_away_from_one_arm_alerts() -> None:
    scoring = two_classes()
    totals = by_class(scoring, (0, 50, 0, 950), (0, 5, 0, 950))
    (alert,) = alerts.arms_alerts(counted(totals, scoring, [REF]), scoring)
    assert alert.because.startswith("class hard: 5 requests of the candidate beside 950 of stable are not the coin's shares")


def test_classes_that_are_not_the_profiles_alert_and_small_shifts_do_not() -> None:
    scoring = two_classes()
    found = counted(by_class(scoring, (0, 50, 0, 600), (0, 50, 0, 400)), scoring, [REF])
    (alert,) = alerts.mix_alerts(found, scoring, stage=0, shares=(0.9, 0.1))
    assert alert.because.startswith("30% of the requests are of another class than in the profile: class other has 60% now")
    assert list(alerts.mix_alerts(found, scoring, stage=0, shares=(0.65, 0.35))) == []
    assert list(alerts.mix_alerts(found, scoring, stage=0, shares=())) == []
    assert list(alerts.mix_alerts(found, scoring, stage=1, shares=(0.9, 0.1))) == []


def test_a_stable_that_is_no_longer_as_in_its_profile_alerts() -> None:
    scoring = a_scoring()
    found = counted(of_rules(scoring, {Rule.BAD: (1, 99, 300, 4_700)}), scoring, [REF])
    told = [alert.because for alert in alerts.drift_alerts(found, scoring, stage=0)]
    assert any(text.startswith("stable has changed since its profile: errors and timeouts 6 % (300/5,000)") for text in told)
    wave = counted(of_rules(scoring, {Rule.BAD: (1, 99, 370, 49_630)}), scoring, [REF])  # certain, and small
    assert list(alerts.drift_alerts(wave, scoring, stage=0)) == []


RATE = MetricSpec(name="refusal", kind=MetricKind.RATE, source="json:/refused")
COST = MetricSpec(name="cost", kind=MetricKind.MEAN, source="header:x-cost")


def test_a_rate_that_no_answer_carries_is_missing_and_promotes_nothing() -> None:
    nowhere = cleared("refusal", bad_candidate=250, bad_stable=1_000)
    told = missing_of(an_evidence(nowhere), Measures(metrics=(RATE,)))
    assert told == (
        "a good or a readable answer: refusal is bad or absent in all 250 of the candidate's and all 1,000 of stable's,"
        " so it tells nothing"
    )
    decision = decide(a_state(Phase.CANARYING), an_evidence(nowhere), at(100), profile_n=0, signs=Signs(silence=told))
    assert (decision.action, decision.reason) == (Action.KEEP, Reason.SILENT)


@pytest.mark.parametrize("fields", [{"bad_stable": 999}, {"n_candidate": 19, "bad_candidate": 19}, {"abstains": "refused"}])
def test_a_rate_that_some_answer_carries_is_not_missing(fields: dict[str, object]) -> None:
    row = cleared("refusal", **{"bad_candidate": 250, "bad_stable": 1_000, **fields})
    assert missing_of(an_evidence(row), Measures(metrics=(RATE,))) == ""
    assert missing_of(an_evidence(cleared("error", bad_candidate=250, bad_stable=1_000)), Measures(metrics=(RATE,))) == ""


def test_a_declared_metric_that_says_nothing_alerts() -> None:
    evidence = an_evidence(a_metric("cost", abstains="2 answers of the candidate carry no number"), a_metric("error"))
    (alert,) = alerts.missing_alerts(evidence, Measures(metrics=(COST,)))
    assert alert.name == "missing_telemetry:cost"
    assert alert.because.startswith("cost says nothing (2 answers of the candidate carry no number)")


def test_counters_that_stand_while_others_go_on_alert() -> None:
    evidence = an_evidence(as_of_us=5)
    stands, moves = Past(age_s=70.0, as_of_us=5), Past(age_s=70.0, as_of_us=4)
    (alert,) = alerts.stale_alerts(evidence, stands, fresh_s=10.0)
    assert alert.because.startswith("a journal has said nothing for 70 s")
    assert list(alerts.stale_alerts(evidence, moves, fresh_s=10.0)) == []
    soon, late = (Past(age_s=6_000.0, as_of_us=5, stood_s=stood_s) for stood_s in (59.0, 61.0))
    assert list(alerts.stale_alerts(evidence, soon, fresh_s=10.0)) == []
    assert [one.because[:39] for one in alerts.stale_alerts(evidence, late, fresh_s=10.0)] == [
        "a journal has said nothing for 61 s whi"
    ]
    assert list(alerts.stale_alerts(evidence, None, fresh_s=10.0)) == []


def test_classes_have_verdicts_with_the_error_controlled_over_them() -> None:
    from canary.stats.evidence import ClassEvidence

    def a_class(name: str, log_e: float) -> ClassEvidence:
        return ClassEvidence(name=name, n_candidate=100, n_stable=900, bad_candidate=30, bad_stable=9, log_e_rollback=log_e)

    row = a_metric(classes=(a_class("", 0.1), a_class("hard", 5.0), a_class("long", 3.3)))
    decision = decide(a_state(Phase.CANARYING), an_evidence(row), at(100), profile_n=0)
    words = {one.name: one.rollback for one in decision.verdicts[0].classes}
    assert words == {"other": Verdict.UNDECIDED, "hard": Verdict.FAIL, "long": Verdict.UNDECIDED}
    assert decision.verdicts[0].classes[1].because == ("class hard: worse than tolerated (30/100 against 9/900, e=148)")
