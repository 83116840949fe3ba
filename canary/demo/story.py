"""The story: start everything, try three candidates one after the other, tell what became of them."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from canary.demo import plan
from canary.demo.admin import Admin, Seen, behave
from canary.demo.behaviour import BROKEN
from canary.demo.children import Child, Served, free_ports, ports_of
from canary.demo.plan import Candidate
from canary.demo.scene import Scene, Verdict, verdict_of
from canary.demo.tally import Tally, rate
from canary.demo.view import View
from canary.errors import CanaryError

READY_WITHIN_S: Final = 60.0
ACT_WITHIN_S: Final = 180.0
LATEST_ANSWER_S: Final = 2.3
"""After a rollout's end its last answers come within the deadline; then the clients' tally is whole."""
LOOK_EVERY_S: Final = 0.25
REST_RATE: Final = 50.0
"""Requests a second after the story: enough for the console, little for the disk."""
READ_S: Final = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What is running while the story is told."""

    admin: Admin
    session: aiohttp.ClientSession
    served: Served
    traffic: Child
    meter: "Meter"
    data_port: int
    model_ports: dict[str, int]
    view: View


class Meter:
    """The newest tally of a traffic process, and the rate over the last two seconds."""

    def __init__(self) -> None:
        self._recent: list[Tally] = [Tally()]

    @property
    def now(self) -> Tally:
        """The newest tally."""
        return self._recent[-1]

    @property
    def rate(self) -> float:
        """Requests a second, lately."""
        return rate(self._recent[0], self._recent[-1])

    async def read(self, traffic: Child) -> None:
        """Reads for ever; raises CanaryError when the traffic ends."""
        while True:
            tally = msgspec.json.decode(await traffic.line(), type=Tally)
            self._recent = [*self._recent[-8:], tally]


async def tell(view: View, *, fast: bool, once: bool) -> tuple[Verdict, ...]:
    """The whole demonstration; stays up after it until SIGINT or SIGTERM, unless `once`. Cancelled, it stops all it started."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # SIGINT is asyncio's own
    view.opening(plan.opening())
    async with _running(view) as stage:
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(stage.meter.read(stage.traffic))
                verdicts = await _acts(stage, fast=fast)
                reading.cancel()
        except* CanaryError as failed:
            raise failed.exceptions[0] from None
        if not all(verdict.right for verdict in verdicts):
            view.note(f"a verdict is wrong; the log of canary serve is kept at {stage.served.keep_log()}")
        view.closing(verdicts, stage.admin.url, stays=not once)
        if not once:
            await _rest(stage)
    return verdicts


async def _acts(stage: Stage, *, fast: bool) -> tuple[Verdict, ...]:
    verdicts: tuple[Verdict, ...] = ()
    for number, candidate in enumerate(plan.CANDIDATES, start=1):
        if not fast and number > 1:
            await asyncio.sleep(READ_S)
        verdict = await Act(stage, candidate, number=number, verdicts=verdicts).play()
        verdicts = (*verdicts, verdict)
        stage.view.verdict(verdict)
    return verdicts


class Act:
    """One candidate, from its creation to its end."""

    def __init__(self, stage: Stage, candidate: Candidate, *, number: int, verdicts: tuple[Verdict, ...]) -> None:
        self._stage = stage
        self._candidate = candidate
        self._number = number
        self._verdicts = verdicts
        self._began_s = self._now_s()
        self._opened_s: float | None = None  # when its first live stage was seen
        self._broke_s: float | None = None
        self._events: list[str] = []
        self._said = ("", "")

    async def play(self) -> Verdict:
        """Creates the rollout, follows it, and judges its end."""
        created = await self._stage.admin.create(route=plan.ROUTE, candidate=self._candidate.version, plan=plan.PLAN_NAME)
        seen = created
        while not seen.is_over and self._elapsed_s < ACT_WITHIN_S:
            await asyncio.sleep(LOOK_EVERY_S)
            self._stage.served.check()
            seen = await self._stage.admin.look(created.id) or seen
            await self._break_when_due(seen)
            self._show(seen)
        took_s = self._elapsed_s
        await asyncio.sleep(LATEST_ANSWER_S)
        return verdict_of(self._candidate, seen, took_s=took_s, tally=self._stage.meter.now, broke_s=self._broke_s)

    async def _break_when_due(self, seen: Seen) -> None:
        if not self._candidate.breaks or self._broke_s is not None or seen.phase != "canarying":
            return
        self._opened_s = self._elapsed_s if self._opened_s is None else self._opened_s
        if self._elapsed_s - self._opened_s >= plan.BREAKS_AFTER_S:
            port = self._stage.model_ports[self._candidate.version]
            await behave(self._stage.session, port, error_rate=BROKEN.error_rate)
            self._broke_s = self._elapsed_s
            self._note(f"{self._candidate.version} breaks now: {BROKEN.error_rate:.0%} of its answers fail")

    def _show(self, seen: Seen) -> None:
        waiting = "waiting" if seen.waiting else ""
        said = (f"{seen.phase} {seen.weight_bp} {waiting}", seen.because if not seen.waiting else "")
        if said[0] != self._said[0] or (seen.phase != "canarying" and said[1] != self._said[1]):
            self._said = said
            self._note(seen.because or seen.phase)
        meter = self._stage.meter
        self._stage.view.scene(
            Scene(
                act=self._number,
                candidate=self._candidate,
                elapsed_s=self._elapsed_s,
                seen=seen,
                rate=meter.rate,
                tally=meter.now,
                harmed=meter.now.on_trial_harmed.get(self._candidate.version, 0),
                events=tuple(self._events),
                verdicts=self._verdicts,
            )
        )

    def _note(self, event: str) -> None:
        line = f"{self._elapsed_s:5.1f} s  {event}"
        self._events.append(line)
        self._stage.view.event(self._candidate.version, line)

    @property
    def _elapsed_s(self) -> float:
        return self._now_s() - self._began_s

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()


async def _rest(stage: Stage) -> None:
    """Keeps everything up with a trickle of traffic, until somebody says stop."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stage.traffic.stop()
    traffic = await _traffic(stage.data_port, REST_RATE)
    try:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(stage.meter.read(traffic))
            await stop.wait()
            reading.cancel()
    except* CanaryError as failed:
        raise failed.exceptions[0] from None
    finally:
        await traffic.stop()


@asynccontextmanager
async def _running(view: View) -> AsyncIterator[Stage]:
    """Model servers, the product and traffic in a folder of their own; all stopped, and the folder gone, at the end."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="canary-demo-", ignore_cleanup_errors=True)))
        view.note("starting model servers")
        versions = [f"--version={plan.STABLE}=good", *(f"--version={c.version}={c.kind}" for c in plan.CANDIDATES)]
        models = await Child.start("model servers", "canary.demo.models", versions)
        stack.push_async_callback(models.stop)
        model_ports = ports_of(await models.line())
        view.note("starting canary serve, with a Postgres of its own")
        data_port, admin_port, sidecar_port = free_ports((8080, 8081, 8082))
        config = folder / "canary.yaml"
        config.write_text(
            plan.config_text(data_port=data_port, admin_port=admin_port, sidecar_port=sidecar_port, upstreams=model_ports),
            encoding="utf-8",
        )
        served = await Served.start(config, folder / "serve.log")
        stack.push_async_callback(served.stop)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5.0)))
        admin = Admin(session, admin_port)
        await admin.wait_ready(READY_WITHIN_S, served.check)
        view.note(f"starting traffic, {plan.RATE:.0f} requests a second")
        traffic = await _traffic(data_port, plan.RATE)
        stack.push_async_callback(traffic.stop)
        yield Stage(
            admin=admin,
            session=session,
            served=served,
            traffic=traffic,
            meter=Meter(),
            data_port=data_port,
            model_ports=model_ports,
            view=view,
        )


async def _traffic(port: int, requests_per_s: float) -> Child:
    return await Child.start("traffic", "canary.demo.traffic", ("--port", str(port), "--rate", str(requests_per_s)))
