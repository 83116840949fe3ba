"""Rows as Postgres holds them: every column, NULLs, odd texts, values that do not fit."""

import traceback
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from psycopg.rows import dict_row

from canary.errors import DataRefused
from canary.store.bodies import Bodies, pack_bodies, unpack_bodies
from canary.store.copying import OUTCOME_COLUMNS, PAIR_COLUMNS
from canary.store.database import Database
from canary.store.records import Recorder
from canary.store.rows import BodyRow
from canary.terms import Arm, AssignedBy, Ending, Fault, MirrorDrop
from tests.support.store_rows import START_US, a_batch, a_pair_row, an_exchange_id, an_outcome_row

START = datetime.fromtimestamp(START_US // 1_000_000, UTC) + timedelta(microseconds=START_US % 1_000_000)


async def the_row(database: Database, table: str) -> dict[str, Any]:
    """The only row of a table."""
    async with database.transaction() as connection:
        cursor = connection.cursor(row_factory=dict_row)
        found = await (await cursor.execute(f"SELECT * FROM {table}".encode())).fetchall()  # a fixed name
    assert len(found) == 1
    return found[0]


def plain(value: Any) -> Any:
    """As the database says it."""
    return value.value if hasattr(value, "value") else value


async def test_an_outcome_has_every_field_in_its_column(database: Database) -> None:
    row = an_outcome_row(
        segment=70_000,
        stratum=3,
        bucket=9_999,
        weight_bp=10_000,
        status=503,
        failed=True,
        attempts=2,
        end_us=3_600_000_000_000,
        arm=Arm.CANDIDATE,
        assigned_by=AssignedBy.FORCED,
        ending=Ending.CUT,
        fault=Fault.UPSTREAM,
        mirror="v2",
        mirror_drop=MirrorDrop.SLOTS,
        unit_hash=b"12345678",
        request_headers='{"accept":"*/*"}',
        response_headers='[["server","x"]]',
        facts='{"cost":0.25}',
    )
    recorded_at = await Recorder(database).commit(a_batch(outcomes=[row]))
    found = await the_row(database, "outcomes")
    assert tuple(sorted(found)) == tuple(sorted(OUTCOME_COLUMNS))
    assert (found.pop("exchange_id").bytes, found.pop("start_at"), found.pop("recorded_at")) == (
        row.exchange_id,
        START,
        recorded_at,
    )
    assert found.pop("request_headers") == {"accept": "*/*"}
    assert found.pop("response_headers") == [["server", "x"]]
    assert found.pop("facts") == {"cost": 0.25}
    assert found == {name: plain(getattr(row, name)) for name in found}


async def test_what_never_came_is_null(database: Database) -> None:
    row = an_outcome_row(connect_us=-1, written_us=-1, first_byte_us=-1, latency_us=-1, rollout="", status=0)
    await Recorder(database).commit(a_batch(outcomes=[row]))
    found = await the_row(database, "outcomes")
    nulls = {name for name, value in found.items() if value is None}
    assert nulls == {
        *("connect_us", "written_us", "first_byte_us", "latency_us", "rollout"),
        *("mirror", "mirror_drop", "unit_hash", "request_headers", "response_headers", "facts"),
    }
    assert (found["status"], found["end_us"]) == (0, 6_120)


@pytest.mark.parametrize("absent", ["connect_us", "written_us", "first_byte_us", "latency_us"])
async def test_each_duration_may_be_absent_alone(database: Database, absent: str) -> None:
    await Recorder(database).commit(a_batch(outcomes=[an_outcome_row(**{absent: -1})]))
    found = await the_row(database, "outcomes")
    assert [name for name in ("connect_us", "written_us", "first_byte_us", "latency_us") if found[name] is None] == [absent]
    assert (found["end_us"], found["path"], found["route"]) == (6_120, "/v1/models", "chat")


async def test_a_pair_has_every_field_in_its_column(database: Database) -> None:
    row = a_pair_row(
        live_status=200,
        shadow_status=500,
        shadow_failed=True,
        shadow_ending=Ending.RESET,
        live_latency_us=1,
        live_ttfb_us=2,
        live_end_us=3,
        live_bytes=4,
        shadow_latency_us=5,
        shadow_ttfb_us=6,
        shadow_end_us=7,
        shadow_bytes=8,
        same_status=False,
        same_body=False,
        facts='{"cost":1}',
        shadow_facts='{"cost":2}',
    )
    await Recorder(database).commit(a_batch(pairs=[row]))
    found = await the_row(database, "pairs")
    assert tuple(sorted(found)) == tuple(sorted(PAIR_COLUMNS))
    assert (found.pop("exchange_id").bytes, found.pop("start_at")) == (row.exchange_id, START)
    del found["recorded_at"]
    assert (found.pop("facts"), found.pop("shadow_facts")) == ({"cost": 1}, {"cost": 2})
    assert found == {name: plain(getattr(row, name)) for name in found}
    assert row.differs


@pytest.mark.parametrize(
    ("fields", "differs"),
    [
        ({}, False),
        ({"same_body": True}, False),
        ({"same_body": False}, True),
        ({"same_status": False}, True),
        ({"lost": True}, True),
        ({"shadow_failed": True}, True),
        ({"live_failed": True, "shadow_failed": True}, False),
    ],
)
async def test_a_pair_differs_where_someone_would_look(database: Database, fields: dict[str, Any], differs: bool) -> None:
    await Recorder(database).commit(a_batch(pairs=[a_pair_row(shadow_latency_us=-1, **fields)]))
    found = await the_row(database, "pairs")
    assert (found["differs"], found["same_body"], found["shadow_latency_us"]) == (differs, fields.get("same_body"), None)
    assert (found["facts"], found["shadow_facts"]) == (None, None)


async def test_bodies_come_back(database: Database) -> None:
    bodies = Bodies(request=b"ask", live=b"x" * 100_000, shadow=bytes(range(256)), shadow_truncated=True)
    key = an_exchange_id()
    row = BodyRow(exchange_id=key, keep_until_us=START_US, route="chat", blob=pack_bodies(bodies))
    await Recorder(database).commit(a_batch(bodies=[row]))
    found = await the_row(database, "bodies")
    assert (found["exchange_id"].bytes, found["keep_until"], found["route"]) == (key, START, "chat")
    assert unpack_bodies(found["body"]) == bodies


async def test_odd_texts_are_escaped_not_refused(database: Database) -> None:
    row = an_outcome_row(path="/a\0b\udc80\u00e9\U0001f600", method="\0", route="\ud800")
    await Recorder(database).commit(a_batch(outcomes=[row]))
    found = await the_row(database, "outcomes")
    assert (found["path"], found["method"], found["route"]) == ("/a\\x00b\\udc80\u00e9\U0001f600", "\\x00", "\\ud800")


@pytest.mark.parametrize(
    "bad",
    [
        {"status": 70_000},
        {"segment": 2**31},
        {"request_headers": "{not json"},
        {"exchange_id": b"short"},
        {"end_us": 2**63},
        {"attempts": "two"},
    ],
)
async def test_a_bad_row_is_refused_and_takes_the_whole_batch(database: Database, bad: dict[str, Any]) -> None:
    recorder = Recorder(database)
    await recorder.commit(a_batch(0, 10, outcomes=[an_outcome_row()]))
    with pytest.raises(DataRefused):
        await recorder.commit(a_batch(10, 20, outcomes=[an_outcome_row(), an_outcome_row(**bad), an_outcome_row()]))
    assert await database.rows("SELECT count(*) FROM outcomes") == [(1,)]
    assert (await recorder.load("j1")).offset == 10
    await recorder.commit(a_batch(10, 20, outcomes=[an_outcome_row()]))


async def test_a_refusal_quotes_no_data(database: Database) -> None:
    row = an_outcome_row(request_headers='{"x": sk-live-4242}')
    with pytest.raises(DataRefused) as caught:
        await Recorder(database).commit(a_batch(outcomes=[row]))
    told = "".join(traceback.format_exception(caught.value))
    assert "sk-live" not in told
    assert "InvalidTextRepresentation" in str(caught.value)


async def test_a_row_twice_in_one_batch_is_refused(database: Database) -> None:
    row = an_outcome_row()
    with pytest.raises(DataRefused):
        await Recorder(database).commit(a_batch(outcomes=[row, row]))


async def test_recorded_at_is_the_databases_time_whatever_the_row_says(database: Database) -> None:
    old = an_outcome_row(start_at_us=0)
    recorded_at = await Recorder(database).commit(a_batch(outcomes=[old, an_outcome_row()]))
    (low, high, now) = (await database.rows("SELECT min(recorded_at), max(recorded_at), now() FROM outcomes"))[0]
    assert low == high == recorded_at
    assert abs(now - recorded_at) < timedelta(minutes=1)


async def test_a_large_batch_is_whole(database: Database) -> None:
    rows = [an_outcome_row() for _ in range(3_000)]
    pairs = [a_pair_row(row.exchange_id) for row in rows]
    await Recorder(database).commit(a_batch(outcomes=rows, pairs=pairs))
    assert await database.rows("SELECT count(*), count(DISTINCT exchange_id) FROM outcomes") == [(3_000, 3_000)]
    assert await database.rows("SELECT count(*) FROM outcomes JOIN pairs USING (exchange_id, recorded_at)") == [(3_000,)]


def test_rows_are_values() -> None:
    row = an_outcome_row()
    assert msgspec.structs.replace(row, status=201).status == 201
    assert row.status == 200
