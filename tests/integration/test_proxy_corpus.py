"""Thousands of odd requests through the data plane: each has its word, and what arrives upstream is read strictly."""

import random
import socket
from pathlib import Path

import pytest
from httptools import HttpParserError

from canary.split.spec import Limits
from tests.support.data_plane import Plane, Said, statuses_in
from tests.support.request_corpus import BODY_BYTES, BUFFERED, FIELDS, HEAD_BYTES, Case
from tests.support.request_corpus_fields import corpus
from tests.support.strict_reader import NotCanonical, read_strictly
from tests.support.upstreams import OK, Upstream, answering
from tests.support.worker_process import WorkerProcess, a_route, a_snapshot, a_version

LIMITS = Limits(head_bytes=HEAD_BYTES, headers=FIELDS, body_bytes=BODY_BYTES, buffered_body_bytes=BUFFERED)
CORPUS = corpus()
SPICE = (b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b":", b",", b";", b"0", b"\xff", b"GET / HTTP/1.1\r\n", b"Host: b\r\n")
SPICE += (
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 1\r\n",
    b"Connection: close\r\n",
    b"Upgrade: x\r\n",
    b"Expect: y\r\n",
)
MUTANTS = 12_000


def _wrong(case: Case, said: Said) -> str:
    """What is wrong with what came of a case; empty where it is as it must be."""
    refused = case.refused and said.statuses and said.statuses[-1] in case.refused
    forwarded = not case.refused and said.statuses == [200] * case.forwarded
    as_told = refused and len(said.arrived) == len(said.statuses) - 1
    whole = forwarded and len(said.arrived) == case.forwarded
    if whole and case.body is not None and said.arrived[0].body != case.body:
        return f"{case.name}: arrived with the body {said.arrived[0].body[:40]!r}"
    if as_told or whole:
        return ""
    want = sorted(case.refused) or "forwarded"
    return f"{case.name}: {case.data[:120]!r} must be {want}, was {said.statuses}, {len(said.arrived)} arrived"


def test_the_corpus_has_thousands_of_both_kinds() -> None:
    data = {case.data for case in CORPUS}
    assert len(data) > 10_000
    assert sum(not case.refused for case in CORPUS) > 2_500
    assert sum(bool(case.refused) for case in CORPUS) > 6_000


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "in pieces"])
async def test_every_odd_request_has_its_word_and_none_arrives_in_another_form(tmp_path: Path, cut: bool) -> None:
    chance = random.Random(20)
    cases = CORPUS
    if cut:  # of blank lines before a request one is forgiven, and in pieces each one is the first
        cases = chance.sample([case for case in CORPUS if not case.data.startswith(b"\r\n\r\n")], 10_000)
    wrong: list[str] = []
    async with Plane(tmp_path, LIMITS) as plane:
        for case in cases:
            pieces = [case.data]
            if cut:
                at = sorted(chance.randrange(len(case.data) + 1) for _ in range(2))
                pieces = [case.data[: at[0]], case.data[at[0] : at[1]], case.data[at[1] :]]
            try:
                if reason := _wrong(case, await plane.send(*[piece for piece in pieces if piece])):
                    wrong.append(reason)
            except (HttpParserError, TimeoutError, LookupError, ValueError, AssertionError) as error:  # a finding like others
                wrong.append(f"{case.name}: {error!r}")
        wrong += plane.bad
    assert not wrong, f"{len(wrong)}, the first: " + "\n".join(wrong[:20])


async def test_whatever_mutants_do_only_canonical_requests_arrive(tmp_path: Path) -> None:
    """Bytes removed, doubled, swapped, spliced: nothing else arrives, nothing stumbles, and the next one is served."""
    chance = random.Random(9)
    seeds = [case.data for case in CORPUS if len(case.data) < 400 and (not case.refused or chance.random() < 0.1)]
    async with Plane(tmp_path, LIMITS) as plane:
        for number in range(MUTANTS):
            await plane.send(_mutant(chance, seeds))
            if not number % 50:
                assert (await plane.send(seeds[0])).statuses == [200]
        assert not plane.bad, plane.bad[:5]
        assert len(plane.arrived) > MUTANTS // 10, "some are forwarded"


def _mutant(chance: random.Random, seeds: list[bytes]) -> bytes:
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0:
                data[at : at + chance.randint(1, 4)] = b""
            case 1:
                data[at:at] = chance.choice(SPICE)
            case 2:
                data[at : at + 1] = bytes((chance.randrange(256),))
            case 3:
                data[at : at + 1] = bytes((chance.choice(b"abz019-:/, "),))
            case 4:
                data[at:at] = data[at : at + chance.randint(1, 40)]
            case _:
                other = chance.choice(seeds)
                data[at:] = other[chance.randrange(len(other)) :]
    return bytes(data) or b"x"


def test_a_sample_has_the_same_word_over_real_sockets(tmp_path: Path) -> None:
    sample = random.Random(3).sample([case for case in CORPUS if b"HEAD" not in case.data], 250)
    with Upstream(answering(OK)) as upstream:
        snapshot = a_snapshot(a_route(a_version("v1", upstream.port)), limits=LIMITS)
        with WorkerProcess(tmp_path, snapshot) as worker:
            wrong = [reason for case in sample if (reason := _over_a_socket(case, worker.port))]
            assert not wrong, "\n".join(wrong[:20])
            for received in upstream.whole:
                assert read_strictly(received.head + received.raw_body) is not None


def _over_a_socket(case: Case, port: int) -> str:
    said, statuses = b"", list[int]()
    with socket.create_connection(("127.0.0.1", port), timeout=15) as client:
        client.sendall(case.data)
        while (case.refused or len(statuses) < case.forwarded) and (data := client.recv(65_536)):
            said += data
            statuses = statuses_in(said)
    good = statuses and (statuses[-1] in case.refused if case.refused else statuses == [200] * case.forwarded)
    return "" if good else f"{case.name}: {case.data[:120]!r}: {statuses}"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: y\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX:y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y \r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nKeep-Alive: 5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 02\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n02\r\nab\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
    ],
)
def test_the_strict_reader_takes_nothing_but_the_canonical_form(data: bytes) -> None:
    with pytest.raises(NotCanonical):
        read_strictly(data)
