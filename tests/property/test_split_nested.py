"""Growing a weight never moves a unit back; equal units stay together whatever came between."""

from hypothesis import given
from hypothesis import strategies as st

from canary.split.assign import arm_of, bucket_of, shadowed
from canary.terms import Arm

salts = st.binary(min_size=16, max_size=16)
units = st.binary(min_size=1, max_size=256)
weights = st.integers(0, 10_000)


@given(salts, units, weights, weights)
def test_growing_a_weight_never_moves_a_unit_back(salt: bytes, unit: bytes, one: int, other: int) -> None:
    low, high = sorted((one, other))
    bucket = bucket_of(salt, unit)
    if arm_of(bucket, low) is Arm.CANDIDATE:
        assert arm_of(bucket, high) is Arm.CANDIDATE


@given(salts, units, st.lists(weights, min_size=1, max_size=20))
def test_a_ramp_moves_a_unit_at_most_once(salt: bytes, unit: bytes, ramp: list[int]) -> None:
    arms = [arm_of(bucket_of(salt, unit), weight) for weight in sorted(ramp)]
    assert arms == sorted(arms, key=[Arm.STABLE, Arm.CANDIDATE].index)


@given(salts, st.binary(min_size=16, max_size=16), weights, weights)
def test_a_growing_shadow_share_only_adds(salt: bytes, exchange_id: bytes, one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert not shadowed(salt, exchange_id, low) or shadowed(salt, exchange_id, high)


@given(salts, units)
def test_a_bucket_is_a_slot(salt: bytes, unit: bytes) -> None:
    assert 0 <= bucket_of(salt, unit) < 10_000
    assert bucket_of(salt, unit) == bucket_of(salt, unit)
