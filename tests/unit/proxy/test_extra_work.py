"""Extra work that fails is counted and goes no further: the client has its answer all the same."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from canary.proxy.application import DataPlane
from canary.proxy.record import Request
from canary.store.journal import JournalWriter
from canary.telemetry.guard import FAILURES
from tests.support.plane_room import ANSWER, ASK, Room


@pytest.fixture
def failures() -> Iterator[dict[str, int]]:
    before = dict(FAILURES)
    yield before
    FAILURES.clear()
    FAILURES.update(before)


@pytest.mark.parametrize(
    ("owner", "method", "operation"),
    [
        (DataPlane, "_send_copy", "mirror a request"),
        (JournalWriter, "pair", "record a pair"),
        (Request, "frames", "record an exchange"),
    ],
)
async def test_its_failure_never_reaches_the_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: dict[str, int], owner: type, method: str, operation: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    room = Room(tmp_path)
    await room.exchange(0)
    monkeypatch.setattr(owner, method, fail)
    for number in range(1, 4):
        await room.exchange(number)
    assert len(room.wire.written) == 4
    assert all(b"%016d" % number in answer for number, answer in enumerate(room.wire.written))
    assert all(answer.endswith(b"\r\n\r\nhi") for answer in room.wire.written)
    assert FAILURES[operation] - failures.get(operation, 0) == 3
    assert room.sink.held_bytes == 0  # nor does it cost a later copy its place
    assert not room.sink.copies
    room.journal.close()


@pytest.mark.parametrize("first", [0, 1])
async def test_a_copy_whose_live_answer_is_not_written_down_leaves_its_place_when_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: dict[str, int], first: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    room = Room(tmp_path)
    monkeypatch.setattr(JournalWriter, "live", fail)
    for number in range(3):
        room.client.data_received(ASK % number)
        assert len(room.sink.copies) == 1
        room.upstreams[first][0].data_received(ANSWER % number)
        assert len(room.sink.copies) == 1  # it still counts against the bound, and has its deadline
        room.upstreams[1 - first][0].data_received(ANSWER % number)
        assert not room.sink.copies
        assert room.sink.held_bytes == 0
        await asyncio.sleep(0)
    assert len(room.wire.written) == 3
    assert FAILURES["record an exchange"] - failures.get("record an exchange", 0) == 3
    assert room.journal.dropped == 0  # nothing but lives failed: no pair was tried
    room.journal.close()
