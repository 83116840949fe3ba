"""Stable's answers dealt to pseudo-arms: by a coin of their own, start and end at once, and never anybody else's."""

from typing import Any

import msgspec
import pytest

from canary.courier.cells import MINUTE_US, Cells
from canary.courier.fold import Fold
from canary.courier.known import Known, calibrating, learn
from canary.courier.tally import Tally
from canary.rollout.calibration import round_begun, round_segment
from canary.rollout.state import RolloutState
from canary.split.assign import arm_of, bucket_of
from canary.stats.cells import ARM_SHIFT, METRIC_SHIFT, START, from_bytes
from canary.stats.facts import Fact
from canary.stats.profile import Profile, profile_cells
from canary.terms import Arm, AssignedBy
from tests.support.courier import a_plan_in_force, a_route
from tests.support.frames import T0_US, a_live, an_id
from tests.support.rollouts import T0


def a_profile() -> Profile:
    cells: dict[int, int] = {}
    for i in range(2_000):
        for key in profile_cells(Fact(age_us=10_000 + i, latency_us=10_000 + i, failed=False, left=False)):
            cells[key] = cells.get(key, 0) + 1
    return Profile.of(cells)


ROUTE = a_route()
ROUND = round_begun(ROUTE, ROUTE.versions[0], a_profile(), id_="c1", salt=b"s" * 16, opened=round_segment(9, T0))


def a_fold(*rounds: RolloutState) -> Fold:
    plan = a_plan_in_force()
    known = calibrating(learn(Known(), plan.published, states=(), revision=1), rounds)
    fold = Fold(known=known, cells=Cells(), tally=Tally())
    fold.tick_at_us = T0_US
    return fold


def starts_of(fold: Fold) -> dict[str, int]:
    """How many starts each pseudo-arm of the round has."""
    counters, _ = fold.cells.take(T0_US)
    found = {"stable": 0, "candidate": 0}
    for row in counters:
        assert (row.rollout, row.segment, row.minute) == ("c1", 9, T0_US // MINUTE_US)
        for key, count in from_bytes(row.cells).items():
            if key >> METRIC_SHIFT == START:
                found["candidate" if key >> ARM_SHIFT & 1 else "stable"] += count
    return found


def test_each_answer_goes_to_the_arm_that_the_rounds_own_coin_says() -> None:
    fold, ids = a_fold(ROUND), [an_id() for _ in range(400)]
    fold.fold([a_live(exchange_id=one, start_at_us=T0_US) for one in ids])
    arms = [arm_of(bucket_of(ROUND.salt, one), 5_000) for one in ids]
    assert starts_of(fold) == {"candidate": arms.count(Arm.CANDIDATE), "stable": arms.count(Arm.STABLE)}
    assert 140 < arms.count(Arm.CANDIDATE) < 260


@pytest.mark.parametrize(
    "fields",
    [
        {"assigned_by": AssignedBy.FORCED},
        {"assigned_by": AssignedBy.OVERLAY},
        {"arm": Arm.CANDIDATE, "assigned_by": AssignedBy.HASH},
        {"route": "other"},
    ],
)
def test_what_no_coin_left_with_stable_is_not_dealt(fields: dict[str, Any]) -> None:
    fold = a_fold(ROUND)
    fold.fold([a_live(start_at_us=T0_US, **fields)])
    assert starts_of(fold) == {"candidate": 0, "stable": 0}


def test_without_a_round_or_for_another_version_nothing_is_dealt() -> None:
    for rounds in ((), (msgspec.structs.replace(ROUND, stable="v9"),)):
        fold = a_fold(*rounds)
        fold.fold([a_live(start_at_us=T0_US)])
        assert starts_of(fold) == {"candidate": 0, "stable": 0}


def test_an_answer_whose_minute_is_closed_comes_too_late() -> None:
    fold = a_fold(ROUND)
    fold.tick_at_us = T0_US + 10 * MINUTE_US
    fold.fold([a_live(start_at_us=T0_US)])
    assert fold.cells.take(T0_US)[0] == []


def test_a_round_that_is_over_is_forgotten_with_the_next_reading() -> None:
    known = calibrating(Known(), [ROUND])
    assert list(known.calibrations) == ["chat"]
    assert list(calibrating(known, []).calibrations) == []
    assert list(known.segments) == [], "its segment is in no frame"
