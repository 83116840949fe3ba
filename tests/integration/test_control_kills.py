"""Real controllers on a real Postgres, killed and paused while there is always something to decide: nothing twice."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from canary.config.document import Config
from canary.control.books import Books
from canary.control.enact import Wish, create_rollout, order
from canary.control.leader import LEASE
from canary.control.record import CONTROLLER
from canary.errors import StoreAway
from canary.rollout.state import DecisionRow
from canary.store.books import PostgresRollouts
from canary.store.counters import PostgresCounters
from canary.store.database import Database
from canary.store.plans import PostgresPlans
from canary.terms import Action, Phase
from tests.support.control_world import QUICK, a_config
from tests.support.deadline import wait_for_answer

ROOT = Path(__file__).parents[2]
CLIENTS = 4
DECIDED_WITHIN_S = 150.0
"""Of a new leader: the lease has to run out, and where others hold the processors a process takes most of a minute to start."""


class WallClock:
    """This machine's time."""

    def now(self) -> datetime:
        """The present instant."""
        return datetime.now(tz=UTC)


def many_routes() -> Config:
    """Routes without traffic whose rollouts need no profile: each has exactly one thing to decide, its start."""
    config = a_config(msgspec.structs.replace(QUICK, min_profile=0))
    (chat,) = config.routes
    routes = tuple(msgspec.structs.replace(chat, name=f"route-{n}") for n in range(CLIENTS))
    return msgspec.structs.replace(config, routes=routes)


class Replicas:
    """Controllers as processes; each holder's name is its process' id in the list."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self._environment = {**os.environ, "CANARY_DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
        self._stack = stack
        self.processes: list[subprocess.Popen[bytes]] = []

    def add(self) -> None:
        """One more."""
        command = [sys.executable, "-m", "tests.support.run_controller", str(len(self.processes))]
        process = subprocess.Popen(command, env=self._environment, cwd=ROOT, stderr=subprocess.DEVNULL)
        self._stack.callback(self._end, process)
        self.processes.append(process)

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait(10)


async def people(books: Books, route: str, stop: asyncio.Event) -> list[str]:
    """Creates a rollout, cancels it as soon as it has started, and again, until told to stop; the ids of all of them."""
    while True:
        with suppress(StoreAway):  # as people do: look at what is there, go on from that
            newest = next(iter(await books.rollouts.find(route=route, limit=1)), None)
            if newest is not None and not newest.phase.is_final:
                await wait_for_answer(partial(has_started, books, newest.id), DECIDED_WITHIN_S, what="a rollout to start")
                await order(books, newest.id, Action.CANCEL, actor="test", reason="next")
            elif stop.is_set():
                return [state.id for state in await books.rollouts.find(route=route, limit=10_000)]
            else:
                await create_rollout(books, Wish(route=route, candidate="v2"), actor="test")


async def has_started(books: Books, rollout: str) -> bool:
    """True once a controller decided."""
    return (await books.rollouts.get(rollout)).phase is Phase.SHADOWING


async def asked(database: Database, statement: str, values: dict[str, object]) -> list[tuple[Any, ...]]:
    """The rows, however often this process is not given a processor for the four seconds after which a transaction is ended."""

    async def found() -> list[list[tuple[Any, ...]]]:
        try:
            return [await database.rows(statement, values)]
        except StoreAway:
            return []

    return (await wait_for_answer(found, DECIDED_WITHIN_S, what="an answer"))[0]


async def decider(database: Database, *, besides: set[int]) -> int:
    """The replica that leads and has decided something under its epoch; those named are dead, asleep or gone."""

    async def found() -> list[int]:
        rows = await asked(
            database,
            "SELECT holder FROM leases WHERE name = %(name)s AND epoch = (SELECT max(epoch) FROM decisions)",
            {"name": LEASE},
        )
        return [int(holder) for (holder,) in rows if int(holder) not in besides]

    return (await wait_for_answer(found, DECIDED_WITHIN_S, what=f"a decision of none of {besides}"))[0]


@pytest.mark.timeout(600)
async def test_killed_and_paused_leaders_decide_nothing_twice(database: Database, database_url: str) -> None:
    books = Books(
        rollouts=PostgresRollouts(database),
        counters=PostgresCounters(database),
        plans=PostgresPlans(database),
        clock=WallClock(),
    )
    await books.plans.publish(many_routes(), by="test")
    stop = asyncio.Event()
    with ExitStack() as stack:
        replicas = Replicas(database_url, stack)
        for _ in range(3):
            replicas.add()
        async with asyncio.TaskGroup() as group:
            clients = [group.create_task(people(books, f"route-{n}", stop)) for n in range(CLIENTS)]
            await trouble(database, replicas)
            stop.set()
    stories = [(await books.rollouts.decisions(rollout))[::-1] for client in clients for rollout in client.result()]
    for rows in stories:
        check_story(rows)
    assert len({row.epoch for rows in stories for row in rows if row.actor == CONTROLLER}) >= 4, "each of four led in turn"
    segments = await asked(database, "SELECT count(*), count(DISTINCT rollout) FROM segments", {})
    assert segments[0] == (len(stories), len(stories))


async def trouble(database: Database, replicas: Replicas) -> None:
    """Kills a leader, pauses the next one past its lease, and sends the third one away in good order."""
    first = await decider(database, besides=set())
    replicas.processes[first].send_signal(signal.SIGKILL)
    second = await decider(database, besides={first})
    replicas.processes[second].send_signal(signal.SIGSTOP)
    third = await decider(database, besides={first, second})
    replicas.processes[second].send_signal(signal.SIGCONT)
    replicas.processes[third].send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(replicas.processes[third].wait, 30) == 0  # this loop turns: its transactions are attended
    assert await decider(database, besides={first, third}) == second


def check_story(rows: list[DecisionRow]) -> None:
    """Created once, started once, cancelled once; what controllers wrote bears epochs in their order."""
    moves = [row.decision.action for row in rows if row.decision.action is not Action.KEEP]
    assert moves == [Action.CREATE, Action.START, Action.CANCEL]
    epochs = [row.epoch for row in rows if row.actor == CONTROLLER]
    assert epochs == sorted(epochs)
