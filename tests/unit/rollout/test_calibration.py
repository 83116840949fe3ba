"""When a round of calibration ends, and what all rounds come to."""

from datetime import timedelta

import pytest

from canary.rollout.calibration import (
    PLAN,
    SPAN,
    Round,
    Span,
    calibrates,
    clopper_pearson,
    real_route,
    round_begun,
    round_ended,
    round_segment,
    summed,
)
from canary.rollout.state import RolloutState
from canary.rollout.traffic import traffic
from canary.split.spec import MatchSpec, RouteSpec, VersionSpec
from canary.terms import Scored
from tests.support.rollouts import T0, a_metric, a_state, an_evidence, at, breached
from tests.support.scorings import a_profile

ROUTE = RouteSpec(
    name="chat", match=MatchSpec(), versions=(VersionSpec(name="v1", hash="h1", upstream="http://127.0.0.1:9"),), stable="v1"
)


def a_round() -> RolloutState:
    return round_begun(ROUTE, ROUTE.versions[0], a_profile(), id_="c1", salt=b"s" * 16, opened=round_segment(9, T0))


def test_a_round_is_stable_against_itself_under_the_default_guardrails() -> None:
    state = a_round()
    assert (state.stable, state.candidate, state.stable_hash, state.candidate_hash) == ("v1", "v1", "h1", "h1")
    assert calibrates(state)
    assert not calibrates(a_state())
    assert real_route(state) == "chat"
    assert (state.segments[0].weight_bp, state.segments[0].scored) == (5_000, Scored.ALL)
    assert state.scoring is not None
    assert state.scoring.spec.alpha_rollback == 0.05
    assert not state.scoring.spec.sticky, "its coin is tossed for each request"
    assert PLAN.problems() == []


def test_were_it_followed_its_split_would_still_send_everybody_to_the_same_version() -> None:
    split = traffic(a_round())
    assert split is not None
    assert split.candidate == "v1"


@pytest.mark.parametrize(
    ("after_s", "requests", "ends"),
    [
        (SPAN.least_s - 1, SPAN.requests, False),
        (SPAN.least_s, SPAN.requests, True),
        (SPAN.least_s, SPAN.requests - 1, False),
        (SPAN.most_s - 1, SPAN.requests - 1, False),
        (SPAN.most_s, 10, True),
    ],
)
def test_a_round_lasts_so_many_requests_an_hour_at_least_and_a_day_at_most(after_s: float, requests: int, ends: bool) -> None:
    half = requests // 2
    evidence = an_evidence(a_metric(log_e_rollback=1.5), assigned_candidate=half, assigned_stable=requests - half)
    found = round_ended(a_round(), evidence, at(after_s))
    assert (found is not None) is ends
    if found is not None:
        assert (found.alarmed, found.metric, found.log_e, found.requests) == (False, "error", 1.5, requests)


def test_another_span_ends_a_round_sooner() -> None:
    evidence = an_evidence(a_metric(), assigned_candidate=50, assigned_stable=50)
    assert (SPAN.requests, SPAN.least_s, SPAN.most_s) == (200_000, 3_600, 86_400)
    assert round_ended(a_round(), evidence, at(5)) is None
    assert round_ended(a_round(), evidence, at(5), span=Span(requests=100, least_s=5)) is not None


def test_an_alarm_ends_a_round_at_once() -> None:
    found = round_ended(a_round(), an_evidence(breached("p95"), a_metric("error")), at(10))
    assert found is not None
    assert (found.alarmed, found.metric, found.route) == (True, "p95", "chat")
    assert found.log_e == pytest.approx(8.074)


def test_a_round_that_nothing_was_counted_in_ends_after_a_day() -> None:
    assert round_ended(a_round(), None, at(100)) is None
    found = round_ended(a_round(), None, at(SPAN.most_s))
    assert found is not None
    assert (found.requests, found.metric) == (0, "")


def a_day(number: int, *, alarmed: bool = False) -> Round:
    opened = T0 + timedelta(days=number)
    return Round(
        id=f"r{number}", route="chat", opened_at=opened, closed_at=opened + timedelta(days=1), requests=10, alarmed=alarmed
    )


def test_the_rate_stands_beside_its_exact_interval_and_what_was_promised() -> None:
    found = summed([a_day(n, alarmed=n < 2) for n in range(100)])
    assert (found.rounds, found.alarms, found.rate, found.alpha, found.requests) == (100, 2, 0.02, 0.05, 1_000)
    assert (found.lower, found.upper) == pytest.approx((0.002431, 0.070384), abs=1e-6)  # scipy.stats.binomtest(2, 100)
    assert found.kept
    assert not summed([a_day(n, alarmed=n < 15) for n in range(100)]).kept


def test_without_rounds_nothing_is_claimed() -> None:
    found = summed([])
    assert (found.rate, found.lower, found.upper, found.kept) == (None, 0.0, 1.0, True)


def test_the_exact_interval_reaches_its_ends() -> None:
    assert clopper_pearson(0, 20) == pytest.approx((0.0, 1 - 0.025 ** (1 / 20)))
    assert clopper_pearson(20, 20) == pytest.approx((0.025 ** (1 / 20), 1.0))
