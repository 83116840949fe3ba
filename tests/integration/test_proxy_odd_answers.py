"""Hundreds of odd answers of an upstream: a 502 before the head is out, an abort after it, never a complete success."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from canary.split.spec import Limits
from tests.support.answer_corpus import Answer, answers
from tests.support.data_plane import STUCK_S, Plane, Wire, statuses_in
from tests.support.strict_reader import read_strictly

ASK = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
ANSWERS = answers()
_LAST = re.compile(rb"(?:^|\r\n)0+(?:[ \t]*;[^\r\n]*)?\r\n(?:[^\r\n]+\r\n)*\r\n\Z")


class Says(asyncio.Protocol):
    """Says what the case wants, then closes; what follows the head may wait until it is asked for."""

    def __init__(self, plane: Plane) -> None:
        self._plane: Any = plane
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if read_strictly(self._buffer) is None:
            return
        answer, in_pieces = self._plane.says
        self._transport.write(answer.head if in_pieces else answer.head + answer.rest)
        self._plane.go_on = self._go_on if in_pieces else None
        if not in_pieces:
            self._transport.close()

    def _go_on(self, rest: bytes) -> None:
        self._transport.write(rest)
        self._transport.close()


async def _said(plane: Any, answer: Answer, *, in_pieces: bool) -> Wire:
    """What a client got, at the end of it."""
    wire, client = plane.connect()
    plane.says, plane.go_on = (answer, in_pieces), None
    client.data_received(ASK)
    async with asyncio.timeout(STUCK_S):
        while client.story is not None and not wire.ended:
            wire.happened.clear()
            if plane.go_on is not None and wire.written:  # the head is out
                go_on, plane.go_on = plane.go_on, None
                go_on(answer.rest)
            await wire.happened.wait()
    client.connection_lost(None)
    return wire


def _is_whole(said: bytes, *, aborted: bool) -> bool:
    """Whether a client would take it for a complete answer of 2xx: by its framing, or because the end was clean."""
    *_, last = said.split(b"HTTP/1.1 1")  # interim answers
    head, found, body = last[last.find(b"HTTP/1.1 2") :].partition(b"\r\n\r\n")
    if not found or not head.startswith(b"HTTP/1.1 2"):
        return False
    fields = head.lower().split(b"\r\n")
    lengths = [int(line[15:]) for line in fields if line.startswith(b"content-length:")]
    if lengths:
        return len(body) >= lengths[0]
    if any(line.startswith(b"transfer-encoding:") for line in fields):
        return _LAST.search(body) is not None
    return not aborted


def _may_wait(answer: Answer) -> bool:
    """Whether more comes after the head alone: not where that is wrong, or the answer's end already."""
    return (answer.good or not answer.in_head) and answer.head.endswith(b"\r\n\r\n") and b"Length: 0\r" not in answer.head


def test_there_are_hundreds_of_both_kinds() -> None:
    assert sum(not answer.good for answer in ANSWERS) > 400
    assert sum(answer.good for answer in ANSWERS) > 400


@pytest.mark.parametrize("in_pieces", [False, True], ids=["at once", "head first"])
async def test_no_malformed_answer_reaches_the_client_as_a_complete_success(tmp_path: Path, in_pieces: bool) -> None:
    wrong = []
    async with Plane(tmp_path, Limits(), Says) as plane:
        for answer in ANSWERS:
            if in_pieces and not _may_wait(answer):
                continue
            try:
                wire = await _said(plane, answer, in_pieces=in_pieces)
            except TimeoutError:
                wrong.append(f"{answer.name}: nothing came of it")
                continue
            statuses, whole = statuses_in(wire.written), _is_whole(wire.written, aborted=wire.aborted)
            if answer.good:
                fine = statuses == [200] and whole and not wire.aborted
            elif answer.in_head:
                fine = statuses == [502] and not wire.aborted
            else:  # what breaks off is known by its end alone: its head may be out
                fine = statuses in ([200], [502]) and not whole and wire.aborted == (statuses == [200])
            if not fine:
                came = f"{statuses}, {wire.written[-80:]!r}, aborted {wire.aborted}"
                wrong.append(f"{answer.name}: {(answer.head + answer.rest)[:100]!r} gave {came}")
    assert not wrong, f"{len(wrong)}, the first: " + "\n".join(wrong[:30])
