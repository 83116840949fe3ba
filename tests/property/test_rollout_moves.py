"""Whatever evidence and orders come, a rollout makes only legal moves."""

from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from canary.errors import IllegalTransition
from canary.rollout.apply import acknowledged, apply, stable_after
from canary.rollout.decide import decide
from canary.rollout.plan import Plan, ShadowStage, Stage, Watch
from canary.rollout.state import Decision, RolloutState
from canary.rollout.traffic import segments_for, traffic
from canary.rollout.transitions import MOVES, PASSED_THROUGH
from canary.stats.evidence import Evidence, MetricEvidence
from canary.terms import Action, Phase
from tests.support.rollouts import a_plan, a_state, at

LOGS = st.none() | st.floats(-50, 200)
NAMES = ("error_fast", "error", "error_timeout", "latency", "p50", "p95", "shadow_error")
COUNTS = st.integers(0, 100_000)


@st.composite
def metrics(draw: st.DrawFn) -> MetricEvidence:
    """One row, with or without either side."""
    return MetricEvidence(
        metric=draw(st.sampled_from(NAMES)),
        n_candidate=draw(COUNTS),
        n_stable=draw(COUNTS),
        bad_candidate=draw(COUNTS),
        bad_stable=draw(COUNTS),
        pairs=draw(COUNTS),
        pairs_worse=draw(COUNTS),
        log_e_rollback=draw(LOGS),
        need_rollback=draw(st.none() | st.floats(0.1, 20)),
        log_e_promote=draw(LOGS),
        need_promote=draw(st.none() | st.floats(0.1, 20)),
        candidate_events=draw(st.integers(0, 5)),
        min_events=draw(st.sampled_from([0, 3])),
        abstains=draw(st.sampled_from(["", "", "", "no price"])),
    )


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    """Evidence of any kind: fresh or stale, sound or broken."""
    return Evidence(
        metrics=tuple(draw(st.lists(metrics(), max_size=4))),
        sample_ratio_log_e=draw(st.floats(-10, 300)),
        sample_ratio_broken=draw(st.sampled_from([False, False, True])),
        assigned_candidate=draw(COUNTS),
        assigned_stable=draw(COUNTS),
        pairs=draw(COUNTS),
        stage_settled_s=draw(st.floats(0, 2_000)),
        newest_tick_age_s=draw(st.sampled_from([None, 0.5, 1.0, 11.0])),
        as_of_us=1,
        abstains=draw(st.sampled_from(["", "", "", "no scoring"])),
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Sound plans, with and without shadow, watch and warm-up."""
    weights = sorted(draw(st.sets(st.integers(1, 9_000), min_size=1, max_size=4)))
    return a_plan(
        stages=tuple(Stage(weight_bp=weight, dwell_s=draw(st.sampled_from([0.0, 60.0]))) for weight in weights),
        shadow=ShadowStage(share_bp=draw(st.sampled_from([0, 5_000, 10_000])), min_pairs=10),
        watch=Watch(for_s=draw(st.sampled_from([0.0, 600.0])), holdback_bp=draw(st.sampled_from([0, 500, 1_000]))),
        warm_up_s=draw(st.sampled_from([0.0, 30.0])),
        max_duration_s=draw(st.sampled_from([500.0, 1e6])),
        on_timeout=draw(st.sampled_from(["hold", "roll_back"])),
    )


STEPS = st.lists(
    st.tuples(
        st.integers(0, 300),  # seconds on
        st.none() | evidences(),
        st.none() | st.sampled_from([a for a in Action if a is not Action.CREATE]),  # an order; None: the controller decides
        st.booleans(),  # sidecars follow
        st.integers(0, 200),  # profile
    ),
    max_size=15,
)


def step(
    state: RolloutState, now: datetime, *, evidence: Evidence | None, order: Action | None, profile_n: int
) -> tuple[RolloutState, Decision | None]:
    """One decision or order applied; an order without a move changes nothing."""
    ordered = None if order is None else Decision(action=order, because="ordered")
    decision = ordered or decide(state, evidence, now, profile_n=profile_n)
    try:
        needs = segments_for(state, decision.action)
        after = apply(state, decision, now, segment_ids=[100 + state.revision] * len(needs))
    except IllegalTransition:
        assert order is not None, f"the controller itself decided an illegal {decision.action} in {state.phase}"
        return state, None
    return after, decision


@settings(max_examples=150, deadline=None)
@given(plan=plans(), steps=STEPS, sticky=st.booleans())
def test_random_evidence_and_orders_make_only_legal_moves(plan: Plan, steps: list[tuple], sticky: bool) -> None:  # type: ignore[type-arg]
    state, seconds = a_state(plan=plan, sticky=sticky), 0
    for wait, evidence, order, follow, profile_n in steps:
        seconds += wait
        if follow:
            state = acknowledged(state, [state.plan_revision], at(seconds))
        before = state
        state, decision = step(before, at(seconds), evidence=evidence, order=order, profile_n=profile_n)
        if decision is None:
            continue
        assert state.revision == before.revision + 1
        if state.phase is not before.phase:
            target = MOVES[before.phase, decision.action]
            assert state.phase in {target, PASSED_THROUGH.get(target)}
        check_weights(before, state)
        promoted = stable_after(before, state)
        assert (promoted == "v2") is (state.phase is Phase.DONE and before.phase is not Phase.DONE)
        assert (state.ended_at is not None) is state.phase.is_final


def check_weights(before: RolloutState, after: RolloutState) -> None:
    """No unit goes back while the rollout lives, and nothing is split after it."""
    old, new = traffic(before), traffic(after)
    if after.phase.is_final or after.phase is Phase.PENDING:
        assert new is None
        return
    assert new is not None
    assert new.salt == before.salt
    assert new.weight_bp >= (old.weight_bp if old is not None else 0)
    if old is not None and (new.weight_bp, new.shadow_bp) != (old.weight_bp, old.shadow_bp):
        assert new.segment != old.segment


@settings(max_examples=150, deadline=None)
@given(plan=plans(), evidence=evidences(), phase=st.sampled_from(list(Phase)), paused=st.booleans(), acked=st.booleans())
def test_a_breached_guardrail_wins_over_everything_but_the_end(
    plan: Plan, evidence: Evidence, phase: Phase, *, paused: bool, acked: bool
) -> None:
    state = a_state(phase, plan=plan, paused=paused, stage_acked_at=at(0) if acked else None)
    decision = decide(state, evidence, at(1_000), profile_n=0)
    breach = not evidence.abstains and any(metric.breached for metric in evidence.metrics)
    if breach and not phase.is_final and phase is not Phase.PENDING:
        assert decision.action is Action.ROLL_BACK
    if phase.is_final:
        assert decision.action is Action.KEEP


@settings(max_examples=100, deadline=None)
@given(evidence=evidences(), profile_n=st.integers(0, 200))
def test_a_decision_is_a_function_of_its_arguments_and_always_gives_a_reason(evidence: Evidence, profile_n: int) -> None:
    for phase in Phase:
        first = decide(a_state(phase), evidence, at(1_000), profile_n=profile_n)
        assert first == decide(a_state(phase), evidence, at(1_000), profile_n=profile_n)
        assert first.because
        assert len(first.verdicts) == len(evidence.metrics)


@settings(max_examples=100, deadline=None)
@given(evidence=evidences(), phase=st.sampled_from([Phase.SHADOWING, Phase.CANARYING, Phase.WATCHING]))
def test_missing_telemetry_never_moves_a_rollout_on(evidence: Evidence, phase: Phase) -> None:
    decision = decide(a_state(phase), evidence, at(1_000), profile_n=0)
    if evidence.newest_tick_age_s in (None, 11.0) or evidence.abstains or evidence.sample_ratio_broken:
        assert decision.action not in {Action.ADVANCE, Action.PROMOTE, Action.FINISH}
