"""`canary serve` whose canary nobody can judge any more: Postgres killed, the courier too, the leader stopped."""

import contextlib
import http.client
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from canary.courier.blind import Unjudged
from canary.store.embedded import EmbeddedPostgres, read_pid_file
from canary.store.overlay import OverlayOrder, read_overlay
from tests.support.deadline import wait_for
from tests.support.postgres import FAST
from tests.support.serving import CONFIG, Serving

pytestmark = pytest.mark.timeout(300)  # whole processes, on machines that have other work

BLIND = CONFIG.replace("sidecar: {{listen: 127.0.0.1:{sidecar}}}", "sidecar: {{listen: 127.0.0.1:{sidecar}, blind_after: 8s}}")
BOTH = {(200, "v1"), (200, "v2")}


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server of the test's own, which nobody starts again."""
    with EmbeddedPostgres(tmp_path / "elsewhere", settings=FAST) as server:
        yield server


@contextlib.contextmanager
def _canarying(folder: Path, server: EmbeddedPostgres) -> Iterator[tuple[Serving, str]]:
    """Half of the traffic goes to v2."""
    from canary.store.migrate import upgrade

    url = server.url_of("postgres")
    upgrade(url)
    serving = Serving(folder, env={"CANARY_DATABASE_URL": url})
    serving.write_config(text=BLIND)
    with serving:
        rollout = serving.begin_rollout()
        serving.wait_for_phase(rollout, "canarying")
        wait_for(lambda: {serving.ask() for _ in range(10)} == BOTH, 30, what="traffic on both versions")
        assert "blind" not in _ready(serving)[1]
        yield serving, rollout


def _ready(serving: Serving) -> tuple[int, str]:
    return _of_sidecar(serving, "/readyz")


def _of_sidecar(serving: Serving, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", serving.sidecar, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def _order(serving: Serving) -> OverlayOrder | None:
    return read_overlay(serving.folder / "state" / "overlay.json").routes.get("main")


def _unjudged(serving: Serving) -> Unjudged:
    try:
        return msgspec.json.decode((serving.folder / "state" / "blind.json").read_bytes(), type=Unjudged)
    except FileNotFoundError:
        return Unjudged()


def _kill_postgres(server: EmbeddedPostgres, folder: Path) -> None:
    found = next(pid for path in folder.glob("pg[0-9]*") if (pid := read_pid_file(path)) is not None)
    os.kill(found.pid, signal.SIGKILL)


def test_without_postgres_the_canary_goes_to_stable_and_a_restart_does_not_wind_the_clock_back(
    tmp_path: Path, postgres: EmbeddedPostgres
) -> None:
    with _canarying(tmp_path, postgres) as (serving, rollout):
        _kill_postgres(postgres, tmp_path / "elsewhere")
        before = wait_for(lambda: kept if (kept := _unjudged(serving)).uncommitted_s > 3 else None, 30, what="some blindness")
        assert {serving.ask() for _ in range(20)} == BOTH, "not yet"
        courier = serving.children()["courier"]["pid"]
        os.kill(courier, signal.SIGKILL)
        wait_for(lambda: serving.children()["courier"]["pid"] != courier, 30, what="another courier")
        wait_for(lambda: _unjudged(serving).at_s > before.at_s, 30, what="its word")
        assert _unjudged(serving).uncommitted_s >= before.uncommitted_s
        order = wait_for(lambda: _order(serving), 30, what="the order")
        assert (order.actor, order.rollout) == ("sidecar", rollout)
        wait_for(lambda: {serving.ask() for _ in range(20)} == {(200, "v1")}, 10, what="stable alone")
        status, said = _ready(serving)
        assert status == 200
        assert "main: stable alone here since" in said
        assert "\ncanary_blind_orders_total 1\n" in _of_sidecar(serving, "/metrics")[1]
        assert "nobody could judge the canary" in serving.log.read_text()
        postgres.start()
        found = serving.wait_for_phase(rollout, "rolled_back")
        assert "went to stable by itself" in found["because"]
        wait_for(lambda: _order(serving) is None, 30, what="the order's end")


def test_without_a_leader_the_canary_goes_to_stable_though_the_database_is_there(
    tmp_path: Path, postgres: EmbeddedPostgres
) -> None:
    with _canarying(tmp_path, postgres) as (serving, rollout):
        controller = serving.children()["controller"]["pid"]
        os.kill(controller, signal.SIGSTOP)
        try:
            wait_for(lambda: _order(serving) is not None or _unjudged(serving).unled_s > 3, 40, what="no leader")
            wait_for(lambda: {serving.ask() for _ in range(20)} == {(200, "v1")}, 40, what="stable alone")
            assert "no leader was heard of" in serving.log.read_text()
        finally:
            os.kill(controller, signal.SIGCONT)
        found = serving.wait_for_phase(rollout, "rolled_back")
        assert "went to stable by itself" in found["because"]
        assert "no leader was heard of" in found["because"]
