"""Plans that no rollout could follow."""

import msgspec
import pytest

from canary.rollout.plan import Plan, ShadowStage, Stage, Watch
from tests.support.rollouts import a_plan


def test_the_default_plan_is_sound() -> None:
    assert Plan(name="careful").problems() == []
    assert a_plan().problems() == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"stages": ()}, "at least one stage"),
        ({"stages": (Stage(weight_bp=0),)}, "weight 0 %"),
        ({"stages": (Stage(weight_bp=10_000),), "watch": Watch(for_s=0)}, "weight 100 %"),
        ({"stages": (Stage(weight_bp=500), Stage(weight_bp=100))}, "larger than the one before"),
        ({"stages": (Stage(weight_bp=500), Stage(weight_bp=500))}, "larger than the one before"),
        ({"stages": (Stage(weight_bp=9_800),)}, "holdback of 5 %"),
        ({"shadow": ShadowStage(share_bp=10_001)}, "share 100.01 %"),
        ({"shadow": ShadowStage(min_pairs=-1)}, "shadow.min_pairs: -1"),
        ({"stages": (Stage(weight_bp=500, dwell_s=-1),)}, "stages.dwell_s: -1"),
        ({"alpha_rollback": 0.0}, "alpha_rollback: 0"),
        ({"alpha_promote": 1.0}, "alpha_promote: 1"),
        ({"shadow_lane_weight": 1.0}, "shadow_lane_weight: 1"),
        ({"warm_up_s": -3.0}, "warm_up_s: -3"),
        ({"max_duration_s": 0.0}, "max_duration_s: 0"),
        ({"lean_on": "pairs", "shadow": ShadowStage(share_bp=0)}, "lean_on: pairs come from copies, and shadow.share is 0 %"),
    ],
)
def test_each_fault_is_named(fields: dict[str, object], words: str) -> None:
    (problem,) = a_plan(**fields).problems()
    assert words in problem


def test_equal_plans_have_equal_hashes_and_others_do_not() -> None:
    assert a_plan().hash == a_plan().hash
    assert a_plan().hash != a_plan(warm_up_s=1.0).hash


def test_a_plan_that_was_stored_before_classes_had_gates_means_and_hashes_the_same() -> None:
    stored = b'{"name":"default"}'
    plan = msgspec.json.decode(stored, type=Plan)
    assert plan == Plan(name="default")
    assert not plan.class_gates
    assert msgspec.json.encode(plan) == stored
    assert plan.hash == "649545a3b6a068b8f580d3561e38ac4b"
    assert Plan(name="default", class_gates=True).hash != plan.hash
