"""The sidecar's port: health, metrics, local orders, and who may give them."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from canary.courier.assemble import assemble
from canary.courier.local import LocalOrders
from canary.courier.port import Port, serve
from canary.courier.roster import Roster
from canary.courier.tally import Tally
from canary.courier.workers import Workers
from canary.errors import ConfigError
from canary.observe.outcome import observe
from canary.rollout.state import RolloutState
from canary.store.overlay import read_overlay
from canary.store.snapshot import write_snapshot
from canary.telemetry.page import Page
from canary.terms import Phase
from tests.support.courier import a_plan_in_force, a_rollout
from tests.support.frames import a_live, a_side
from tests.support.rollouts import a_state

Answer = tuple[int, str]


class _Client:
    def __init__(self, session: aiohttp.ClientSession, port: int, host: str) -> None:
        self._session = session
        self.port = port
        self._base = f"http://{host}:{port}"

    async def get(self, path: str, **headers: str) -> Answer:
        async with self._session.get(self._base + path, headers=headers) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        async with self._session.post(self._base + path, json=body or {}, headers=headers) as answer:
            return answer.status, await answer.text()


@contextlib.asynccontextmanager
async def _served(
    state_dir: Path, *, token: str | None = None, tally: Tally | None = None, listen: str = "127.0.0.1:0"
) -> AsyncIterator[_Client]:
    orders = LocalOrders(state_dir, "s1")
    roster = Roster(state_dir, tally or Tally())
    port = Port(roster, orders, token=token, notes=lambda: (*orders.notes(), *roster.notes()))
    runner, number = await serve(port, listen, token=token)
    try:
        async with aiohttp.ClientSession() as session:
            yield _Client(session, number, listen.partition(":")[0])
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def _worker(state_dir: Path, revision: int = 5, number: int = 0) -> Any:
    page = Page(state_dir / "page" / f"worker-{number}.page")
    page.gauge("pid", os.getpid())
    page.gauge("snapshot_revision", revision + 1)
    page.gauge("turned_at_us", 1)
    try:
        yield page
    finally:
        page.close()


def _plan(state_dir: Path, *rollouts: RolloutState) -> None:
    snapshot = assemble(a_plan_in_force(*(rollouts or (a_rollout(),))), made_at_us=1)
    assert snapshot is not None
    write_snapshot(state_dir / "snapshot.json", snapshot)


async def test_ready_needs_a_snapshot_and_a_worker_that_follows_it_and_nothing_else(tmp_path: Path) -> None:
    async with _served(tmp_path) as client:
        assert (await client.get("/readyz"))[0] == 503
        _plan(tmp_path)
        assert await client.get("/readyz") == (503, "no worker follows a snapshot\n")
        with _worker(tmp_path):
            assert await client.get("/readyz") == (200, "ok\n")


async def test_ready_names_the_workers_that_serve_by_another_plan_and_the_file_that_cannot_be_read(tmp_path: Path) -> None:
    _plan(tmp_path)
    async with _served(tmp_path) as client:
        with _worker(tmp_path), _worker(tmp_path, revision=0, number=1):
            said = "ok\nrevision 5 is not in force at worker-1: the log says why\n"
            assert await client.get("/readyz") == (200, said)
            (tmp_path / "snapshot.json").write_bytes(b"nonsense")
            status, text = await client.get("/readyz")
            assert (status, "is no snapshot" in text) == (200, True)


async def test_ready_says_that_frames_were_set_aside(tmp_path: Path) -> None:
    _plan(tmp_path)
    tally = Tally()
    tally.aside_files, tally.unkept = 1_000, {"files": 20, "disk": 3}
    with _worker(tmp_path):
        async with _served(tmp_path, tally=tally) as client:
            said = "1000 frames that could not be recorded stand in rejected/, 23 more are gone: the folder or the disk is full"
            assert await client.get("/readyz") == (200, f"ok\n{said}; the log says why\n")


async def test_alive_needs_workers_that_turn_and_are_not_restarted_for_ever(tmp_path: Path) -> None:
    async with _served(tmp_path) as client:
        assert await client.get("/livez") == (503, "no worker runs\n")
        with _worker(tmp_path):
            assert await client.get("/livez") == (200, "ok\n")
            (tmp_path / "run").mkdir()
            (tmp_path / "run" / "supervisor.json").write_text(json.dumps({"flapping": ["worker-1"], "pid": 1}))
            status, text = await client.get("/livez")
            assert (status, "worker-1" in text) == (503, True)


def test_a_worker_is_silent_when_its_page_stands_still_whatever_the_clock_says(tmp_path: Path) -> None:
    now = 100.0
    workers = Workers(tmp_path / "page", lambda: now)
    with _worker(tmp_path) as page:
        assert workers.trouble() == ""
        now += 9
        assert workers.trouble() == ""
        page.gauge("turned_at_us", 2)
        now += 9
        assert workers.trouble() == ""
        now += 11
        assert "worker-0" in workers.trouble()


def test_the_page_of_a_worker_that_ended_says_nothing(tmp_path: Path) -> None:
    with _worker(tmp_path), _worker(tmp_path, revision=3, number=1) as page:
        page.gauge("pid", 0)
        assert Roster(tmp_path, Tally()).shown() == [5]


async def test_metrics_are_prometheus_text(tmp_path: Path) -> None:
    tally = Tally()
    live = a_live(route='odd"route')
    tally.live(live, observe(live.side))
    failed = a_live(side=a_side(status=503))
    tally.live(failed, observe(failed.side))
    with _worker(tmp_path) as page:
        page.counter("snapshot_failures", 3)
        page.route("chat").exchange(0, 200, 5_000)
        async with _served(tmp_path, tally=tally) as client:
            status, text = await client.get("/metrics")
    assert status == 200
    lines = text.splitlines()
    assert 'canary_requests_total{route="odd\\"route",arm="stable",code_class="2xx"} 1' in lines
    assert 'canary_requests_total{route="chat",arm="stable",code_class="5xx"} 1' in lines
    assert 'canary_request_duration_seconds_bucket{route="chat",arm="stable",le="0.016384"} 0' in lines
    assert 'canary_request_duration_seconds_bucket{route="chat",arm="stable",le="0.032768"} 1' in lines
    assert "canary_snapshot_failures_total 3" in lines
    families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(families) == len(set(families))
    assert "canary_spool_bytes" in families


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8082", "127.0.0.1.evil.example", "[::2]", "a[b"])
async def test_a_page_of_another_site_whose_name_points_here_reads_nothing(tmp_path: Path, host: str) -> None:
    _plan(tmp_path)
    tally = Tally()
    tally.aside_files = 1
    with _worker(tmp_path):
        async with _served(tmp_path, tally=tally, token="secret") as client:
            status, text = await client.get("/metrics", Host=host)
            assert (status, "canary_" in text) == (421, False)
            assert await client.get("/livez", Host=host) == (200, "ok\n")
            assert await client.get("/readyz", Host=host) == (200, "ok\n"), "probes have any name; notes are for people"
            order = await client.post("/local/rollback/chat", {"reason": "x"}, Host=host, Authorization="Bearer secret")
            assert order[0] == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8082", "127.0.0.1", "[::1]:8082", "127.0.0.9"])
async def test_its_own_names_read_its_metrics(tmp_path: Path, host: str) -> None:
    async with _served(tmp_path, listen="127.0.0.9:0") as client:
        assert (await client.get("/metrics", Host=host))[0] == 200


async def test_a_port_that_others_can_reach_answers_to_any_name(tmp_path: Path) -> None:
    async with _served(tmp_path, listen="0.0.0.0:0", token="secret") as client:
        assert (await client.get("/metrics", Host="sidecar.example:8082"))[0] == 200


async def test_a_local_rollback_is_an_order_in_the_overlay_until_it_is_taken_back(tmp_path: Path) -> None:
    _plan(tmp_path)
    async with _served(tmp_path) as client:
        status, text = await client.post("/local/rollback/chat", {"reason": "5xx", "actor": "ada"})
        assert (status, json.loads(text)["rollout"]) == (200, "r1")
        order = read_overlay(tmp_path / "overlay.json").routes["chat"]
        assert (order.reason, order.actor, order.revision, order.rollout) == ("5xx", "ada", 5, "r1")
        assert (await client.post("/local/resume/chat"))[0] == 200
        assert read_overlay(tmp_path / "overlay.json").routes == {}
        assert (await client.post("/local/resume/chat"))[0] == 404


@pytest.mark.parametrize(
    ("phase", "lasts"),
    [
        (Phase.SHADOWING, "until rollout r1 ends"),
        (Phase.DONE, "until it is taken back, later rollouts included"),
    ],
)
async def test_an_order_says_how_long_it_lasts_for_as_long_as_it_does(tmp_path: Path, phase: Phase, lasts: str) -> None:
    """Without a rollout on its route nothing else would end it: it keeps later ones from this sidecar's traffic."""
    _plan(tmp_path, a_rollout() if phase is Phase.SHADOWING else a_state(phase))
    async with _served(tmp_path) as client:
        with _worker(tmp_path):
            _, text = await client.post("/local/rollback/chat", {"reason": "be\ncareful", "actor": "ada"})
            assert json.loads(text)["lasts"] == lasts
            status, text = await client.get("/readyz")
            assert status == 200
            first, order = text.splitlines()
            assert first == "ok"
            assert order.startswith("chat: stable alone here since 2")
            assert order.endswith(f" UTC {lasts}, by ada: be careful")
            assert "\ncanary_local_orders 1\n" in (await client.get("/metrics"))[1]
            await client.post("/local/resume/chat")
            assert await client.get("/readyz") == (200, "ok\n")
            (tmp_path / "overlay.json").write_bytes(b"{")
            assert "all routes go to stable" in (await client.get("/readyz"))[1]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/local/rollback/chat", {}, 400),
        ("/local/rollback/chat", {"reason": 5}, 400),
        ("/local/rollback/chat", {"raeson": "typo"}, 400),
        ("/local/rollback/nowhere", {"reason": "x"}, 404),
        ("/livez", {}, 405),
        ("/nothing", {}, 404),
    ],
)
async def test_an_order_that_makes_no_sense_is_refused(tmp_path: Path, path: str, body: Any, status: int) -> None:
    _plan(tmp_path)
    async with _served(tmp_path) as client:
        assert (await client.post(path, body))[0] == status
    assert read_overlay(tmp_path / "overlay.json").routes == {}


async def test_orders_need_the_token_and_never_come_from_web_pages(tmp_path: Path) -> None:
    _plan(tmp_path)
    reason = {"reason": "5xx"}
    async with _served(tmp_path, token="t0ken") as client:
        path = "/local/rollback/chat"
        assert (await client.post(path, reason))[0] == 401
        assert (await client.post(path, reason, Authorization="Bearer wrong"))[0] == 401
        assert (await client.post(path, reason, Authorization="Bearer t0ken", Origin="http://evil"))[0] == 403
        assert (await client.post(path, reason, **{"Authorization": "Bearer t0ken", "Sec-Fetch-Site": "cross-site"}))[0] == 403
        assert (await client.post(path, reason, **{"Authorization": "Bearer t0ken", "Content-Type": "text/plain"}))[0] == 415
        assert (await client.post(path, reason, Authorization="Bearer t0ken"))[0] == 200
        assert (await client.get("/readyz"))[0] == 503  # probes need no token


async def test_a_token_that_is_no_text_is_a_wrong_one(tmp_path: Path) -> None:
    async with _served(tmp_path, token="t0ken") as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(b"POST /local/rollback/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        writer.write(b"Authorization: Bearer \xff\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(10):
            assert (await reader.read()).startswith(b"HTTP/1.1 401")
        writer.close()
        await writer.wait_closed()


async def test_off_loopback_a_token_is_needed(tmp_path: Path) -> None:
    port = Port(Roster(tmp_path, Tally()), LocalOrders(tmp_path, "s1"), token=None)
    with pytest.raises(ConfigError, match="a token is needed"):
        await serve(port, "0.0.0.0:0", token=None)
