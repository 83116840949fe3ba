"""When a pair's frame reaches the file: nobody waits for it, so it goes with whatever is written next."""

import asyncio
from pathlib import Path

from tests.support.plane_room import ANSWER, ASK, Room
from tests.support.worker_process import journal_frames


def _kinds(folder: Path) -> list[str]:
    return [type(frame).__name__ for frame in journal_frames(folder)]


async def _answered_by_both(room: Room, number: int) -> None:
    """The client has its answer; the copy's comes in a later turn of the loop."""
    room.client.data_received(ASK % number)
    for connection, _ in room.upstreams:
        connection.data_received(ANSWER % number)
        await asyncio.sleep(0)


async def test_a_pair_goes_with_the_next_exchanges_open_frame(tmp_path: Path) -> None:
    room = Room(tmp_path)
    await _answered_by_both(room, 0)
    assert len(room.wire.written) == 1
    assert _kinds(tmp_path) == ["Open", "Live"]
    room.client.data_received(ASK % 1)
    await asyncio.sleep(0)
    assert _kinds(tmp_path) == ["Open", "Live", "Pair", "Open"]
    room.journal.close()


async def test_a_pair_after_which_nothing_comes_goes_when_the_ticker_asks(tmp_path: Path) -> None:
    room = Room(tmp_path)
    await _answered_by_both(room, 0)
    room.plane.flush()
    assert _kinds(tmp_path) == ["Open", "Live", "Pair"]
    room.journal.close()


async def test_answers_of_one_turn_take_their_pair_along(tmp_path: Path) -> None:
    room = Room(tmp_path)
    await room.exchange(0)
    assert _kinds(tmp_path) == ["Open", "Live", "Pair"]
    room.journal.close()
