"""Remembered lines: bounded, and never a way around the grammar."""

import pytest

from canary.wire.answer import DEFAULT_PATTERN, BadAnswer, fields_pattern, parse_answer
from canary.wire.lines import Lines, is_id, read_field


def test_the_memory_forgets_when_it_is_full_and_never_takes_long_lines() -> None:
    lines = Lines[int]()
    for number in range(2_000):
        assert lines.keep(b"x: %d" % number, number + 1) == number + 1
    held = [number for number in range(2_000) if lines.get(b"x: %d" % number)]
    assert 0 < len(held) <= 512
    assert held[-1] == 1_999
    lines.keep(b"x" * 257, 7)
    assert lines.get(b"x" * 257) is None


def test_ids_are_read_each_time_and_not_kept() -> None:
    pattern = fields_pattern(("x-request-id",))
    for number in range(3):
        line = b"X-Request-Id: %016x" % number
        head = parse_answer(b"HTTP/1.1 200 OK\r\n" + line + b"\r\nContent-Length: 0\r\n\r\n", to_head=False, pattern=pattern)
        assert head.noted == (("x-request-id", f"{number:016x}"),)
        assert pattern.lines.get(line) is None
    assert pattern.lines.get(b"Content-Length: 0") is not None
    assert is_id(b"a" * 16)
    assert not is_id(b"a" * 15)
    assert not is_id(b"a" * 15 + b"\x00")


@pytest.mark.parametrize("value", [b"abc", b" abc", b"a\tb", b"a\x00c", b"a\x7fc", b"\xe9", b"a\r", b"", b" ", b"a b"])
@pytest.mark.parametrize("name", [b"X-A", b"x a", b"", b"X:", b" X", b"X\xe9"])
def test_a_known_name_lets_no_bad_value_through(name: bytes, value: bytes) -> None:
    read_field(b"X-A: abc")
    good = name == b"X-A" and not {0, 0x7F, 0x0D} & set(value)
    if name == b"X:":  # a name, its colon, and a value that begins with another
        good = not {0, 0x7F, 0x0D} & set(value)
    assert (read_field(name + b": " + value) is not None) is good
    assert (read_field(name + b":" + value) is not None) is good


def test_a_line_remembered_in_one_place_is_not_good_in_another() -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    for _ in range(2):
        assert parse_answer(whole, to_head=False, pattern=DEFAULT_PATTERN).status == 200
        for swapped in (b"Content-Length: 0\r\nHTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK\r\n\r\n"):
            with pytest.raises(BadAnswer):
                parse_answer(swapped, to_head=False, pattern=DEFAULT_PATTERN)
        with pytest.raises(BadAnswer):
            parse_answer(whole[:-2] + b"Content-Length: 0\r\n\r\n", to_head=False, pattern=DEFAULT_PATTERN)
