"""The supervisor with real processes that play the children: deaths, queues, words, the order of a stop."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.deadline import wait_for

ROOT = Path(__file__).parents[2]


class Running:
    """A supervisor process over fake children."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.run_supervisor", str(folder), str(workers)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def child(self, name: str) -> dict[str, object]:
        return json.loads((self.folder / "run" / "supervisor.json").read_text())["children"].get(name, {})

    def pid(self, name: str) -> int:
        return int(str(self.child(name)["pid"]))

    def kill(self, name: str) -> int:
        before = self.pid(name)
        os.kill(before, signal.SIGKILL)
        return before

    def answer(self) -> str:
        with socket.create_connection(("127.0.0.1", self.port), timeout=15) as client:
            return client.makefile().readline().strip()

    def words(self) -> list[str]:
        heard = self.folder / "words"
        return [" ".join(line.split()[:2]) for line in heard.read_text().splitlines()] if heard.exists() else []


Start = Callable[[int], Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Running] = []

    def run(workers: int) -> Running:
        started.append(Running(tmp_path, workers))
        return started[-1]

    yield run
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate(timeout=20)
        for seen in tmp_path.glob("*.[0-9]*"):
            pid = int(seen.suffix[1:])
            wait_for(lambda pid=pid: not _lives(pid), what=f"the end of {seen.name}")


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_a_killed_worker_starts_again_and_no_queued_client_is_lost(start: Start) -> None:
    running = start(1)
    before = running.kill("worker-0")
    assert running.answer() == "worker-0"
    wait_for(lambda: running.child("worker-0")["ready"] and running.pid("worker-0") != before, what="a new worker")
    assert running.child("worker-0")["deaths"] == 1


def test_the_queue_of_a_worker_that_does_not_come_back_goes_to_a_living_one(start: Start, tmp_path: Path) -> None:
    running = start(2)
    (tmp_path / "break-worker-0").touch()
    running.kill("worker-0")
    assert {running.answer() for _ in range(30)} == {"worker-1"}
    wait_for(lambda: running.child("worker-0")["queue_served_by"] == ["worker-1"], what="its queue at the other worker")
    (tmp_path / "break-worker-0").unlink()
    wait_for(lambda: running.child("worker-0")["ready"], what="worker-0 back")
    wait_for(lambda: {running.answer() for _ in range(10)} == {"worker-0", "worker-1"}, what="both workers answering")


def test_five_deaths_in_a_minute_are_noted(start: Start, tmp_path: Path) -> None:
    running = start(2)
    (tmp_path / "break-worker-1").touch()
    running.kill("worker-1")
    status = tmp_path / "run" / "supervisor.json"
    wait_for(lambda: json.loads(status.read_text())["flapping"] == ["worker-1"], what="a note that worker-1 flaps")


def test_a_stop_goes_in_order_and_is_clean(start: Start) -> None:
    running = start(2)
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(timeout=20) == 0
    words = running.words()
    assert sorted(words[:2]) == ["worker-0 drain", "worker-1 drain"]
    assert words[2:] == ["courier drain", "controller drain"]


def test_a_worker_that_does_not_drain_is_killed_and_the_stop_goes_on(start: Start, tmp_path: Path) -> None:
    (tmp_path / "deaf-worker-0").touch()
    running = start(1)
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(timeout=20) == 0
    assert running.words() == ["worker-0 drain", "courier drain", "controller drain"]


def test_a_second_interrupt_stops_now(start: Start, tmp_path: Path) -> None:
    for name in ("worker-0", "courier", "controller"):
        (tmp_path / f"deaf-{name}").touch()
    running = start(1)
    running.process.send_signal(signal.SIGINT)
    wait_for(running.words, what="the first word of the stop")
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(timeout=5) == 130


def test_children_of_a_killed_supervisor_end_by_themselves(start: Start) -> None:
    running = start(2)
    running.process.kill()
    running.process.wait(timeout=20)
    wait_for(lambda: len(running.words()) == 4, what="four children that saw the end of the control socket")
    assert {word.split()[1] for word in running.words()} == {"EOF"}


def test_a_hangup_asks_courier_and_controller_to_reload(start: Start) -> None:
    running = start(1)
    running.process.send_signal(signal.SIGHUP)
    wait_for(lambda: len(running.words()) >= 2, what="two words")
    assert sorted(running.words()) == ["controller reload", "courier reload"]
