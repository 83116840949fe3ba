"""First events: one for each user, the same however they come, and worth exactly one on average."""

import itertools
import math
from typing import Any

import pytest
from scipy.stats import binom

from canary.stats.bets import rare_log_e
from canary.stats.first_event import (
    NO_STABLE_EVENT,
    RATIOS,
    FirstEvent,
    FirstEventEvidence,
    FirstEvents,
    evidence_of_users,
    lower_rate,
)
from canary.terms import Arm

C, S = Arm.CANDIDATE, Arm.STABLE


def user(number: int) -> bytes:
    return number.to_bytes(8, "big")


def some(*found: tuple[int, int, int, Arm], most: int = 50_000) -> FirstEvents:
    """(user, start, segment, arm) each."""
    events = FirstEvents(most=most)
    for number, start, segment, arm in found:
        events.add(user(number), FirstEvent(start, segment, arm))
    return events


def evidence(events: FirstEvents, **changes: Any) -> FirstEventEvidence:
    usual = {"weights_bp": {7: 500, 8: 2_500}, "rho": 1.0, "delta": 0.0, "lowest_stable_rate": 0.004, "users": 1_000}
    return evidence_of_users(events.counts(), **{**usual, **changes}).marked(events.is_full)


def test_a_user_counts_once_where_its_events_began() -> None:
    events = some((1, 50, 8, C), (1, 20, 7, C), (1, 90, 8, C), (2, 30, 8, S), (3, 20, 7, S))
    assert events.counts() == {7: (1, 1), 8: (0, 1)}
    assert [row[0] for row in events.rows()] == [user(1), user(3), user(2)]


def test_log_e_is_the_closed_form_over_users() -> None:
    found = some(*[(number, number, 7, C) for number in range(4)], *[(100 + number, number, 8, S) for number in range(9)])
    expected = rare_log_e(((0.05, 4, 0), (0.25, 0, 9)), rho=1.1 + 0.0005 / 0.004, ratios=RATIOS)
    said = evidence(found, rho=1.1, delta=0.0005)
    assert said.log_e == pytest.approx(expected, rel=1e-14)
    assert (said.users_candidate, said.users_stable, said.abstains, said.handover) == (4, 9, "", False)


def test_events_of_segments_that_are_not_scored_are_not_read() -> None:
    found = some((1, 1, 7, C), (2, 2, 7, C), (3, 3, 0, C), (4, 4, 9, C), (5, 5, 10, C))
    assert evidence(found, weights_bp={7: 500, 9: 0, 10: 10_000}) == evidence(some((1, 1, 7, C), (2, 2, 7, C)))


def test_without_any_event_in_the_profile_a_tolerance_in_points_has_no_ratio() -> None:
    found = some(*[(number, number, 7, C) for number in range(40)])
    said = evidence(found, delta=0.0005, lowest_stable_rate=0.0)
    assert (said.abstains, said.log_e, said.users_candidate) == (NO_STABLE_EVENT, 0.0, 40)
    assert evidence(found, lowest_stable_rate=0.0).log_e > math.log(1000)  # a pure ratio needs no rate


@pytest.mark.parametrize(("events", "users", "handover"), [(100, 1_000, False), (101, 1_000, True), (101, 0, False)])
def test_past_a_tenth_of_the_users_clusters_say_more(events: int, users: int, handover: bool) -> None:
    found = some(*[(number, number, 7, S) for number in range(events)])
    assert evidence(found, users=users).handover is handover


def test_a_full_table_hands_over() -> None:
    assert evidence(some((1, 1, 7, C), (2, 2, 7, S), most=2)).handover


def test_the_earliest_users_are_kept() -> None:
    numbers = [5, 1, 4, 9, 3, 8, 2, 7, 6, 0]
    events = some(*[(number, 100 + number // 2, 7, C) for number in numbers], most=3)
    assert [row[0] for row in events.rows()] == [user(0), user(1), user(2)]
    events.add_all(some((4, 1, 7, C)))
    assert [row[0] for row in events.rows()] == [user(4), user(0), user(1)]


@pytest.mark.parametrize(("weight", "rho"), [(0.05, 1.0), (0.5, 1.0), (0.25, 1.4)])
def test_mean_over_every_sequence_of_first_events_is_one(weight: float, rho: float) -> None:
    """Whose event comes first, second, ... may be chosen by an adversary: the coins of the users make the mean."""
    null, total, weights = weight * rho / (weight * rho + 1 - weight), 0.0, {7: round(10_000 * weight)}
    for arms in itertools.product([C, S], repeat=8):
        events = some(*[(number, number, 7, arm) for number, arm in enumerate(arms)])
        chance = math.prod(null if arm is C else 1 - null for arm in arms)
        total += chance * math.exp(evidence(events, weights_bp=weights, rho=rho).log_e)
    assert total == pytest.approx(1.0, abs=1e-12)


def test_users_that_are_used_up_weaken_the_claim() -> None:
    """Four users, hazards 1 : 1.4 as tolerated; the process of who fails next is worth at most one on average."""
    weight, rho = 0.5, 1.4

    def mean(hidden: tuple[Arm, ...], failed: tuple[int, ...], chance: float) -> float:
        left = [index for index in range(len(hidden)) if index not in failed]
        if not left:
            events = some(*[(index, order, 7, hidden[index]) for order, index in enumerate(failed)])
            return chance * math.exp(evidence(events, weights_bp={7: 5_000}, rho=rho).log_e)
        hazards = [rho if hidden[index] is C else 1.0 for index in left]
        return sum(
            mean(hidden, (*failed, index), chance * hazard / sum(hazards)) for index, hazard in zip(left, hazards, strict=True)
        )

    total = sum(mean(hidden, (), weight ** len(hidden)) for hidden in itertools.product([C, S], repeat=4))
    assert 0.5 < total < 1.0


@pytest.mark.parametrize(("events", "n"), [(1, 2_000), (10, 2_000), (37, 5_000), (5, 5)])
def test_the_lower_limit_is_where_so_many_events_are_one_in_twenty(events: int, n: int) -> None:
    assert float(binom.sf(events - 1, n, lower_rate(events, n))) == pytest.approx(0.05, rel=1e-9)


def test_limits_of_nothing() -> None:
    assert lower_rate(0, 2_000) == 0.0
    with pytest.raises(ValueError, match="expected"):
        lower_rate(3, 2)
    with pytest.raises(ValueError, match="hash"):
        FirstEvents().add(b"", FirstEvent(1, 7, C))
