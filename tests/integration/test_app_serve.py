"""`canary serve` end to end: real processes, real sockets, an embedded Postgres."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deadline import wait_for
from tests.support.serving import Serving

pytestmark = pytest.mark.timeout(300)  # several starts of everything, on machines that have other work


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("two"), workers=2) as serving:
        yield serving


def _last_candidate_answer_s(serving: Serving) -> float:
    """Seconds from now until the candidate's last answer, as seen by 60 requests in a row on connections of their own."""
    begin, last, in_a_row = time.monotonic(), 0.0, 0
    while in_a_row < 60:
        asked = time.monotonic()
        if serving.ask()[1] == "v2":
            last, in_a_row = asked - begin, 0
        else:
            in_a_row += 1
        assert asked - begin < 30, "the candidate goes on answering"
    return last


def test_a_rollback_order_changes_what_the_next_request_gets_within_a_second(two_workers: Serving) -> None:
    serving = two_workers
    assert serving.ask("/hello") == (200, "v1")
    rollout = serving.begin_rollout()
    serving.wait_for_phase(rollout, "canarying")
    wait_for(lambda: {serving.ask()[1] for _ in range(40)} == {"v1", "v2"}, 20, what="both versions answering")
    status, found = serving.api("POST", f"/api/v1/rollouts/{rollout}/rollback", {"reason": "enough"})
    assert (status, found["phase"]) == (200, "rolled_back")
    late_s = _last_candidate_answer_s(serving)
    assert late_s < 1.0
    _, log = serving.api("GET", f"/api/v1/rollouts/{rollout}/decisions")
    assert "enough" in log["decisions"][0]["decision"]["because"]


def test_a_killed_worker_and_a_killed_postgres_come_back(two_workers: Serving) -> None:
    serving = two_workers
    before = serving.children()["worker-0"]["pid"]
    os.kill(before, signal.SIGKILL)
    assert [serving.ask()[0] for _ in range(20)] == [200] * 20, "no client sees the death of a worker"
    wait_for(
        lambda: serving.children()["worker-0"]["ready"] and serving.children()["worker-0"]["pid"] != before,
        30,
        what="a new worker",
    )
    postmaster = next((serving.folder / "state").glob("pg*/postmaster.pid"))
    os.kill(int(postmaster.read_text().splitlines()[0]), signal.SIGKILL)
    assert serving.ask()[0] == 200
    wait_for(lambda: serving.api("GET", "/api/v1/routes")[0] == 200, 60, what="the database back")


def test_a_stop_waits_for_the_answer_under_way_and_leaves_nothing_running(tmp_path: Path) -> None:
    with Serving(tmp_path) as serving:
        pids = [child["pid"] for child in serving.children().values()]
        serving.v1.hold = True
        got: list[tuple[int, str]] = []
        asking = threading.Thread(target=lambda: got.append(serving.ask(timeout=60)))
        asking.start()
        assert serving.v1.begun.wait(20)
        assert serving.process is not None
        serving.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "worker drains" in serving.log.read_text(), 20, what="the drain")
        with pytest.raises(ConnectionRefusedError):  # not left waiting for somebody who never comes
            serving.ask(timeout=20)
        serving.v1.release.set()
        asking.join(30)
        assert got == [(200, "v1")]
        assert serving.process.wait(timeout=60) == 0
        assert not [pid for pid in pids if _runs(pid)]
        assert not _postgres(tmp_path)


@pytest.mark.parametrize("words", [("serve",), ("db", "up")])
def test_a_stop_in_the_middle_of_the_start_leaves_no_postgres_running(tmp_path: Path, words: tuple[str, ...]) -> None:
    serving = Serving(tmp_path)
    try:
        process = serving.launch(*words)
        wait_for(lambda: _postgres(tmp_path), 60, what="a Postgres that starts")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) in {143, 0}, "0 where it was up already"
        assert not _postgres(tmp_path)
    finally:
        serving.close()


def test_a_database_that_runs_alone_stops_with_its_command(tmp_path: Path) -> None:
    serving = Serving(tmp_path)
    try:
        process = serving.launch("db", "up")
        wait_for(lambda: "Postgres runs" in serving.told.read_text(), 60, what="the word that it runs")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert not _postgres(tmp_path)
    finally:
        serving.close()


def _postgres(folder: Path) -> list[Path]:
    return list((folder / "state").glob("pg*/postmaster.pid"))


def test_a_killed_supervisor_leaves_nothing_running_and_the_next_start_serves(tmp_path: Path) -> None:
    with Serving(tmp_path, workers=2) as serving:
        pids = [child["pid"] for child in serving.children().values()]
        assert serving.process is not None
        serving.process.kill()
        wait_for(lambda: not [pid for pid in pids if _runs(pid)], 40, what="the end of all children")
        wait_for(lambda: not _postgres(tmp_path), 30, what="the end of Postgres")
        serving.process.wait(20)
        serving.start()
        assert serving.ask() == (200, "v1")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_file_that_did_not_change_does_not_undo_a_promotion(tmp_path: Path) -> None:
    with Serving(tmp_path) as serving:
        rollout = serving.begin_rollout()
        serving.wait_for_phase(rollout, "canarying")
        status, _ = serving.api("POST", f"/api/v1/rollouts/{rollout}/promote", {"reason": "good", "full": True})
        assert status == 200
        wait_for(lambda: serving.ask()[1] == "v2", 20, what="v2 in charge")
        assert serving.process is not None
        serving.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "configuration read again" in serving.log.read_text(), 20, what="the reload")
        assert {serving.ask()[1] for _ in range(20)} == {"v2"}
        status, found = serving.api("POST", "/-/reload?dry_run=1")
        assert (status, found["changed"]) == (200, False)
        assert found["notes"], "it says that the file's stable is not in charge"
        assert serving.stop() == 0
        serving.start()
        assert "main: / -> v2" in serving.said
        assert {serving.ask()[1] for _ in range(20)} == {"v2"}


def test_a_broken_file_keeps_the_old_one_and_says_why(tmp_path: Path) -> None:
    with Serving(tmp_path) as serving:
        serving.write_config(stable="v9")
        status, found = serving.api("POST", "/-/reload")
        assert status == 400
        assert "canary.yaml:" in found["errors"][0]
        assert "v9" in found["detail"]
        wait_for(lambda: "the configuration stays as it is" in serving.log.read_text(), 20, what="the word in the log")
        assert serving.ask() == (200, "v1")
        serving.write_config(stable="v2")
        wait_for(lambda: serving.ask() == (200, "v2"), 20, what="the changed file in force, without being asked")
