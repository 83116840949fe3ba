"""Extra work that fails is counted and goes no further: the client has its answer all the same."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from canary.proxy.exchange import Exchange
from canary.proxy.shadow import Copy
from canary.telemetry.guard import FAILURES
from tests.support.plane_room import ANSWER, ASK, Room

Spoil = Callable[[Room], None]
UNWRITABLE: Any = object()


@pytest.fixture
def failures() -> Iterator[dict[str, int]]:
    before = dict(FAILURES)
    yield before
    FAILURES.clear()
    FAILURES.update(before)


def the_copy(room: Room) -> Copy:
    """The only one under way."""
    (copy,) = room.sink.copies
    return copy


def spoil_mirror(room: Room) -> None:
    """No key finds what a copy's head looks like."""
    assert room.keeper.plan is not None
    (route,) = room.keeper.plan.routes
    assert route is not None
    candidate = route.candidate
    assert candidate is not None
    candidate._copies = []


def spoil_pair(room: Room) -> None:
    """The copy's frame holds what no journal can take."""
    the_copy(room).chunks.append(UNWRITABLE)


def spoil_live(room: Room) -> None:
    """The same of the client's answer."""
    story = room.client.story
    assert isinstance(story, Exchange)
    story.chunks.append(UNWRITABLE)


@pytest.mark.parametrize(
    ("before_asked", "before_answered", "operation"),
    [
        (spoil_mirror, None, "mirror a request"),
        (None, spoil_pair, "record a pair"),
        (None, spoil_live, "record an exchange"),
    ],
)
async def test_its_failure_never_reaches_the_client(
    tmp_path: Path, failures: dict[str, int], before_asked: Spoil | None, before_answered: Spoil | None, operation: str
) -> None:
    room = Room(tmp_path)
    await room.exchange(0)
    if before_asked is not None:
        before_asked(room)
    for number in range(1, 4):
        await room.exchange(number, before_answered=before_answered)
    assert len(room.wire.written) == 4
    assert all(b"%016d" % number in answer for number, answer in enumerate(room.wire.written))
    assert all(answer.endswith(b"\r\n\r\nhi") for answer in room.wire.written)
    assert FAILURES[operation] - failures.get(operation, 0) == 3
    assert room.sink.held_bytes == 0  # nor does it cost a later copy its place
    assert not room.sink.copies
    room.journal.close()


@pytest.mark.parametrize("first", [0, 1])
async def test_a_copy_whose_live_answer_is_not_written_down_leaves_its_place_when_it_ends(
    tmp_path: Path, failures: dict[str, int], first: int
) -> None:
    room = Room(tmp_path)
    for number in range(3):
        room.client.data_received(ASK % number)
        spoil_live(room)
        the_copy(room)
        room.upstreams[first][0].data_received(ANSWER % number)
        the_copy(room)  # it still counts against the bound, and has its deadline
        room.upstreams[1 - first][0].data_received(ANSWER % number)
        assert not room.sink.copies
        assert room.sink.held_bytes == 0
        await asyncio.sleep(0)
    assert len(room.wire.written) == 3
    assert FAILURES["record an exchange"] - failures.get("record an exchange", 0) == 3
    assert room.journal.dropped == 0  # nothing but lives failed: no pair was tried
    room.journal.close()
