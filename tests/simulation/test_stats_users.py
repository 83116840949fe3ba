"""What a rollout of users promises, through the real counters, ledger, evidence and decision.

Seeds are fixed and never chosen. At equality the methods are conservative, so the bound is the promise itself.
"""

import dataclasses
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pytest

from canary.rollout.decide import decide
from canary.stats.evidence import Evidence
from canary.stats.freezing import freeze
from canary.stats.sticky_ledger import StickyLedger
from canary.stats.sticky_weigh import weigh_sticky
from canary.terms import Action, Phase
from tests.support.rollouts import a_state, at
from tests.support.scorings import a_horizon, a_segment, a_spec
from tests.support.sticky_streams import (
    UserStream,
    a_users_profile,
    first_rows,
    pair_rows_of_users,
    some_users,
    ticks_of,
    user_rows,
)
from tests.support.streams import EPOCH_US, MINUTE_US, Answers

pytestmark = pytest.mark.timeout(600)

SCORING = freeze(a_users_profile(1), a_spec(sticky=True))
CANARY = a_state(Phase.CANARYING, sticky=True)
SHADOW = a_state(Phase.SHADOWING, sticky=True)
RUNS = 20  # one may be rolled back


def looks(ledger: StickyLedger, stream: UserStream, *, weight_bp: int, stage: int) -> list[tuple[float, Evidence]]:
    """The evidence at the end of each minute."""
    segments = [a_segment(weight_bp=weight_bp, stage=stage)]
    found = []
    for tick_us in ticks_of(stream, SCORING):
        totals = ledger.settled([a_horizon(tick_us)], SCORING, segments)
        found.append(((tick_us - EPOCH_US) / 1e6, weigh_sticky(totals, SCORING, segments, stage=stage)))
    return found


def rolled_back(seed: int, *, users: int, weight: float, n: int = 10_000, **world: float) -> str:
    """Why a canary is rolled back; empty where it never is."""
    stream = some_users(seed, users=users, weight=weight, n=n, **world)  # type: ignore[arg-type]
    ledger = StickyLedger()
    ledger.add(user_rows(SCORING, stream))
    ledger.add_first(first_rows(SCORING, stream))
    for after_s, evidence in looks(ledger, stream, weight_bp=round(1e4 * weight), stage=3):
        decision = decide(CANARY, evidence, at(after_s), profile_n=5_000)
        if decision.action is Action.ROLL_BACK:
            return decision.because
        assert not evidence.sample_ratio_broken
    return ""


def shadow_rolled_back(seed: int, *, errors: float = 1.0, slower: float = 1.0, users: int = 80) -> str:
    """The same of a shadow: both sides answer each request of the same users."""
    stream = some_users(seed, users=users, weight=0.0, n=6_000)
    rng = np.random.default_rng(seed + 1_000)

    def answers(times: float, failed: npt.NDArray[np.bool_]) -> Answers:
        """What both sides share is the request; each has as much noise of its own."""
        latency = (stream.answers.latency_us * times * np.exp(rng.normal(0.0, 0.3, 6_000))).astype(np.int64)
        return Answers.of(age_us=latency + 1_000, latency_us=latency, failed=failed)

    failed = stream.answers.failed
    shadow = answers(slower, rng.random(6_000) < np.where(failed, 0.5, 0.002 * errors))
    stream = dataclasses.replace(stream, answers=answers(1.0, failed))
    rows, firsts = pair_rows_of_users(SCORING, stream, shadow)
    ledger = StickyLedger()
    ledger.add(rows)
    ledger.add_first(firsts)
    for after_s, evidence in looks(ledger, stream, weight_bp=0, stage=-1):
        decision = decide(SHADOW, evidence, at(after_s), profile_n=5_000)
        if decision.action is Action.ROLL_BACK:
            return decision.because
    return ""


@lru_cache(maxsize=8)
def equal(users: int, weight: float) -> list[str]:
    return [rolled_back(seed, users=users, weight=weight) for seed in range(RUNS)]


@pytest.mark.parametrize("weight", [0.05, 0.5])
@pytest.mark.parametrize("users", [5_000, 800, 80])
def test_an_equal_candidate_is_rolled_back_in_5_percent_of_runs_at_most(users: int, weight: float) -> None:
    assert sum(map(bool, equal(users, weight))) <= 0.05 * RUNS


def test_candidates_that_fail_or_are_slow_are_found() -> None:
    failing = [rolled_back(seed, users=5_000, weight=0.05, n=20_000, errors=20.0) for seed in range(5)]
    assert all(reason.startswith("rolled back: errors") for reason in failing)
    slow = [rolled_back(seed, users=800, weight=0.5, n=8_000, slower=2.0) for seed in range(5)]
    assert all(reason.startswith("rolled back: slow answers") for reason in slow)


@pytest.mark.parametrize(("weight", "most"), [(0.05, 0.2), (0.5, 0.0)])
def test_one_heavy_user_for_whom_everything_fails_is_one_user(weight: float, most: float) -> None:
    """He sends a tenth of all requests; by requests the candidate is ten times worse and more.

    His one event is an event all the same: at 5 % it is worth e = 5, so that ordinary luck has a shorter way to the threshold.
    """
    found = [rolled_back(seed, users=800, weight=weight, n=10_000, broken=1) for seed in range(20)]
    assert sum(map(bool, found)) <= most * len(found)


def test_a_few_tenants_say_that_they_are_too_few() -> None:
    stream = some_users(3, users=80, weight=0.05, n=6_000)
    ledger = StickyLedger()
    ledger.add(user_rows(SCORING, stream))
    ledger.add_first(first_rows(SCORING, stream))
    _, evidence = looks(ledger, stream, weight_bp=500, stage=3)[-1]
    assert [alert.name for alert in evidence.alerts if "split by request or by conversation" in alert.because]
    assert all(row.abstains or row.promote_abstains for row in evidence.metrics if row.need_promote is not None)


def test_an_equal_shadow_is_rolled_back_in_5_percent_of_runs_at_most() -> None:
    assert sum(bool(shadow_rolled_back(seed)) for seed in range(RUNS)) <= 0.05 * RUNS


def test_a_shadow_that_fails_or_is_slow_is_found() -> None:
    assert all(shadow_rolled_back(seed, errors=60.0, users=400) for seed in range(5))
    assert all(shadow_rolled_back(seed, slower=2.0) for seed in range(5))


def test_ten_minutes_of_a_look_cost_what_one_does() -> None:
    """Settled minutes are added up: what a look reads again is the open ones."""
    stream = some_users(1, users=800, weight=0.5, n=4_000, per_s=5.0)
    ledger = StickyLedger()
    ledger.add(user_rows(SCORING, stream))
    looks(ledger, stream, weight_bp=5_000, stage=3)
    assert int(stream.start_us[-1] - EPOCH_US) > 10 * MINUTE_US
    assert len(ledger._book.open) == 0
