"""What couriers know of the plan: the same objects from reading to reading, and no more than a bound of them."""

import msgspec

from canary.courier.known import MOST_SEGMENTS, Known, calibrating, learn
from canary.rollout.calibration import round_begun, round_segment
from canary.rollout.state import RolloutState, SegmentRef
from canary.terms import Scored
from tests.support.courier import a_rollout, a_route
from tests.support.rollouts import T0
from tests.support.scorings import a_profile


def read_again(state: RolloutState) -> RolloutState:
    """As the next reading of the plan brings it: equal, and made anew."""
    return msgspec.json.decode(msgspec.json.encode(state), type=RolloutState)


def segment(number: int) -> SegmentRef:
    return SegmentRef(id=number, stage=0, weight_bp=500, shadow_bp=0, scored=Scored.ALL, opened_at=T0)


def test_what_says_the_same_stays_the_same_object() -> None:
    """Each answer looks up what was worked out of its scoring: another object would be compared in full each time."""
    state = a_rollout()
    known = learn(Known(), None, states=[state], revision=1)
    again = learn(known, None, states=[read_again(state)], revision=2)
    assert again.segments[7] is known.segments[7]
    other = learn(again, None, states=[a_rollout(answer_timeout_s=9.0)], revision=3)
    assert other.segments[7].timeout_us == 9_000_000


def test_so_do_the_pseudo_arms_of_an_open_round() -> None:
    route = a_route()
    opened = round_begun(route, route.versions[0], a_profile(), id_="c1", salt=b"s" * 16, opened=round_segment(9, T0))
    known = calibrating(Known(), [opened])
    assert calibrating(known, [read_again(opened)]).calibrations["chat"] is known.calibrations["chat"]
    following = msgspec.structs.replace(opened, salt=b"t" * 16)
    assert calibrating(known, [following]).calibrations["chat"].salt == b"t" * 16


def test_of_years_of_rollouts_the_newest_segments_are_kept() -> None:
    known, active = Known(), a_rollout(segments=(segment(1),))
    for first in range(2, 3 * MOST_SEGMENTS, 5):
        ended = a_rollout(id=f"r{first}", segments=tuple(segment(first + number) for number in range(5)))
        known = learn(known, None, states=[active, ended], revision=first)
        assert len(known.segments) <= MOST_SEGMENTS + 6
        assert {1, first, first + 4} <= known.segments.keys()
    assert len(known.segments) >= MOST_SEGMENTS // 2
    assert 2 not in known.segments
    assert 2 in learn(known, None, states=[a_rollout(segments=(segment(2),))], revision=1).segments
