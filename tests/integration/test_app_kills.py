"""`canary serve` under load, its processes killed without warning: what clients have whole is stored, and stored once."""

import http.client
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from canary.stats.cells import METRIC_SHIFT, START, from_bytes
from canary.store.embedded import EmbeddedPostgres
from tests.support.deadline import wait_for
from tests.support.serving import CONFIG, Serving

pytestmark = pytest.mark.timeout(400)

SHADOWED = CONFIG.replace("share: 0%", "share: 100%, min_pairs: 10").replace("stages: [", "warm_up: 0s\n    stages: [")
ROUNDS = ("courier", "worker-0", "postgres", "all")
CLIENTS = 3
WHOLE_A_ROUND = 150


class Load:
    """Clients that ask one request after the other and note the ids of the answers that they have whole."""

    def __init__(self, port: int) -> None:
        self.whole: list[str] = []
        self._port = port
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        while not self._over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            try:
                while not self._over.is_set():
                    connection.request("GET", "/x")
                    answer = connection.getresponse()
                    answer.read()
                    self.whole.append(answer.headers["x-canary-id"])
            except (OSError, http.client.HTTPException):
                pass  # its worker was killed: no whole answer, nothing noted
            finally:
                connection.close()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def kill(serving: Serving, what: str) -> None:
    """kill -9 of one process, or of all three at once."""
    postmaster = next((serving.folder / "state").glob("pg*/postmaster.pid"))
    pids = {
        "courier": serving.children()["courier"]["pid"],
        "worker-0": serving.children()["worker-0"]["pid"],
        "postgres": int(postmaster.read_text().splitlines()[0]),
    }
    for pid in pids.values() if what == "all" else (pids[what],):
        os.kill(pid, signal.SIGKILL)


def stored(server: EmbeddedPostgres) -> Callable[[str], list[tuple[int, ...]]]:
    """A question to the embedded database; empty while it is away."""

    def ask(statement: str) -> list[tuple[int, ...]]:
        try:
            with psycopg.connect(server.url, connect_timeout=5) as connection:
                return list(connection.execute(statement).fetchall())  # type: ignore[call-overload]
        except psycopg.OperationalError:
            return []

    return ask


def opens_counted(rows: list[tuple[int, ...]]) -> int:
    """Open frames that were folded: each increments one cell of this kind once."""
    cells = [from_bytes(bytes(row[0])) for row in rows]  # type: ignore[call-overload]
    return sum(count for row in cells for key, count in row.items() if key >> METRIC_SHIFT == START)


def test_kills_of_courier_worker_and_postgres_lose_and_double_nothing(tmp_path: Path) -> None:
    serving = Serving(tmp_path)
    serving.write_config(text=SHADOWED)
    with serving:
        rollout = serving.begin_rollout()
        serving.wait_for_phase(rollout, "shadowing")
        assert serving.api("POST", f"/api/v1/rollouts/{rollout}/promote", {"reason": "both lanes are wanted"})[0] == 200
        serving.wait_for_phase(rollout, "canarying")
        server = EmbeddedPostgres(tmp_path / "state")
        server.start()  # joins the running one
        ask = stored(server)
        load = Load(serving.data)
        try:
            for what in ROUNDS:
                before = len(load.whole)
                wait_for(lambda before=before: len(load.whole) > before + WHOLE_A_ROUND, 60, what="load before a kill")
                kill(serving, what)
                wait_for(lambda before=before: len(load.whole) > before + 2 * WHOLE_A_ROUND, 60, what="load after a kill")
            load.stop()
            ids = "select replace(exchange_id::text, '-', '') from outcomes"
            wait_for(lambda: set(load.whole) <= {str(row[0]) for row in ask(ids)}, 60, what="a row for each whole answer")
            # a dead worker's open exchanges become rows too: then each open frame that was counted has its row
            scored = f"select count(*) from outcomes where rollout = '{rollout}'"
            cells = f"select cells from counters where rollout = '{rollout}'"
            wait_for(lambda: ask(scored)[0][0] == opens_counted(ask(cells)), 60, what="one row for each open frame")
            assert ask("select count(*) - count(distinct exchange_id) from outcomes") == [(0,)]
            assert ask("select count(*) - count(distinct exchange_id) from pairs") == [(0,)]
            sent = "select count(*) from outcomes where mirror is not null and mirror <> ''"
            pairs = "select count(*) from pairs"
            wait_for(lambda: ask(sent) == ask(pairs), 60, what="one pair for each copy that was sent")
        finally:
            load.stop()
            server.stop()
    assert len(load.whole) == len(set(load.whole)) > 2 * WHOLE_A_ROUND * len(ROUNDS)
