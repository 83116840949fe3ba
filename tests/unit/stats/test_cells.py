"""The bytes of a row of cells: small, whole, readable again, and the same however they were put together."""

import random
import zlib

import numpy as np
import pytest

from canary.stats.cells import END, JOINED, START, WHOLE_MINUTE, arrays_of, from_bytes, joined, pack, packed, part_of, to_bytes


def a_minute(seed: int = 1, *, bins: int = 8, most: int = 900) -> dict[int, int]:
    """What a busy minute looks like: the same few cells in each second."""
    chance = random.Random(seed)
    cells = {}
    for second in range(60):
        for arm in (0, 1):
            cells[pack(metric=START, stratum=0, arm=arm, second=second, bin_index=0)] = chance.randrange(1, most)
            for bin_index in chance.sample(range(40), bins):
                cells[pack(metric=END, stratum=0, arm=arm, second=second, bin_index=bin_index)] = chance.randrange(1, most)
    return cells


def as_first_written(cells: dict[int, int]) -> bytes:
    """Bytes of the first format, which stored rows may still have."""
    keys = np.array(sorted(cells), dtype=np.int64)
    counts = np.array([cells[key] for key in keys.tolist()], dtype="<u4")
    return b"\x01" + zlib.compress(np.diff(keys, prepend=0).astype("<u8").tobytes() + counts.tobytes(), 1)


def test_cells_come_back_in_order_of_their_keys() -> None:
    cells = a_minute() | {pack(metric=99, stratum=127, arm=1, second=WHOLE_MINUTE, bin_index=65_535): 2**53, 2**56 + 3: 1}
    keys, counts = arrays_of(to_bytes(cells))
    assert keys.tolist() == sorted(cells)
    assert counts.tolist() == [cells[key] for key in sorted(cells)]


def test_equal_cells_have_equal_bytes_whatever_their_order() -> None:
    cells = a_minute()
    shuffled = list(cells.items())
    random.Random(2).shuffle(shuffled)
    assert to_bytes(dict(shuffled)) == to_bytes(cells | {12345: 0})


def test_nothing_is_a_row_too() -> None:
    assert from_bytes(to_bytes({})) == {}
    assert from_bytes(joined([to_bytes({}), to_bytes({})])) == {}


def test_a_key_that_comes_twice_is_added() -> None:
    assert from_bytes(packed(np.array([5, 3, 5]), np.array([1, 2, 3]))) == {3: 2, 5: 4}


def test_rows_of_the_first_format_are_read() -> None:
    cells = a_minute()
    assert from_bytes(as_first_written(cells)) == cells
    assert len(to_bytes(cells)) < 0.75 * len(as_first_written(cells))


def test_parts_together_are_the_minute() -> None:
    cells = a_minute() | {pack(metric=16, stratum=0, arm=0, second=WHOLE_MINUTE, bin_index=3): 7}
    parts: dict[int, dict[int, int]] = {}
    for key, count in cells.items():
        parts.setdefault(part_of(key), {})[key] = count
    assert sorted(parts) == [1, 2, 3, 4, 5, 6, 7]
    rows = [to_bytes(parts[part]) for part in sorted(parts)]
    assert from_bytes(joined(rows)) == cells
    assert joined(rows[:1]) == rows[0]


def test_joined_rows_may_share_cells_and_be_joined_rows() -> None:
    row = joined([to_bytes({1: 1, 2: 2}), joined([to_bytes({2: 3}), as_first_written({1: 4})])])
    assert from_bytes(row) == {1: 5, 2: 5}


@pytest.mark.parametrize("damaged", [bytes([JOINED]) + b"\x09\0\0\0abc", bytes([JOINED]) + b"\x01\0\0\0\x09", b"\x02abc"])
def test_damage_is_told(damaged: bytes) -> None:
    with pytest.raises(ValueError, match="cells"):
        from_bytes(damaged)


@pytest.mark.parametrize("count", [-1, 2**53 + 1])
def test_a_count_that_does_not_fit_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="counts must lie"):
        to_bytes({7: count})
