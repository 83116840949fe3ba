"""What a sick shadow costs the client, in interleaved runs: the bound tells harm from noise, the figure is the bench's."""

import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from canary.split.spec import Deadlines
from tests.support.http_client import Client
from tests.support.upstreams import OK, Link, Upstream, a_closed_port, answering
from tests.support.worker_process import WorkerProcess, a_route, a_snapshot, a_split, a_version

ROUNDS = 5
ASKED = 60
SHADOW_ANSWERS_AFTER = Deadlines(connect_s=2.0, answer_s=5.0, idle_s=5.0)


def _stall(link: Link) -> None:
    link.request()
    link.wait_closed()


def _round_s(port: int) -> float:
    """The median time of a request in one run."""
    times = []
    with Client(port) as client:
        for _ in range(ASKED):
            began = time.monotonic()
            assert client.ask("GET").status == 200
            times.append(time.monotonic() - began)
    return median(times)


def test_a_stalled_or_dead_shadow_costs_the_client_next_to_nothing(tmp_path: Path) -> None:
    times: dict[str, list[float]] = {"healthy": [], "stalled": [], "dead": []}
    with Upstream(answering(OK)) as stable, Upstream(answering(OK)) as well, Upstream(_stall) as stalled, ExitStack() as stack:
        workers = {}
        for name, port in (("healthy", well.port), ("stalled", stalled.port), ("dead", a_closed_port())):
            versions = (a_version("v1", stable.port), a_version("v2", port))
            route = a_route(*versions, split=a_split(shadow_bp=10_000), deadlines=SHADOW_ANSWERS_AFTER)
            workers[name] = stack.enter_context(WorkerProcess(tmp_path / name, a_snapshot(route)))
        for _ in range(ROUNDS):
            for name, worker in workers.items():
                times[name].append(_round_s(worker.port))
    healthy_s = median(times["healthy"])
    for name in ("stalled", "dead"):
        # a client that waited for its copy even once in a while would wait seconds
        assert median(times[name]) <= 3 * healthy_s + 0.02, (name, times)
