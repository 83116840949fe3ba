"""Killed without warning under load: every answer that a client has whole stands in the journal exactly once."""

import threading
from collections import Counter
from pathlib import Path

from canary.store.frames import Live, Open, Pair
from tests.support.deadline import wait_for
from tests.support.http_client import Client, Cut
from tests.support.upstreams import OK, Upstream, answering
from tests.support.worker_process import WorkerProcess, a_route, a_snapshot, a_split, a_version, journal_frames


def test_kills_under_load_lose_and_double_nothing(tmp_path: Path) -> None:
    whole: list[bytes] = []
    with Upstream(answering(OK)) as stable, Upstream(answering(OK)) as candidate:
        split = a_split(weight_bp=2_000, shadow_bp=10_000)
        snapshot = a_snapshot(a_route(a_version("v1", stable.port), a_version("v2", candidate.port), split=split))
        for _ in range(3):
            before = len(whole)
            with WorkerProcess(tmp_path, snapshot) as worker:
                clients = [threading.Thread(target=_load, args=(worker.port, whole)) for _ in range(4)]
                for client in clients:
                    client.start()
                wait_for(lambda before=before: len(whole) > before + 200)
                worker.process.kill()
                worker.listening.close()
                for client in clients:
                    client.join()
    frames = journal_frames(tmp_path)
    lives = Counter(frame.exchange_id for frame in frames if isinstance(frame, Live))
    opens = Counter(frame.exchange_id for frame in frames if isinstance(frame, Open))
    pairs = Counter(frame.live.exchange_id for frame in frames if isinstance(frame, Pair))
    assert len(whole) > 600
    assert all(lives[one] == 1 for one in whole)
    assert max((lives | opens | pairs).values()) == 1
    assert set(lives) <= set(opens)
    assert set(pairs) <= set(lives)


def _load(port: int, whole: list[bytes]) -> None:
    try:
        with Client(port) as client:
            while True:
                whole.append(bytes.fromhex(client.ask("GET").value("x-canary-id")))
    except (Cut, OSError):
        pass
