"""Assignment: fixed values, uniformity, independent domains."""

from canary.split.assign import Coin, arm_of, bucket_of, shadowed, unit_hash
from canary.terms import Arm

SALT = b"0123456789abcdef"
BUCKETS = [5638, 2386, 7838]
"""As first released: another value here would move every user of a running rollout."""


def test_the_bucket_of_a_unit_never_changes_between_releases() -> None:
    assert [bucket_of(SALT, unit) for unit in (b"ann", b"bob", b"")] == BUCKETS


def test_a_coin_says_what_bucket_of_says() -> None:
    coin = Coin(SALT)
    units = [str(number).encode() for number in range(500)]
    assert [coin.bucket(unit) for unit in units] == [bucket_of(SALT, unit) for unit in units]


def test_another_salt_shuffles_everyone() -> None:
    units = [str(number).encode() for number in range(2_000)]
    same = sum(bucket_of(SALT, unit) == bucket_of(b"fedcba9876543210", unit) for unit in units)
    assert same < 5


def test_candidate_iff_the_bucket_is_under_the_weight() -> None:
    assert arm_of(0, 0) is Arm.STABLE
    assert arm_of(0, 1) is Arm.CANDIDATE
    assert arm_of(499, 500) is Arm.CANDIDATE
    assert arm_of(500, 500) is Arm.STABLE
    assert arm_of(9_999, 10_000) is Arm.CANDIDATE


def test_buckets_are_uniform() -> None:
    """Chi-square over 100 cells of 100,000 units: 99 degrees of freedom, 160 is beyond 1 - 1e-4."""
    cells = [0] * 100
    for number in range(100_000):
        cells[bucket_of(SALT, number.to_bytes(8, "big")) // 100] += 1
    assert sum((count - 1_000) ** 2 / 1_000 for count in cells) < 160


def test_the_shadow_share_does_not_follow_the_assignment() -> None:
    ids = [number.to_bytes(16, "big") for number in range(20_000)]
    low = [one for one in ids if bucket_of(SALT, one) < 1_000]
    share = sum(shadowed(SALT, one, 2_000) for one in low) / len(low)
    assert 0.16 < share < 0.24


def test_the_shadow_share_has_its_ends() -> None:
    assert all(shadowed(SALT, number.to_bytes(16, "big"), 10_000) for number in range(100))
    assert not any(shadowed(SALT, number.to_bytes(16, "big"), 0) for number in range(100))


def test_a_unit_hash_is_keyed_and_short() -> None:
    assert len(unit_hash(b"ann", b"key")) == 8
    assert unit_hash(b"ann", b"key") != unit_hash(b"ann", b"other")
    assert unit_hash(b"ann", b"key") == unit_hash(b"ann", b"key")
