"""Exchange ids: UUIDv7, unique, in order of time."""

import uuid

from canary.proxy.ids import ExchangeIds

NOW_US = 1_795_370_606_059_615


def test_an_id_is_a_uuid_of_version_7_with_its_time() -> None:
    made = uuid.UUID(bytes=ExchangeIds(2**44 - 1).next(NOW_US))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == NOW_US // 1000


def test_ids_of_one_instant_differ_and_later_ones_sort_later() -> None:
    ids = ExchangeIds(1)
    made = [ids.next(NOW_US) for _ in range(5_000)]
    assert made == sorted(set(made))
    assert ids.next(NOW_US + 1_000) > made[-1]


def test_workers_with_other_seeds_never_meet() -> None:
    one, other = ExchangeIds(7), ExchangeIds(8 << 12)
    assert not {one.next(NOW_US) for _ in range(1_000)} & {other.next(NOW_US) for _ in range(1_000)}
