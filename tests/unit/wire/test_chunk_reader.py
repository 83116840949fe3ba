"""Chunked bodies: the end to the byte, however the pieces are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.wire.framing import BadFraming, ChunkReader, chunk

BODY = b'3;a=b;c="d"\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nX-Sum: 1\r\n\r\n'
PAYLOAD = b"abc0123456789abcdef"


@given(st.lists(st.integers(0, len(BODY)), max_size=8))
def test_any_cut_gives_the_same_payload_and_end(cuts: list[int]) -> None:
    data = BODY + b"NEXT"
    edges = [0, *sorted(cuts), len(data)]
    reader, payload, used = ChunkReader(), b"", 0
    for start, end in pairwise(edges):
        if reader.done:
            break
        piece, taken = reader.feed(data[start:end])
        payload += piece
        used += taken
    assert (payload, used, reader.done) == (PAYLOAD, len(BODY), True)


def test_every_single_byte_is_a_possible_cut() -> None:
    reader, payload = ChunkReader(), b""
    for number, byte in enumerate(BODY):
        assert not reader.done
        piece, used = reader.feed(bytes((byte,)))
        assert used == 1, number
        payload += piece
    assert (payload, reader.done) == (PAYLOAD, True)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5))
def test_what_we_chunk_we_read(pieces: list[bytes]) -> None:
    reader = ChunkReader()
    payload, _ = reader.feed(b"".join(map(chunk, pieces)) + b"0\r\n\r\n")
    assert payload == b"".join(pieces)
    assert reader.done


BAD = [b"g\r\n", b"\r\n", b"-1\r\n", b"2 \r\n", b"0x1\r\n", b"2\r\nabc\r\n", b"2\r\nab\rx", b"2\nab", b"0\r\nbad\r\n"]
BAD += [b"2;\x01\r\n", b"1" * 5_000, b"1;a\r\nx\r\n" * 20_000]


def _feed_by_bytes(data: bytes) -> None:
    reader = ChunkReader()
    for at in range(len(data)):
        reader.feed(data[at : at + 1])


@pytest.mark.parametrize("data", BAD, ids=lambda data: repr(data[:12]))
def test_what_is_no_chunked_body_is_refused(data: bytes) -> None:
    with pytest.raises(BadFraming):
        ChunkReader().feed(data)
    with pytest.raises(BadFraming):
        _feed_by_bytes(data)
