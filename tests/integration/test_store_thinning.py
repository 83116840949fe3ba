"""Old decisions that moved nothing are thinned; what moved a rollout, and what it was read from, stays."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from canary.errors import NotFound
from canary.store.books import PostgresRollouts
from canary.store.database import Database
from canary.store.thinning import HOURLY_DAYS, thin_decisions
from canary.terms import Phase
from tests.support.rollouts import a_state
from tests.support.store_rows import a_decision

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
YOUNG = NOW - timedelta(hours=2)
OLD = NOW - timedelta(days=3)
VERY_OLD = NOW - timedelta(days=HOURLY_DAYS + 3)

_STORED = """
INSERT INTO decisions (id, rollout, revision, action, because, phase, actor, at, epoch, plan_hash, body)
SELECT %(id)s, rollout, %(revision)s, %(action)s, because, phase, actor, %(at)s, epoch, plan_hash, body
FROM decisions WHERE rollout = %(rollout)s AND revision = 1"""


async def a_story(database: Database, rollout: str, rows: list[tuple[str, str, datetime]], **state: object) -> None:
    """A rollout with decisions of these names, actions and instants after its creation."""
    begun = a_state(Phase.CANARYING, id=rollout, route=rollout, **state)
    await PostgresRollouts(database).create(begun, a_decision(f"{rollout}-created", rollout=rollout))
    for revision, (name, action, at) in enumerate(rows, start=2):
        await database.rows(_STORED, {"id": name, "rollout": rollout, "revision": revision, "action": action, "at": at})


async def kept(database: Database, rollout: str) -> list[str]:
    """Names of what is left, in their order, the creation left out."""
    found = await database.rows(
        "SELECT id FROM decisions WHERE rollout = %(rollout)s AND revision > 1 ORDER BY revision", {"rollout": rollout}
    )
    return [row[0] for row in found]


def minutes(at: datetime, *after: int) -> list[datetime]:
    """Instants so many minutes after one."""
    return [at + timedelta(minutes=minute) for minute in after]


async def test_of_old_notes_the_last_of_each_hour_stays_and_every_move_with_the_note_before_it(database: Database) -> None:
    a, b, c, move, d, e, other = minutes(OLD, 1, 2, 3, 4, 5, 59, 61)
    rows = [("a", "keep", a), ("b", "keep", b), ("c", "keep", c), ("moved", "advance", move)]
    rows += [("d", "keep", d), ("e", "keep", e), ("next hour", "keep", other)]
    await a_story(database, "r", rows)
    assert await thin_decisions(database) == 3
    assert await kept(database, "r") == ["c", "moved", "e", "next hour"]
    assert await thin_decisions(database) == 0


async def test_young_notes_stay(database: Database) -> None:
    await a_story(database, "r", [(name, "keep", at) for name, at in zip("abc", minutes(YOUNG, 1, 2, 3), strict=True)])
    assert await thin_decisions(database) == 0


async def test_of_a_rollout_long_over_only_moves_and_what_they_were_read_from_stay(database: Database) -> None:
    hours = minutes(VERY_OLD, 0, 60, 120, 180)
    rows = [("a", "keep", hours[0]), ("b", "keep", hours[1]), ("c", "keep", hours[2]), ("end", "roll_back", hours[3])]
    await a_story(database, "over", rows, ended_at=hours[3])
    await a_story(database, "goes-on", [(f"{name}2", *rest) for name, *rest in rows[:3]])
    assert await thin_decisions(database) == 2
    assert await kept(database, "over") == ["c", "end"]
    assert await kept(database, "goes-on") == ["a2", "b2", "c2"]


async def test_many_are_taken_in_portions(database: Database) -> None:
    rows = [(f"n{second}", "keep", OLD + timedelta(seconds=second)) for second in range(25)]
    await a_story(database, "r", rows)
    assert await thin_decisions(database, at_once=10) == 24
    assert await kept(database, "r") == ["n24"]


async def test_where_another_is_at_it_nothing_waits(database: Database, database_url: str) -> None:
    await a_story(database, "r", [(name, "keep", at) for name, at in zip("abc", minutes(OLD, 1, 2, 3), strict=True)])
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute("SELECT pg_advisory_xact_lock(7164918246)")
        assert await thin_decisions(database) == 0
    assert await thin_decisions(database) == 2


async def test_a_note_that_was_thinned_is_not_found_and_why_is_said(database: Database) -> None:
    with pytest.raises(NotFound) as missing:
        await PostgresRollouts(database).decision("no such one")
    assert "thinned" in (missing.value.hint or "")
