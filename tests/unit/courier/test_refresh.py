"""Plans down: what a plan means as a snapshot, when it is written, what is acknowledged."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from canary.courier.assemble import assemble
from canary.courier.housekeeping import keep_house
from canary.courier.local import LocalOrders
from canary.courier.refresh import Refresher
from canary.courier.rejected import Rejected
from canary.courier.watch import PlanWatch
from canary.errors import StoreAway
from canary.ports import PlanInForce
from canary.store.overlay import read_overlay
from canary.store.snapshot import good_copy, read_snapshot
from canary.store.spool import Offset
from canary.terms import Action, Phase
from tests.support.courier import Surroundings, a_plan_in_force, a_rollout
from tests.support.deadline import wait_until
from tests.support.rollouts import T0, a_state


def _refresher(around: Surroundings, shown: list[int]) -> Refresher:
    return Refresher(
        around.state_dir,
        around.books,
        watch=PlanWatch(around.state_dir, around.books),
        orders=LocalOrders(around.state_dir, "s1"),
        sidecar="s1",
        shown=lambda: shown,
    )


def test_a_snapshot_has_the_stable_in_charge_and_the_rollouts_split() -> None:
    plan = a_plan_in_force(a_rollout(), revision=9)
    snapshot = assemble(
        PlanInForce(**{f: getattr(plan, f) for f in plan.__struct_fields__} | {"stable": {"chat": "v2"}}), made_at_us=3
    )
    assert snapshot is not None
    (route,) = snapshot.routes
    assert (snapshot.revision, snapshot.made_at_us, route.stable) == (9, 3, "v2")
    assert route.split is not None
    assert (route.split.rollout, route.split.segment, route.split.weight_bp, route.split.shadow_bp) == ("r1", 7, 0, 10_000)


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.ROLLED_BACK, Phase.DONE])
def test_a_rollout_without_traffic_makes_no_split(phase: Phase) -> None:
    snapshot = assemble(a_plan_in_force(a_state(phase)), made_at_us=3)
    assert snapshot is not None
    assert snapshot.routes[0].split is None


def test_where_nothing_is_published_there_is_no_snapshot() -> None:
    assert assemble(PlanInForce(plan_revision=0, database_id="d", published=None, stable={}, rollouts=()), made_at_us=1) is None


async def test_the_file_is_written_when_the_revision_changed_or_the_file_has_gone(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    path = tmp_path / "snapshot.json"
    refresher = _refresher(around, [])
    await refresher.step()
    first = read_snapshot(path)
    await refresher.step()
    await _refresher(around, []).step()  # nor after a restart
    assert read_snapshot(path) == first
    around.plans.plan = a_plan_in_force(revision=6)
    await refresher.step()
    assert read_snapshot(path).revision == 6
    for spoil in (Path.unlink, lambda path: path.write_bytes(b"cut")):
        spoil(path)
        await refresher.step()
        assert read_snapshot(path).revision == 6


async def test_what_all_workers_follow_is_kept_for_those_that_cannot_read_the_newest(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    shown = [5, 4]
    refresher, good = _refresher(around, shown), good_copy(tmp_path / "snapshot.json")
    await refresher.step()
    assert not good.exists()
    shown[:] = [5, 5]
    await refresher.step()
    around.plans.plan = a_plan_in_force(revision=6)
    await refresher.step()
    assert (read_snapshot(good).revision, read_snapshot(tmp_path / "snapshot.json").revision) == (5, 6)


async def test_what_the_slowest_worker_follows_is_acknowledged(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    shown: list[int] = []
    refresher = _refresher(around, shown)
    assert await refresher.step()
    assert around.plans.acknowledged == []  # no worker follows anything
    shown[:] = [5, 4]
    assert not await refresher.step()
    shown[:] = [5, 5]
    assert await refresher.step()
    assert around.plans.acknowledged == [("s1", 4, 2), ("s1", 5, 2)]


async def test_while_the_plan_cannot_be_read_the_last_snapshot_stays(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    refresher = _refresher(around, [5])
    await refresher.step()
    around.plans.fails = StoreAway("away")
    with pytest.raises(StoreAway):
        await refresher.step()
    assert read_snapshot(tmp_path / "snapshot.json").revision == 5
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(refresher.run(stop))
        looks = around.plans.looks
        await wait_until(lambda: around.plans.looks > looks + 2, what="more looks")
        around.plans.fails = None
        around.plans.plan = a_plan_in_force(revision=8)
        await wait_until(lambda: read_snapshot(tmp_path / "snapshot.json").revision == 8, what="the new plan")
        stop.set()


async def test_a_local_order_outlives_older_plans_and_ends_with_its_decision(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    refresher, orders = _refresher(around, [5]), LocalOrders(tmp_path, "s1")
    await refresher.step()
    await orders.roll_back("chat", reason="5xx", actor="ada", now=T0)
    await refresher.step()  # reports it; the plan that is read still has the rollout
    (row,) = around.rollouts.rows
    assert (row.decision.action, row.actor, row.phase) == (Action.ROLL_BACK, "ada", Phase.ROLLED_BACK)
    assert "at sidecar s1 by ada" in row.decision.because
    assert list(read_overlay(tmp_path / "overlay.json").routes) == ["chat"]
    around.plans.plan = a_plan_in_force(revision=6)
    await refresher.step()
    assert read_overlay(tmp_path / "overlay.json").routes == {}
    assert read_snapshot(tmp_path / "snapshot.json").routes[0].split is None


async def test_an_order_without_a_rollout_stays_until_it_is_taken_back(tmp_path: Path) -> None:
    around = Surroundings(tmp_path, a_plan_in_force())
    refresher, orders = _refresher(around, [5]), LocalOrders(tmp_path, "s1")
    await refresher.step()
    await orders.roll_back("chat", reason="be careful", actor="ada", now=T0)
    around.plans.plan = a_plan_in_force(revision=6)
    await refresher.step()
    assert list(read_overlay(tmp_path / "overlay.json").routes) == ["chat"]
    assert around.rollouts.rows == []


async def test_a_move_that_comes_between_is_met_with_the_next_look(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    refresher, orders = _refresher(around, [5]), LocalOrders(tmp_path, "s1")
    await refresher.step()
    await orders.roll_back("chat", reason="5xx", actor="ada", now=T0)
    moved = a_rollout(revision=4)
    around.rollouts.states["r1"] = moved
    await refresher.step()
    assert around.rollouts.rows == []
    around.plans.plan = a_plan_in_force(moved, revision=6)
    await refresher.step()
    assert len(around.rollouts.rows) == 1


async def test_tables_are_tidied_for_the_longest_days_to_keep_and_files_for_the_shortest(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    now_s = time.time()
    rejected = Rejected(tmp_path / "rejected", around.tally, now=lambda: now_s)
    for byte in range(2):
        rejected.put("j", Offset(0, byte), raw=b"x", reason="damaged")
    os.utime(next((tmp_path / "rejected").iterdir()), (now_s - 15 * 86_400, now_s - 15 * 86_400))
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(keep_house(around.books, PlanWatch(tmp_path, around.books), rejected, stop=stop))
        await wait_until(lambda: around.house.kept, what="the first tidying")
        stop.set()
    assert around.house.kept == [14]
    assert around.tally.aside_files == 1
