"""Blindness: what counts as judged, when a canary goes to stable by itself, and which orders it leaves alone."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from canary.courier.assemble import assemble
from canary.courier.blind import Blindness, Unjudged
from canary.courier.exposition import Standing, exposition
from canary.courier.local import BY_ITSELF, LocalOrders
from canary.courier.tally import Tally
from canary.courier.watch import PlanWatch
from canary.errors import StoreAway
from canary.ports import PlanInForce
from canary.rollout.state import Reason
from canary.store.overlay import Overlay, OverlayOrder, read_overlay, write_overlay
from canary.store.snapshot import write_snapshot
from canary.terms import Action, Phase
from tests.support.courier import Surroundings, a_plan_in_force, a_rollout
from tests.support.rollouts import T0, a_state

AFTER_S = 600.0
NOTHING = Standing(spool_bytes=0, lag_s=None, journals=0, snapshot_revision=None, dropped_frames=0)


class Sidecar:
    """One sidecar with a canary, its courier's clock in a test's hand."""

    def __init__(self, state_dir: Path, plan: PlanInForce | None = None, *, after_s: float = AFTER_S) -> None:
        self.state_dir = state_dir
        self.after_s = after_s
        self.now_s = 5_000.0
        self.serving = True
        snapshot = assemble(plan or a_plan_in_force(a_rollout()), made_at_us=1)
        assert snapshot is not None
        write_snapshot(state_dir / "snapshot.json", snapshot)
        self.restart()

    def restart(self) -> None:
        """A new courier process on the same folder."""
        self.tally = Tally()
        self.orders = LocalOrders(self.state_dir, "s1")
        self.blind = Blindness(
            self.state_dir,
            self.orders,
            tally=self.tally,
            after_s=self.after_s,
            serving=lambda: self.serving,
            monotonic=lambda: self.now_s,
        )

    async def seconds(self, count: int, *what: Callable[[], None]) -> None:
        """Time goes by, a look each second; `what` happens in each of them."""
        for _ in range(count):
            self.now_s += 1
            for happens in what:
                happens()
            await self.blind.look()

    def commit(self) -> None:
        """A batch was committed."""
        self.tally.commits += 1

    def led(self) -> None:
        """The plan was read under a leader's lease."""
        self.blind.led()

    @property
    def order(self) -> OverlayOrder | None:
        """The order in force for the route."""
        return read_overlay(self.state_dir / "overlay.json").routes.get("chat")


async def test_a_canary_that_is_judged_stays(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path)
    await sidecar.seconds(1, sidecar.commit, sidecar.led)
    written = (tmp_path / "blind.json").stat().st_ino
    await sidecar.seconds(2_000, sidecar.commit, sidecar.led)
    assert sidecar.order is None
    assert (tmp_path / "blind.json").stat().st_ino == written, "nothing is written while all is well"


@pytest.mark.parametrize(
    ("missing", "says"), [("commit", "nothing was committed for 600 s"), ("led", "no leader was heard of")]
)
async def test_without_commits_or_without_a_leader_it_goes_to_stable_by_itself(tmp_path: Path, missing: str, says: str) -> None:
    sidecar = Sidecar(tmp_path)
    other = sidecar.led if missing == "commit" else sidecar.commit
    await sidecar.seconds(100, sidecar.commit, sidecar.led)
    await sidecar.seconds(599, other)
    assert sidecar.order is None
    assert sidecar.blind.notes()
    assert "goes to stable by itself" in sidecar.blind.notes()[0]
    await sidecar.seconds(1, other)
    assert sidecar.order is not None
    assert (sidecar.order.actor, sidecar.order.rollout, sidecar.order.revision) == (BY_ITSELF, "r1", 5)
    assert says in sidecar.order.reason
    assert not sidecar.blind.notes()
    assert sidecar.orders.notes()[0].startswith("chat: stable alone here since 2")
    metrics = exposition(sidecar.tally, NOTHING)
    assert "\ncanary_blind_orders_total 1\n" in metrics
    assert "\ncanary_blind_seconds 600.0\n" in metrics
    await sidecar.seconds(5)
    assert "\ncanary_blind_orders_total 1\n" in exposition(sidecar.tally, NOTHING), "one order, given once"


async def test_being_judged_again_does_not_take_the_order_back(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path)
    await sidecar.seconds(600)
    await sidecar.seconds(100, sidecar.commit, sidecar.led)
    assert sidecar.order is not None


async def test_any_commit_and_any_leader_begin_their_clock_anew(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path)
    for _ in range(4):
        await sidecar.seconds(599)
        await sidecar.seconds(1, sidecar.commit, sidecar.led)
    assert sidecar.order is None


async def test_switched_off_it_never_looks(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path, after_s=0.0)
    async with asyncio.timeout(5):
        await sidecar.blind.run(asyncio.Event())
    assert sidecar.order is None
    assert not sidecar.blind.notes()


async def test_the_clock_goes_on_after_a_restart_of_the_courier(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path)
    await sidecar.seconds(400)
    sidecar.restart()
    await sidecar.seconds(190)
    assert sidecar.order is None
    await sidecar.seconds(12)
    assert sidecar.order is not None


async def test_a_courier_that_dies_again_and_again_grows_blind_too(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path)
    for _ in range(60):
        await sidecar.seconds(1)
        sidecar.now_s += 10  # until it is started again
        sidecar.restart()
    await sidecar.seconds(1)
    assert sidecar.order is not None


async def test_a_sidecar_that_was_stopped_for_days_is_not_blind_for_days(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path)
    await sidecar.seconds(10)
    sidecar.now_s += 3 * 86_400
    sidecar.restart()
    await sidecar.seconds(500)
    assert sidecar.order is None
    await sidecar.seconds(100)
    assert sidecar.order is not None


async def test_another_boot_has_another_clock(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path)
    await sidecar.seconds(300)
    kept = msgspec.json.decode((tmp_path / "blind.json").read_bytes(), type=Unjudged)
    kept.boot = "another"
    (tmp_path / "blind.json").write_bytes(msgspec.json.encode(kept))
    sidecar.now_s = 3.0
    sidecar.restart()
    await sidecar.seconds(295)
    assert sidecar.order is None
    await sidecar.seconds(10)
    assert sidecar.order is not None, "what was counted before the boot still counts"


async def test_where_no_worker_serves_no_time_goes_by(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path)
    sidecar.serving = False
    await sidecar.seconds(2_000)
    assert sidecar.order is None


async def test_without_a_canary_nothing_is_blind(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path, a_plan_in_force(a_state(Phase.PENDING)))
    await sidecar.seconds(2_000)
    assert read_overlay(tmp_path / "overlay.json").routes == {}
    assert sidecar.tally.blind_s == 0


@pytest.mark.parametrize("rollout", ["r1", "an older one"])
async def test_an_order_that_is_there_stays_as_it_is(tmp_path: Path, rollout: str) -> None:
    sidecar = Sidecar(tmp_path)
    ada = OverlayOrder(reason="5xx", actor="ada", at=T0, revision=4, rollout=rollout)
    write_overlay(tmp_path / "overlay.json", Overlay(routes={"chat": ada}))
    await sidecar.seconds(700)
    assert sidecar.order == ada
    assert sidecar.tally.blind_orders == 0


async def test_a_person_who_takes_the_order_back_gives_it_the_whole_time_again(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path)
    await sidecar.seconds(700)
    await sidecar.orders.resume("chat")
    await sidecar.seconds(599)
    assert sidecar.order is None
    await sidecar.seconds(2)
    assert sidecar.order is not None


async def test_a_persons_order_stands_over_the_sidecars_own(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path)
    await sidecar.seconds(700)
    given = await sidecar.orders.roll_back("chat", reason="I saw it", actor="ada", now=datetime.now(tz=UTC))
    await sidecar.seconds(100)
    assert sidecar.order == given


async def test_it_is_reported_as_the_sidecars_own_and_ends_with_the_decision(tmp_path: Path) -> None:
    sidecar, around = Sidecar(tmp_path), Surroundings(tmp_path)
    await sidecar.seconds(700)
    await sidecar.orders.settle(around.plans.plan)
    assert sidecar.order is not None, "the rollout still runs"
    await sidecar.orders.report(around.plans.plan, around.rollouts, now=T0)  # type: ignore[arg-type]
    (row,) = around.rollouts.rows
    assert (row.actor, row.decision.action, row.decision.reason) == (BY_ITSELF, Action.ROLL_BACK, Reason.BLIND)
    assert row.decision.because.startswith("went to stable by itself at sidecar s1 at ")
    assert "nothing was committed for 600 s" in row.decision.because
    await sidecar.orders.settle(a_plan_in_force(revision=5))
    assert sidecar.order is None


async def test_only_a_reading_under_a_lease_is_a_leaders_word(tmp_path: Path) -> None:
    around, heard = Surroundings(tmp_path), list[bool]()
    watch = PlanWatch(tmp_path, around.books, led=lambda: heard.append(True))
    await watch.look()
    assert not heard
    around.plans.plan = msgspec.structs.replace(around.plans.plan, led=True)
    await watch.look()
    assert heard == [True]
    around.plans.fails = StoreAway("gone")
    with pytest.raises(StoreAway):
        await watch.look()
    assert heard == [True]
