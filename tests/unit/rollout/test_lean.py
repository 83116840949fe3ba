"""Which lane a rollout leans on, and how it says so."""

import msgspec
import pytest

from canary.rollout.apply import apply
from canary.rollout.decide import decide
from canary.rollout.lean import ENOUGH_AN_HOUR, Lean, lean_of, leaning
from canary.rollout.plan import Plan, ShadowStage, Stage
from canary.rollout.scoring_of import scoring_spec
from canary.rollout.state import Decision, RolloutState
from canary.stats.freezing import freeze
from canary.terms import Action, Phase
from tests.support.rollouts import a_plan, a_state, at
from tests.support.scorings import a_profile

SIX = 6 / 60
SAID = "leans on pairs at 6 requests a minute: a 5 % canary gets 18 an hour, copies give 342 pairs"


def lean(rate_per_s: float | None = SIX, *, sticky: bool = False, **fields: object) -> Lean:
    return lean_of(a_plan(**fields), rate_per_s=rate_per_s, sticky=sticky)


def test_little_traffic_leans_on_pairs_and_says_why_with_numbers() -> None:
    assert lean() == Lean(pairs=True, because=SAID)


@pytest.mark.parametrize(("weight_bp", "per_min"), [(100, 100.0), (500, 20.0), (5_000, 2.0)])
def test_the_first_stage_needs_sixty_candidate_requests_an_hour(weight_bp: int, per_min: float) -> None:
    stages = (Stage(weight_bp=weight_bp), Stage(weight_bp=9_000))
    assert per_min * 60 * weight_bp / 10_000 == pytest.approx(ENOUGH_AN_HOUR)
    assert lean(0.99 * per_min / 60, stages=stages, shadow=ShadowStage()).pairs is (weight_bp < 5_000)
    assert not lean(1.01 * per_min / 60, stages=stages).pairs


def test_a_rate_below_one_a_minute_is_told_by_the_hour() -> None:
    assert "at 12 requests a hour" not in lean(12 / 3_600).because
    assert "at 12 requests an hour: a 5 % canary gets 0.6 an hour, copies give 11 pairs" in lean(12 / 3_600).because


@pytest.mark.parametrize(
    ("how", "because"),
    [
        ({"rate_per_s": None}, "leans on the canary: its rate is not known"),
        ({"lean_on": "canary"}, "leans on the canary: the plan says so"),
        ({"shadow": ShadowStage(share_bp=0)}, "has no shadow"),
        ({"sticky": True}, "leans on the canary: its users stay on their arm"),
        ({"sticky": True, "lean_on": "pairs"}, "leans on the canary: its users stay on their arm"),
        (
            {"rate_per_s": 10.0},
            "leans on the canary at 600 requests a minute: a 5 % canary gets 1,800 an hour, copies give 34,200",
        ),
        ({"shadow": ShadowStage(share_bp=500)}, "leans on the canary at 6 requests a minute: a 5 % canary gets 18 an hour"),
    ],
)
def test_what_leans_on_the_canary_has_a_reason_too(how: dict[str, object], because: str) -> None:
    found = lean(**how)  # type: ignore[arg-type]
    assert not found.pairs
    assert found.because.startswith(because)


@pytest.mark.parametrize(
    ("rate_per_s", "because"),
    [(None, "leans on pairs, as its plan says"), (10.0, "leans on pairs, as its plan says, at 600 requests a minute: a 5 %")],
)
def test_a_plan_may_say_pairs_at_any_rate(rate_per_s: float | None, because: str) -> None:
    found = lean(rate_per_s, lean_on="pairs")
    assert found.pairs
    assert found.because.startswith(because)


def started(plan: Plan, *, rate_per_s: float | None) -> RolloutState:
    pending = a_state(plan=plan)
    scoring = freeze(a_profile(), scoring_spec(pending, rate_per_s=rate_per_s))
    decision = decide(pending, None, at(0), profile_n=2_000, profile_per_s=rate_per_s)
    assert decision.action is Action.START
    return apply(pending, decision, at(0), segment_ids=[1], scoring=scoring)


def test_the_start_and_the_rollout_say_it() -> None:
    state = started(a_plan(), rate_per_s=SIX)
    assert state.because == f"started: profile of 2,000 stable outcomes frozen (100 needed); {SAID}"
    assert leaning(state) == SAID


def test_usual_traffic_says_nothing_of_it() -> None:
    state = started(a_plan(), rate_per_s=10.0)
    assert state.because == "started: profile of 2,000 stable outcomes frozen (100 needed)"
    assert leaning(state) == ""
    assert leaning(a_state()) == ""


def test_a_plan_whose_wish_cannot_be_followed_is_told_so_at_the_start() -> None:
    pending = a_state(plan=a_plan(lean_on="pairs"), sticky=True)
    decision = decide(pending, None, at(0), profile_n=2_000, profile_per_s=SIX)
    assert decision.because.endswith("; leans on the canary: its users stay on their arm")


def test_no_later_move_changes_what_a_rollout_leans_on() -> None:
    state = started(a_plan(), rate_per_s=SIX)
    other = freeze(a_profile(), scoring_spec(a_state(), rate_per_s=10.0))
    moves = (Action.ADVANCE, Action.HOLD, Action.RESUME, Action.ADVANCE, Action.PROMOTE)
    for number, action in enumerate(moves, start=2):
        ids = [] if action in {Action.HOLD, Action.RESUME} else [number]
        state = apply(state, Decision(action=action, because=""), at(number), segment_ids=ids, scoring=other)
        assert leaning(state) == SAID
    assert state.phase is Phase.WATCHING


def test_a_stored_rollout_from_before_means_the_canary() -> None:
    state = started(a_plan(), rate_per_s=10.0)
    stored = msgspec.to_builtins(state)
    for name in ("rate_per_s", "leans_on_pairs"):
        stored["scoring"]["spec"].pop(name, None)
    assert leaning(msgspec.convert(stored, RolloutState)) == ""
