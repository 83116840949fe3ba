"""Users' counters from a journal through Postgres into evidence: the courier's tail, the tables, a controller's look."""

from pathlib import Path

import msgspec

from canary.control.look import Looks
from canary.courier.rejected import Rejected
from canary.courier.tail import Context, Tail
from canary.courier.watch import PlanWatch
from canary.store.counters import PostgresCounters
from canary.store.database import Database
from canary.store.frames import Frame
from canary.store.records import Recorder
from canary.terms import Arm
from tests.support.courier import Surroundings, a_plan_in_force, a_sticky_rollout, carried
from tests.support.frames import T0_US, a_live, a_side, a_tick, a_writer, an_id, an_open, the_journal, write

USERS = 240
STATE = a_sticky_rollout()
STATE = msgspec.structs.replace(STATE, segments=(msgspec.structs.replace(STATE.segments[0], weight_bp=5_000),))


def a_day(*, failing: bool) -> list[Frame]:
    """Two minutes of requests of users of whom every second is the candidate's; `failing`: a third of its users, always."""
    frames: list[Frame] = []
    for turn in range(4 * USERS):
        user, at_us = turn % USERS, T0_US + turn * 100_000
        arm = Arm.STABLE if user % 2 else Arm.CANDIDATE
        bad = (failing and user % 6 == 0) or user % 50 == 7
        about = {"unit_hash": user.to_bytes(8, "big"), "start_at_us": at_us, "arm": arm, "weight_bp": 5_000}
        exchange = an_id()
        frames.append(an_open(exchange, mirrored=False, **{name: about[name] for name in ("unit_hash", "start_at_us", "arm")}))
        frames.append(a_live(exchange, mirror="", side=a_side(status=500 if bad else 200), **about))
        if turn % 10 == 0:
            frames.append(a_tick((at_us - T0_US) / 1e6))
    frames.append(a_tick(200))
    return frames


async def carry(database: Database, folder: Path, frames: list[Frame]) -> None:
    """One journal into Postgres, by a courier that is replaced half way."""
    around = Surroundings(folder, a_plan_in_force(STATE))
    watch = PlanWatch(folder, around.books)
    context = Context(
        sidecar="s",
        records=Recorder(database),
        watch=watch,
        rejected=Rejected(folder / "rejected", around.tally),
        tally=around.tally,
    )
    writer = a_writer(around.spool, segment_bytes=40_000)
    for part in (frames[: len(frames) // 2], frames[len(frames) // 2 :]):
        write(writer, *part)
        await carried(Tail(the_journal(around.spool), context))


async def test_failing_users_are_seen_by_a_look_at_postgres(database: Database, tmp_path: Path) -> None:
    await carry(database, tmp_path, a_day(failing=True))
    seen = await Looks(PostgresCounters(database)).look(STATE)
    assert seen.evidence is not None
    (row,) = [row for row in seen.evidence.metrics if row.metric.startswith("error")]
    assert row.breached
    assert row.candidate_events == len({user for user in range(0, USERS, 2) if user % 6 == 0 or user % 50 == 7})
    assert (seen.evidence.assigned_candidate, seen.evidence.assigned_stable) == (USERS // 2, USERS // 2)
    assert (row.n_candidate, row.bad_candidate) == (2 * USERS, 4 * row.candidate_events)


async def test_equal_users_are_no_news_and_a_second_look_says_the_same(database: Database, tmp_path: Path) -> None:
    await carry(database, tmp_path, a_day(failing=False))
    looks = Looks(PostgresCounters(database))
    first, second = await looks.look(STATE), await looks.look(STATE)
    assert first.evidence is not None
    assert second.evidence is not None
    assert not any(row.breached for row in first.evidence.metrics)
    assert first.evidence.metrics == second.evidence.metrics
    anew = await Looks(PostgresCounters(database)).look(STATE)
    assert anew.counted == second.counted
