"""Rounds of calibration: begun, fed, ended and counted by the controller, and out of everybody's way."""

import msgspec
import numpy as np
import pytest

from canary.control.enact import Wish, create_rollout
from canary.control.loop import Loop
from canary.rollout.calibration import Round
from canary.rollout.replay import replay
from canary.rollout.state import RolloutState
from canary.rollout.typical import typical_profile
from canary.rollout.worlds import EQUAL, Effect, answers, request_kinds
from canary.stats.counts import to_bytes
from canary.store.books import PostgresRollouts
from canary.store.calibration import PostgresCalibration
from canary.store.database import Database
from canary.store.memory import MemoryCalibration, MemoryRecorder
from canary.store.plans import PostgresPlans
from canary.store.rows import CounterDelta, RecordBatch
from canary.terms import Arm, Measures, Phase, RouteKind
from tests.support.control_world import MINUTE_US, SECOND_US, World, a_config
from tests.support.rollouts import T0, at

PROFILE = typical_profile(RouteKind.HTTP)


class Calibrated:
    """A world whose controller keeps rounds open, and a courier that deals answers to their pseudo-arms."""

    def __init__(self, *, seed: int = 1) -> None:
        self.world = World(seed=seed)
        self.kept = MemoryCalibration(self.world.store)
        self.controller: Loop = self.world.controller(calibration=self.kept)
        self._rng = np.random.default_rng(seed)
        self._offset = 0
        self._recorder = MemoryRecorder(self.world.store)

    async def begun(self) -> RolloutState:
        """The first round, once the profile is there."""
        await self.world.plans.publish(a_config(), by="ada")
        for _ in range(30):
            await self.world.second(self.controller)
            found = (await self.world.plans.in_force()).calibrations
            if found:
                return found[0]
        raise AssertionError("no round began")

    async def deal(self, state: RolloutState, n: int, effect: Effect = EQUAL) -> None:
        """So many answers to the pseudo-arms' counters; an effect would be the fault of the coin."""
        scoring, rng = state.scoring, self._rng
        assert scoring is not None
        mine = int(rng.binomial(n, 0.5))
        start_us = round(self.world.clock.now().timestamp() * SECOND_US)
        cells: dict[int, int] = {}
        for arm, count, how in ((Arm.CANDIDATE, mine, effect), (Arm.STABLE, n - mine, EQUAL)):
            kinds = request_kinds(scoring, arm, answers(PROFILE, Measures(), how, np.random.default_rng(1)))
            for key, found in kinds.draw(count, rng, second=start_us // SECOND_US % 60).items():
                cells[key] = cells.get(key, 0) + found
        self.world.clock.seconds += 60
        delta = CounterDelta(state.id, state.segments[0].id, start_us // MINUTE_US, to_bytes(cells))
        await self._recorder.commit(
            RecordBatch(
                journal="cal",
                sidecar="sidecar",
                seen=self._offset,
                offset=self._offset + 1,
                tick_at_us=start_us + 60 * SECOND_US,
                counters=[delta],
            )
        )
        self._offset += 1
        await self.controller.tick()


async def test_a_round_begins_with_the_profile_and_is_in_nobodys_way() -> None:
    calibrated = Calibrated()
    state = await calibrated.begun()
    world = calibrated.world
    assert (state.route, state.phase) == ("cal:chat", Phase.CANARYING)
    assert list(await world.rollouts.find()) == []
    assert list(await world.rollouts.active()) == []
    plan = await world.plans.in_force()
    assert plan.rollouts == ()
    await world.plans.publish(msgspec.structs.replace(a_config(), spool_max_bytes=1_000_000), by="ada")
    rollout = await create_rollout(world.books, Wish(route="chat", candidate="v2"), actor="ada")
    assert [one.id for one in await world.rollouts.find()] == [rollout.id]


async def test_a_round_without_an_alarm_ends_after_its_requests_and_the_next_begins() -> None:
    calibrated = Calibrated()
    state = await calibrated.begun()
    for _ in range(62):
        await calibrated.deal(state, 5_000)
        if await calibrated.kept.rounds():
            break
    (ended,) = await calibrated.kept.rounds()
    assert (ended.id, ended.route, ended.alarmed) == (state.id, "chat", False)
    assert ended.requests >= 200_000
    assert (ended.closed_at - ended.opened_at).total_seconds() >= 3_600
    for _ in range(7):  # looks are five seconds apart
        await calibrated.world.second(calibrated.controller)
    (following,) = (await calibrated.world.plans.in_force()).calibrations
    assert following.id != state.id
    assert following.salt != state.salt


async def test_an_alarm_is_kept_and_its_row_can_be_replayed() -> None:
    """Pseudo-arms that differ cannot be: here the coin is made unfair on purpose."""
    calibrated = Calibrated()
    state = await calibrated.begun()
    for _ in range(20):
        await calibrated.deal(state, 5_000, Effect(name="x8", errors=8.0))
        if await calibrated.kept.rounds():
            break
    (ended,) = await calibrated.kept.rounds(route="chat")
    assert ended.alarmed
    assert ended.metric.startswith("error") or ended.metric == "throughput"
    over = await calibrated.world.rollouts.get(state.id)
    assert over.phase is Phase.CANCELLED
    assert over.because.startswith("the round is over: a false alarm of ")
    rows = await calibrated.world.rollouts.decisions(state.id)
    assert rows[0].evidence is not None
    assert rows[0].read
    assert replay(rows[-1], over).same


async def test_a_round_of_a_version_that_left_charge_tells_nothing() -> None:
    calibrated = Calibrated()
    state = await calibrated.begun()
    calibrated.world.store.stable["chat"] = "v2"
    for _ in range(7):
        await calibrated.world.second(calibrated.controller)
    assert (await calibrated.world.rollouts.get(state.id)).phase is Phase.CANCELLED
    assert list(await calibrated.kept.rounds()) == []


async def test_postgres_keeps_rounds_apart_from_rollouts(database: Database) -> None:
    calibrated = Calibrated()
    state = await calibrated.begun()
    (row,) = await calibrated.world.rollouts.decisions(state.id)
    book = PostgresRollouts(database)
    await book.create(state, row)
    assert list(await book.active()) == []
    assert list(await book.find()) == []
    assert [one.id for one in await book.find(route="cal:chat")] == [state.id]
    plan = await PostgresPlans(database).in_force()
    assert (plan.rollouts, [one.id for one in plan.calibrations]) == ((), [state.id])


async def test_postgres_keeps_a_round_once_and_the_newest_first(database: Database) -> None:
    kept = PostgresCalibration(database)
    rounds = [a_round(n) for n in range(3)]
    for one in (*rounds, rounds[0]):
        await kept.record(one)
    assert [one.id for one in await kept.rounds()] == ["r2", "r1", "r0"]
    assert list(await kept.rounds(limit=1)) == [rounds[2]]
    assert list(await kept.rounds(route="other")) == []


def a_round(number: int) -> Round:
    return Round(
        id=f"r{number}",
        route="chat",
        opened_at=T0,
        closed_at=at(3_600 * (1 + number)),
        requests=200_000,
        alarmed=number == 1,
        metric="p95",
        log_e=7.25,
    )


@pytest.mark.parametrize("seed", [1, 2])
async def test_equal_arms_stay_quiet_in_most_rounds(seed: int) -> None:
    calibrated = Calibrated(seed=seed)
    await calibrated.begun()
    for _ in range(30):
        plan = await calibrated.world.plans.in_force()
        if plan.calibrations:
            await calibrated.deal(plan.calibrations[0], 20_000)
        else:
            await calibrated.world.second(calibrated.controller)
    assert not any(one.alarmed for one in await calibrated.kept.rounds())
