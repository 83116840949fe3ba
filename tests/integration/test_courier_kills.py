"""kill -9 of writers and couriers at any moment: every whole answer has one row, every open frame has one row."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from canary.store.database import Database
from canary.store.frames import Live, Open
from canary.store.plans import PostgresPlans
from canary.store.spool import journals
from tests.support.courier import a_route
from tests.support.deadline import wait_for, wait_for_answer
from tests.support.frames import read_all
from tests.support.store_rows import a_config

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def _process(module: str, *arguments: Path, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    environment = {**os.environ, **(env or {})}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def _ids(answered: Path) -> list[bytes]:
    data = answered.read_bytes() if answered.exists() else b""
    return [data[i : i + 16] for i in range(0, len(data) // 16 * 16, 16)]


def _answers(answered: Path, more: int) -> None:
    """Waits until so many more answers were given."""
    have = len(_ids(answered))
    wait_for(lambda: len(_ids(answered)) >= have + more, 30, what=f"{more} more answers")


def test_no_answer_that_a_client_has_is_lost_when_its_worker_is_killed(tmp_path: Path) -> None:
    root, answered = tmp_path / "journal", tmp_path / "answered"
    for _ in range(3):
        with _process("tests.support.frames", root, answered) as writer:
            _answers(answered, 200)
            os.kill(writer.pid, signal.SIGKILL)
            writer.wait(10)
    seen: set[bytes] = set()
    for journal in journals(root):
        assert journal.is_dead()
        frames, bad, finished = read_all(journal)
        assert (bad, finished) == ([], True)
        seen |= {frame.exchange_id for frame in frames if isinstance(frame, Live)}
    assert len(journals(root)) == 3
    assert set(_ids(answered)) <= seen


async def _grows(recorded: Callable[[], Awaitable[int]], by: int) -> None:
    """Waits until so many more rows are committed."""
    wanted = await recorded() + by

    async def enough() -> bool:
        return await recorded() >= wanted

    await wait_for_answer(enough, 60, what=f"{by} more rows")


@pytest.mark.timeout(400)
async def test_exactly_one_row_each_under_kills_of_couriers_and_writers(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    await PostgresPlans(database).publish(a_config(a_route()), by="ada")
    root, answered = tmp_path / "journal", tmp_path / "answered"
    env = {"CANARY_DATABASE_URL": database_url}

    async def recorded() -> int:
        return int((await database.rows("SELECT count(*) FROM outcomes"))[0][0])

    with contextlib.ExitStack() as open_writers:
        writer = open_writers.enter_context(_process("tests.support.frames", root, answered))
        for round_ in range(6):
            with _process("tests.support.run_courier", tmp_path, env=env) as courier:
                await _grows(recorded, 40 * (1 + round_ % 3))
                if round_ % 3 == 2:
                    writer.kill()
                    writer.wait(10)
                    writer = open_writers.enter_context(_process("tests.support.frames", root, answered))
                    _answers(answered, 50)
                courier.kill()
                courier.wait(10)
    promised = set(_ids(answered))
    with _process("tests.support.run_courier", tmp_path, env=env):
        wait_for(lambda: not journals(root), 60, what="all journals to be carried to their ends")
    rows = await database.rows("SELECT exchange_id, ending FROM outcomes")
    ids = [row[0].bytes if hasattr(row[0], "bytes") else bytes(row[0]) for row in rows]
    assert len(ids) == len(set(ids))
    assert promised <= set(ids)
    assert len(ids) - len(promised) <= 3  # written, and killed before the note; or open when killed
    copies = await database.rows("SELECT count(*), count(DISTINCT exchange_id) FROM pairs")
    sent = await database.rows("SELECT count(*) FROM outcomes WHERE mirror <> ''")
    assert copies == [(sent[0][0], sent[0][0])]
    assert await database.rows("SELECT DISTINCT dead FROM journals") == [(True,)]


def test_open_frames_of_a_killed_worker_are_all_there(tmp_path: Path) -> None:
    root, answered = tmp_path / "journal", tmp_path / "answered"
    with _process("tests.support.frames", root, answered) as writer:
        _answers(answered, 150)
        writer.kill()
        writer.wait(10)
    (journal,) = journals(root)
    frames = read_all(journal)[0]
    opens = [frame.exchange_id for frame in frames if isinstance(frame, Open)]
    lives = [frame.exchange_id for frame in frames if isinstance(frame, Live)]
    assert set(lives) <= set(opens)
    assert len(set(opens)) - len(set(lives)) <= 1
