"""Rounds of calibration that are over: what they leave behind is bounded, however many there have been."""

import asyncio
from datetime import UTC, datetime, timedelta

from canary.rollout.calibration import pseudo_route
from canary.rollout.state import SegmentRef
from canary.stats.counts import to_bytes
from canary.store.books import PostgresRollouts
from canary.store.calibration import KEPT_ROUNDS, forget_rounds
from canary.store.database import Database
from canary.store.records import Recorder
from canary.store.rows import CounterDelta
from canary.terms import Phase, Scored
from tests.support.rollouts import a_state
from tests.support.store_rows import a_batch, a_decision

NOW = datetime.now(UTC)
COUNTED = ("counters", "totals", "closings")
KEPT = ("rollouts", "decisions", "segments")


async def begun(database: Database, name: str, route: str, *, ended_ago: timedelta | None) -> None:
    """A rollout, or a round, with a decision, a segment, a row of counters, and one of each that was moved out of them."""
    rollouts, number = PostgresRollouts(database), await PostgresRollouts(database).next_segment()
    segment = SegmentRef(id=number, stage=0, weight_bp=5_000, shadow_bp=0, scored=Scored.ALL, opened_at=NOW)
    phase = Phase.CANARYING if ended_ago is None else Phase.CANCELLED
    ended_at = None if ended_ago is None else NOW - ended_ago
    state = a_state(phase, id=name, route=route, segments=(segment,), ended_at=ended_at)
    await rollouts.create(state, a_decision(name, rollout=name))
    await Recorder(database).commit(
        a_batch(0, 1, journal=f"j-{name}", counters=[CounterDelta(name, number, 1, to_bytes({3: 1}))])
    )
    values = {"rollout": name, "segment": number, "journal": f"j-{name}"}
    await database.rows("INSERT INTO closings (rollout, journal, minute) VALUES (%(rollout)s, %(journal)s, 1)", values)
    await database.rows(
        """INSERT INTO totals (rollout, segment, minute, holds, first_s, last_s, cells, revision)
           VALUES (%(rollout)s, %(segment)s, 1, 1, 1, 1, '', 1)""",
        values,
    )


async def held(database: Database, table: str) -> set[str]:
    """Whose rows a table holds."""
    column = "id" if table == "rollouts" else "rollout"
    return {row[0] for row in await database.rows(f"SELECT {column} FROM {table}")}


async def test_of_each_route_the_latest_rounds_stay_without_their_counts(database: Database) -> None:
    rounds = [f"a{number:02}" for number in range(KEPT_ROUNDS + 5)]
    for number, name in enumerate(rounds):
        await begun(database, name, pseudo_route("a"), ended_ago=timedelta(days=2, hours=-number))
    await begun(database, "b00", pseudo_route("b"), ended_ago=timedelta(days=90))
    assert await forget_rounds(database) == 5
    for table in KEPT:
        assert await held(database, table) == {"b00", *rounds[5:]}
    for table in COUNTED:
        assert await held(database, table) == set()
    assert await forget_rounds(database) == 0


async def test_what_is_open_just_over_or_a_rollout_keeps_its_counts(database: Database) -> None:
    await begun(database, "open", pseudo_route("a"), ended_ago=None)
    await begun(database, "just over", pseudo_route("a"), ended_ago=timedelta(minutes=5))
    await begun(database, "rollout", "a", ended_ago=timedelta(days=400))
    assert await forget_rounds(database) == 0
    for table in (*KEPT, *COUNTED):
        assert await held(database, table) == {"open", "just over", "rollout"}


async def test_many_couriers_may_tidy_at_once(database: Database) -> None:
    for number in range(KEPT_ROUNDS + 3):
        await begun(database, f"a{number:02}", pseudo_route("a"), ended_ago=timedelta(days=2, hours=-number))
    assert sum(await asyncio.gather(*(forget_rounds(database) for _ in range(4)))) == 3
