"""The questions that decide what a rollout does, and their order."""

import pytest

from canary.rollout.decide import decide
from canary.rollout.plan import Watch
from canary.rollout.state import Decision, Reason, RolloutState
from canary.rollout.weighing import NO_SCORING
from canary.stats.evidence import Evidence
from canary.terms import Action, Phase, Scored, Verdict
from tests.support.rollouts import a_metric, a_plan, a_state, an_evidence, at, breached, cleared

ALL_CLEARED = (cleared("error"), cleared("p50"), cleared("p95"))
WARM = a_plan(warm_up_s=30.0)


def look(state: RolloutState, evidence: Evidence | None, *, after_s: float = 100.0, **known: float) -> Decision:
    """A decision so many seconds after T0."""
    return decide(
        state, evidence, at(after_s), profile_n=int(known.get("profile_n", 0)), profile_per_s=known.get("profile_per_s")
    )


@pytest.mark.parametrize("phase", [Phase.DONE, Phase.ROLLED_BACK, Phase.CANCELLED])
def test_what_has_ended_stays_ended_whatever_the_evidence(phase: Phase) -> None:
    decision = look(a_state(phase), an_evidence(breached()))
    assert (decision.action, decision.reason) == (Action.KEEP, Reason.FINISHED)


def test_a_breach_rolls_back_with_all_numbers_in_one_sentence() -> None:
    decision = look(a_state(Phase.CANARYING), an_evidence(breached(bad_stable=5, n_stable=1_010), cleared("p50")))
    assert decision.action is Action.ROLL_BACK
    assert decision.because == (
        "rolled back: errors 14.8 % on candidate against 0.5 % on stable (37/250 against 5/1,010),"
        " evidence e=3,210 over the needed 478"
    )


def test_a_breach_in_the_shadow_speaks_of_pairs() -> None:
    row = breached("error_timeout", n_candidate=0, n_stable=0, pairs=118, pairs_worse=23, pairs_better=1)
    decision = look(a_state(Phase.SHADOWING), an_evidence(row))
    assert decision.because == (
        "rolled back in the shadow: errors and timeouts: candidate worse in 23 of 118 pairs and better in 1,"
        " evidence e=3,210 over the needed 478"
    )


def test_errors_are_named_before_the_slowness_that_failures_are_too() -> None:
    decision = look(a_state(Phase.CANARYING), an_evidence(breached("latency", log_e_rollback=300.0), breached("error")))
    assert decision.because.startswith("rolled back: errors ")


def test_a_declared_metric_is_no_failure_by_its_name() -> None:
    rows = breached("latency", log_e_rollback=300.0), breached("error_in_tools")
    assert look(a_state(Phase.CANARYING), an_evidence(*rows)).because.startswith("rolled back: slow answers ")


def test_the_worst_of_two_breaches_is_named() -> None:
    decision = look(a_state(Phase.CANARYING), an_evidence(breached("p50"), breached("client_error", log_e_rollback=50.0)))
    assert "rolled back: client errors " in decision.because
    assert "e=10^22" in decision.because


def test_a_breach_needs_enough_candidate_events() -> None:
    decision = look(a_state(Phase.CANARYING), an_evidence(breached(candidate_events=2)))
    assert decision.action is Action.KEEP


@pytest.mark.parametrize(
    "state",
    [
        a_state(Phase.CANARYING, paused=True),
        a_state(Phase.CANARYING, stage_acked_at=None),
        a_state(Phase.CANARYING, scored=Scored.FAILURES, plan=WARM),
        a_state(Phase.WATCHING),
        a_state(Phase.SHADOWING, paused=True),
    ],
)
def test_a_breach_wins_over_hold_warm_up_and_watch(state: RolloutState) -> None:
    assert look(state, an_evidence(breached())).action is Action.ROLL_BACK


def test_a_breach_wins_over_stale_evidence_and_a_broken_ratio() -> None:
    evidence = an_evidence(breached(), newest_tick_age_s=500.0, sample_ratio_broken=True)
    assert look(a_state(Phase.CANARYING), evidence).action is Action.ROLL_BACK


def test_a_held_rollout_neither_advances_nor_times_out() -> None:
    decision = look(a_state(Phase.CANARYING, paused=True), an_evidence(*ALL_CLEARED), after_s=1e9)
    assert (decision.action, decision.reason) == (Action.KEEP, Reason.PAUSED)


def test_a_hold_during_warm_up_still_opens_the_stages_own_segment() -> None:
    state = a_state(Phase.CANARYING, paused=True, scored=Scored.FAILURES, plan=WARM)
    assert look(state, an_evidence(), after_s=20).action is Action.KEEP
    assert look(state, an_evidence(), after_s=31).action is Action.OPEN


def test_a_rollout_without_a_scoring_is_moved_by_people() -> None:
    evidence = an_evidence(*ALL_CLEARED, abstains=NO_SCORING, newest_tick_age_s=None)
    decision = look(a_state(Phase.CANARYING), evidence)
    assert decision.action is Action.KEEP
    assert decision.because == "waiting: a person: the statistics abstain (no scoring)"
    assert all(verdict.promote is Verdict.UNDECIDED for verdict in decision.verdicts)


def test_what_a_person_moves_has_no_time_limit_on_hold() -> None:
    plan = a_plan(max_duration_s=60.0, on_timeout="roll_back")
    evidence = an_evidence(abstains=NO_SCORING)
    held = look(a_state(Phase.CANARYING, paused=True, plan=plan), evidence)
    assert (held.action, held.reason) == (Action.KEEP, Reason.PAUSED)
    assert look(a_state(Phase.CANARYING, plan=plan), evidence).action is Action.ROLL_BACK


def test_what_abstains_breaches_nothing() -> None:
    decision = look(a_state(Phase.CANARYING), an_evidence(breached(), abstains=NO_SCORING))
    assert decision.action is Action.KEEP
    assert decision.verdicts[0].rollback is Verdict.UNDECIDED


def test_stale_evidence_waits_and_says_for_how_long() -> None:
    decision = look(a_state(Phase.CANARYING), an_evidence(*ALL_CLEARED, newest_tick_age_s=42.4))
    assert (decision.action, decision.waiting) == (Action.KEEP, "no evidence for 42 s")
    assert decision.because == "waiting: no evidence for 42 s"


@pytest.mark.parametrize("evidence", [None, an_evidence(*ALL_CLEARED, newest_tick_age_s=None)])
def test_evidence_that_never_came_waits(evidence: Evidence | None) -> None:
    decision = look(a_state(Phase.CANARYING), evidence)
    assert decision.waiting == "no evidence yet, 100 s into the stage"


def test_a_broken_sample_ratio_holds_and_names_the_counts() -> None:
    evidence = an_evidence(*ALL_CLEARED, sample_ratio_broken=True, sample_ratio_log_e=8.0)
    decision = look(a_state(Phase.CANARYING), evidence)
    assert decision.action is Action.HOLD
    assert "250 of 1,250 requests went to the candidate (now meant: 5 %; e=2,981 over the needed 1,000)" in decision.because


def test_pending_waits_for_its_profile_with_a_forecast() -> None:
    state = a_state(plan=a_plan(min_profile=2_000))
    assert look(state, None, profile_n=812).waiting == "profile 812/2000"
    decision = look(state, None, profile_n=812, profile_per_s=4.0)
    assert decision.waiting == "profile 812/2000, about 5 min more at the present rate"


def test_pending_starts_with_its_profile() -> None:
    decision = look(a_state(), None, profile_n=100)
    assert decision.action is Action.START
    assert decision.because == "started: profile of 100 stable outcomes frozen (100 needed)"


def test_pending_on_hold_does_not_start() -> None:
    assert look(a_state(paused=True), None, profile_n=100).action is Action.KEEP


def test_sticky_units_wait_for_a_profile_like_any_other() -> None:
    assert look(a_state(sticky=True), None, profile_n=99).waiting == "profile 99/100"
    assert look(a_state(sticky=True), None, profile_n=100).action is Action.START


def test_nothing_passes_before_the_sidecars_acknowledge() -> None:
    decision = look(a_state(Phase.CANARYING, stage_acked_at=None), an_evidence(*ALL_CLEARED), after_s=3)
    assert decision.waiting == "sidecars to acknowledge this stage, 3 s so far"


def test_warm_up_counts_from_the_acknowledgement_and_is_no_dwell() -> None:
    state = a_state(Phase.CANARYING, scored=Scored.FAILURES, plan=WARM)
    young = look(state, an_evidence(*ALL_CLEARED), after_s=30.5)
    assert (young.action, young.reason) == (Action.KEEP, Reason.WARM_UP)
    assert "of 30 s, only errors count" in young.because
    assert look(state, an_evidence(*ALL_CLEARED), after_s=31).action is Action.OPEN


def test_a_stage_dwells_in_settled_starts_not_in_time() -> None:
    decision = look(a_state(Phase.CANARYING), an_evidence(*ALL_CLEARED, stage_settled_s=59.0), after_s=4_000)
    assert (decision.action, decision.because) == (Action.KEEP, "too early: 59 s of 60 s of this stage settled")
    assert look(a_state(Phase.CANARYING), an_evidence(*ALL_CLEARED, stage_settled_s=60.0)).action is Action.ADVANCE


def test_a_sidecar_whose_clock_is_an_hour_ahead_does_not_shorten_a_stage() -> None:
    """Its starts and those of the others span an hour from the first minute on."""
    state, evidence = a_state(Phase.CANARYING), an_evidence(*ALL_CLEARED, stage_settled_s=3_600.0)
    young = look(state, evidence, after_s=60.0)
    assert (young.action, young.because) == (Action.KEEP, "too early: 59 s of 60 s of this stage settled")
    assert look(state, evidence, after_s=61.0).action is Action.ADVANCE


def test_a_stage_without_traffic_waits() -> None:
    decision = look(a_state(Phase.CANARYING), an_evidence(*ALL_CLEARED, stage_settled_s=0.0))
    assert (decision.waiting, decision.reason) == ("the first settled requests of this stage", Reason.TRAFFIC)


def test_all_gates_passed_advance_to_the_next_weight() -> None:
    decision = look(a_state(Phase.CANARYING), an_evidence(*ALL_CLEARED))
    assert decision.action is Action.ADVANCE
    assert decision.because.startswith("advanced to 50 %: 3 of 3 gates passed, the last with errors e=33 of the needed 20")


def test_the_last_stage_promotes() -> None:
    decision = look(a_state(Phase.CANARYING, stage=1), an_evidence(*ALL_CLEARED))
    assert decision.action is Action.PROMOTE
    assert decision.because.startswith("promoted v2: 3 of 3 gates passed")


def test_a_gate_short_of_proof_keeps_and_names_the_weakest() -> None:
    rows = (cleared("error"), a_metric("p95", log_e_promote=1.2), a_metric("p50", log_e_promote=2.0))
    decision = look(a_state(Phase.CANARYING), an_evidence(*rows))
    assert decision.action is Action.KEEP
    assert decision.because == (
        "undecided: p95 latency e=3.3 of the needed 20 (2/250 against 5/1,000) (1 more of 3 gates still open)"
    )


def test_a_metric_that_abstains_lets_nothing_pass() -> None:
    decision = look(a_state(Phase.CANARYING), an_evidence(*ALL_CLEARED, a_metric("p99", abstains="no profile")))
    assert decision.because == "undecided: p99 latency abstains (no profile)"


def test_a_guardrail_that_abstains_lets_nothing_pass_either() -> None:
    guard = a_metric("error_fast", log_e_promote=None, need_promote=None, abstains="no price")
    assert look(a_state(Phase.CANARYING), an_evidence(*ALL_CLEARED, guard)).action is Action.KEEP


def test_a_metric_that_only_guards_is_no_gate() -> None:
    guard = a_metric("error_fast", log_e_promote=None, need_promote=None)
    decision = look(a_state(Phase.CANARYING), an_evidence(*ALL_CLEARED, guard))
    assert decision.action is Action.ADVANCE
    assert "3 of 3 gates" in decision.because


def test_without_any_gate_nothing_advances_by_itself() -> None:
    guard = a_metric("error_fast", log_e_promote=None, need_promote=None)
    decision = look(a_state(Phase.CANARYING), an_evidence(guard))
    assert decision.because == "undecided: no metric has a promote side that could pass, so a person moves it"


def test_the_shadow_waits_for_its_pairs() -> None:
    plan = a_plan()
    none = look(a_state(Phase.SHADOWING, plan=plan), an_evidence(cleared("shadow_error"), pairs=0))
    some = look(a_state(Phase.SHADOWING, plan=plan), an_evidence(cleared("shadow_error"), pairs=9))
    assert none.waiting == "pairs 0/10: no copy has been answered and settled"
    assert (some.action, some.because) == (Action.KEEP, "too early: 9 of 10 pairs settled")


def test_the_shadows_only_gate_is_the_pairs_error_row() -> None:
    rows = (cleared("shadow_error", n_candidate=0, n_stable=0, pairs=512, pairs_worse=1), a_metric("error"), a_metric("p95"))
    decision = look(a_state(Phase.SHADOWING), an_evidence(*rows, pairs=512))
    assert decision.action is Action.ADVANCE
    assert decision.because == (
        "advanced to 5 %: out of the shadow: 512 pairs,"
        " errors in the shadow e=33 of the needed 20 (worse in 1, better in 0 of 512 pairs)"
    )


def test_the_shadow_keeps_until_its_gate_is_proven() -> None:
    decision = look(a_state(Phase.SHADOWING), an_evidence(a_metric("shadow_error"), cleared("error")))
    assert decision.action is Action.KEEP
    assert look(a_state(Phase.SHADOWING), an_evidence(cleared("error"))).action is Action.KEEP


def test_the_shadows_row_is_no_gate_of_live_traffic() -> None:
    decision = look(a_state(Phase.CANARYING), an_evidence(*ALL_CLEARED, a_metric("shadow_error")))
    assert decision.action is Action.ADVANCE
    assert look(a_state(Phase.CANARYING), an_evidence(cleared("shadow_error"))).action is Action.KEEP


def test_the_watch_finishes_after_its_time_without_asking_for_proof() -> None:
    state = a_state(Phase.WATCHING, plan=a_plan(watch=Watch(for_s=7_200.0)))
    young = look(state, an_evidence(stage_settled_s=3_600.0), after_s=7_201)
    assert (young.action, young.because) == (Action.KEEP, "too early: 60 min of 2 h watched")
    done = look(state, an_evidence(stage_settled_s=7_200.0), after_s=7_201)
    assert (done.action, done.because) == (Action.FINISH, "finished: v2 stayed within its guardrails for 2 h of watch")


def test_a_stage_out_of_time_is_held_for_a_person() -> None:
    state = a_state(Phase.CANARYING, plan=a_plan(max_duration_s=3_600.0))
    decision = look(state, an_evidence(), after_s=3_600)
    assert decision.action is Action.HOLD
    assert decision.because.startswith("held, inconclusive: out of time after 60 min, errors e=2.7 of the needed 20")


def test_a_plan_may_roll_back_what_is_out_of_time() -> None:
    state = a_state(Phase.CANARYING, plan=a_plan(max_duration_s=3_600.0, on_timeout="roll_back"))
    assert look(state, an_evidence(), after_s=3_600).action is Action.ROLL_BACK
    assert look(state, an_evidence(), after_s=3_599).action is Action.KEEP


@pytest.mark.parametrize(
    ("phase", "little"),
    [
        (Phase.CANARYING, {"stage_settled_s": 0.0}),
        (Phase.CANARYING, {"stage_settled_s": 59.0}),
        (Phase.SHADOWING, {"pairs": 0}),
        (Phase.SHADOWING, {"pairs": 1}),
    ],
)
def test_a_stage_that_hardly_anybody_asks_is_out_of_time_too(phase: Phase, little: dict[str, float]) -> None:
    state = a_state(phase, plan=a_plan(max_duration_s=3_600.0, on_timeout="roll_back"))
    evidence = an_evidence(*ALL_CLEARED, **little)
    assert look(state, evidence, after_s=3_599).action is Action.KEEP
    decision = look(state, evidence, after_s=3_600)
    assert (decision.action, decision.reason) == (Action.ROLL_BACK, Reason.INCONCLUSIVE)


def test_resuming_gives_a_stage_its_time_again() -> None:
    state = a_state(Phase.CANARYING, plan=a_plan(max_duration_s=3_600.0), resumed_at=at(3_000))
    assert look(state, an_evidence(), after_s=6_599).action is Action.KEEP
    assert look(state, an_evidence(), after_s=6_600).action is Action.HOLD


def test_gates_that_pass_at_the_last_moment_win_over_the_time_limit() -> None:
    state = a_state(Phase.CANARYING, plan=a_plan(max_duration_s=3_600.0))
    assert look(state, an_evidence(*ALL_CLEARED), after_s=9_000).action is Action.ADVANCE


def test_a_metric_between_tolerance_and_margin_is_said_to_lie_there() -> None:
    row = breached(log_e_promote=4.0)
    decision = look(a_state(Phase.CANARYING), an_evidence(row))
    assert decision.action is Action.ROLL_BACK
    (verdict,) = decision.verdicts
    assert (verdict.rollback, verdict.promote) == (Verdict.FAIL, Verdict.PASS)
    assert verdict.because.endswith("it lies between the two")
