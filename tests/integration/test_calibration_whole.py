"""Calibration through real processes: a journal, a courier, a controller and Postgres; its word on every way out."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from canary.cli.main import canary
from canary.store.frames import Tick
from canary.store.journal import JournalWriter
from canary.terms import AssignedBy
from tests.support.deadline import wait_for
from tests.support.frames import a_live, a_side, write
from tests.support.serving import free_ports

REQUESTS = 1_000
"""Of a round here; 200,000 by default."""

PATIENCE_S = 120.0  # seconds usually; the machine may have other work
FILE = """\
listen: 127.0.0.1:1
admin: {{listen: 127.0.0.1:{admin}}}
routes:
  chat:
    versions: {{v1: {{upstream: "http://127.0.0.1:9"}}}}
    stable: v1
"""


class Town:
    """The processes, and answers of stable that a worker would have written down."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.state = folder, folder / "state"
        (admin,) = free_ports(1)
        self.admin = f"127.0.0.1:{admin}"
        file = folder / "canary.yaml"
        file.write_text(FILE.format(admin=admin))
        self.state.mkdir(mode=0o700)
        self._env = {**os.environ, "CANARY_DATABASE_URL": url}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._start("run_whole_controller", str(file), str(self.state), self.admin, str(REQUESTS))
        self._start("run_courier", str(self.state))
        self.writer = JournalWriter.create(self.state / "journal")

    def _start(self, module: str, *arguments: str) -> None:
        with (self.folder / f"{module}.log").open("wb") as log:
            command = [sys.executable, "-m", f"tests.support.{module}", *arguments]
            self._processes.append(subprocess.Popen(command, env=self._env, stdout=log, stderr=log))

    def answer(self, count: int) -> None:
        """So many answers of stable, 20 ms each, that no coin assigned."""
        usual: dict[str, Any] = {"segment": 0, "assigned_by": AssignedBy.DEFAULT, "mirror": "", "side": a_side()}
        now_us = self.writer.now_us()
        write(self.writer, *[a_live(os.urandom(16), start_at_us=now_us, **usual) for _ in range(count)])
        write(self.writer, Tick(at_us=self.writer.now_us(), snapshot_revision=1))

    def asked(self, path: str) -> str:
        """What the admin port answers; empty while it does not."""
        try:
            with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    def calibration(self) -> dict[str, Any]:
        """As the API tells it."""
        found: dict[str, Any] = json.loads(self.asked("/api/v1/calibration") or "{}")
        return found

    def close(self) -> None:
        """Ends everything."""
        self.writer.close()
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def town(tmp_path: Path, database_url: str) -> Iterator[Town]:
    made = Town(tmp_path, database_url)
    yield made
    made.close()


@pytest.mark.timeout(3 * PATIENCE_S)
def test_a_round_ends_and_its_word_is_served(town: Town) -> None:
    wait_for((town.state / "snapshot.json").exists, PATIENCE_S, what="the plan at the courier")
    town.answer(2_500)  # a profile to freeze
    begun = wait_for(lambda: town.calibration().get("open"), PATIENCE_S, what="an open round")
    assert [one["route"] for one in begun] == ["chat"]

    def ended() -> list[dict[str, Any]]:
        town.answer(100)
        found: list[dict[str, Any]] = town.calibration()["rounds"]
        return found

    (one,) = wait_for(ended, PATIENCE_S, what="the round's end")
    assert (one["route"], one["alarmed"]) == ("chat", False)
    assert one["requests"] >= REQUESTS
    summary = town.calibration()["summary"]
    assert (summary["rounds"], summary["alarms"], summary["requests"]) == (1, 0, one["requests"])
    assert 'canary_calibration_rounds{alarmed="false",route="chat"} 1.0' in town.asked("/metrics")
    typed = CliRunner().invoke(canary, ["calibration"], env={"CANARY_ADMIN": f"http://{town.admin}"}, standalone_mode=False)
    assert typed.output.startswith("0 false alarms in 1 rounds: 0.0%")
    assert json.loads(town.asked("/api/v1/rollouts"))["rollouts"] == []
    following = wait_for(lambda: town.calibration().get("open"), PATIENCE_S, what="the next round")
    assert following[0]["id"] != one["id"]
