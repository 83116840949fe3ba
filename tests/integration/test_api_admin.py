"""The admin port as programs meet it: who may enter, what orders do, how mistakes are told."""

import asyncio
import base64
import json
from typing import Any

import msgspec
import pytest

from canary.errors import ConfigError, DataRefused, StoreAway
from canary.rollout.calibration import Round
from canary.rollout.decide import decide
from canary.rollout.harm import Harm
from canary.rollout.state import Before, Trouble
from canary.stats.evidence import Alert
from canary.stats.profile import Profile
from canary.terms import Action, Phase
from tests.support.admin_world import PAIR, AdminWorld, DamagedCounters
from tests.support.declaring import declaring
from tests.support.rollouts import a_metric, a_state, an_evidence, at
from tests.support.store_rows import a_decision

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def world() -> AdminWorld:
    made = AdminWorld()
    await made.publish()
    return made


async def _created(client: Any) -> dict[str, Any]:
    answer = await client.post("/api/v1/rollouts", json={"route": "chat", "candidate": "v2", "reason": "cheaper"})
    assert answer.status == 201, await answer.text()
    found: dict[str, Any] = await answer.json()
    assert answer.headers["Location"] == f"/api/v1/rollouts/{found['id']}"
    return found


async def test_a_rollout_is_created_listed_and_shown_without_its_salt(client: Any) -> None:
    found = await _created(client)
    assert (found["phase"], found["plan"], found["weight_bp"]) == ("pending", "careful", 0)
    listed = await (await client.get("/api/v1/rollouts?route=chat")).json()
    assert [r["id"] for r in listed["rollouts"]] == [found["id"]]
    shown = await (await client.get(f"/api/v1/rollouts/{found['id']}")).json()
    assert shown["evidence"]["metrics"][0]["candidate_events"] == 0, "defaults are written too"
    assert "salt" not in shown
    assert "scoring" not in shown


async def test_orders_move_it_and_stand_in_the_log_with_actor_and_reason(client: Any) -> None:
    found = await _created(client)
    path = f"/api/v1/rollouts/{found['id']}"
    answer = await client.post(f"{path}/cancel", json={"reason": "wrong one"}, headers={"X-Canary-Actor": "ada"})
    assert (answer.status, (await answer.json())["phase"]) == (200, "cancelled")
    rows = (await (await client.get(f"{path}/decisions")).json())["decisions"]
    assert (rows[0]["actor"], rows[0]["decision"]["action"]) == ("ada", "cancel")
    assert "wrong one" in rows[0]["decision"]["because"]
    assert "totals" not in rows[0]
    again = await client.post(f"{path}/hold", json={"reason": "too late"})
    assert again.status == 409


async def test_an_order_on_a_rollout_that_moved_since_is_a_conflict(client: Any) -> None:
    found = await _created(client)
    path = f"/api/v1/rollouts/{found['id']}"
    assert (await client.post(f"{path}/hold", json={"reason": "look"})).status == 200
    answer = await client.post(f"{path}/resume", json={"reason": "seen", "expected_revision": found["revision"]})
    assert answer.status == 409
    problem = await answer.json()
    assert problem["type"] == "urn:canary:problem:stale-revision"
    assert answer.headers["Content-Type"].startswith("application/problem+json")


@pytest.mark.parametrize(
    ("body", "mistakes"),
    [
        ({}, ["`route` is missing", "`candidate` is missing"]),
        (
            {"route": "chat", "candidat": "v2"},
            ["unknown field `candidat`: did you mean `candidate`?", "`candidate` is missing"],
        ),
        ({"route": 1, "candidate": "v2", "retry": "yes"}, ["`route` is a text, not 1", '`retry` is true or false, not "yes"']),
        ([], ["the body is a JSON object"]),
        ({"route": [], "candidate": {}}, ["`route` is a text, not []", "`candidate` is a text, not {}"]),
    ],
)
async def test_all_mistakes_of_a_body_are_told_at_once(client: Any, body: Any, mistakes: list[str]) -> None:
    answer = await client.post("/api/v1/rollouts", json=body)
    assert answer.status == 400
    assert (await answer.json())["errors"] == mistakes


async def test_words_for_what_is_not_there_or_not_allowed(client: Any) -> None:
    for path in ("/api/v1/rollouts/nobody", f"/api/v1/pairs/{PAIR[:-1]}9", "/api/v1/nothing"):
        answer = await client.get(path)
        assert (answer.status, answer.content_type) == (404, "application/problem+json"), path
    assert (await client.get("/api/v1/rollouts?limit=0")).status == 400
    assert (await client.post("/api/v1/rollouts", json={"route": "chat", "candidate": "v9"})).status == 404
    assert (await client.post("/api/v1/rollouts", data="{", headers=JSON)).status == 400
    answer = await client.post("/api/v1/routes", json={})
    assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
    found = await _created(client)
    assert (await client.post(f"/api/v1/rollouts/{found['id']}/hold", json={"reason": " "})).status in {400, 422}
    assert (await client.post(f"/api/v1/rollouts/{found['id']}/hold", json={"reason": "x", "full": True})).status == 400


async def test_pairs_say_their_declared_values(client: Any, world: AdminWorld) -> None:
    assert (await (await client.get(f"/api/v1/pairs/{PAIR}")).json())["values"] == []
    await declaring(world)
    pair = await (await client.get(f"/api/v1/pairs/{PAIR}")).json()
    assert [(row["name"], row["kind"], row["unit"]) for row in pair["values"]][:2] == [
        ("cost", "mean", "USD"),
        ("refused", "rate", ""),
    ]
    assert pair["values"][0]["live"] == {"state": "told", "value": 0.004, "text": "0.004 USD"}
    assert [row["shadow"]["state"] for row in pair["values"]] == ["told", "absent", "unreadable"]
    assert "facts" not in pair["live"], "said once"
    (listed,) = (await (await client.get("/api/v1/pairs")).json())["pairs"]
    assert listed["values"] == pair["values"]
    assert listed["values_text"].startswith("cost 0.004 USD / 0.0055 USD, refused no / absent")


async def test_pairs_are_listed_by_filters_and_shown_with_bodies(client: Any, world: AdminWorld) -> None:
    answer = await client.get("/api/v1/pairs?rollout=r1&differing=1&limit=7")
    assert (await answer.json())["pairs"][0]["exchange_id"] == PAIR
    assert world.pairs.asked == {"route": None, "rollout": "r1", "differing": True, "limit": 7, "before": None}
    pair = await (await client.get(f"/api/v1/pairs/{PAIR}")).json()
    assert pair["bodies"]["live"] == {"text": "<script>alert(1)</script>", "truncated": True}
    assert base64.b64decode(pair["bodies"]["shadow"]["base64"]) == b"\xff\xfe"
    assert (await client.get("/api/v1/pairs?rolout=r1")).status == 400


async def test_a_refused_file_is_told_with_every_mistake(client: Any, world: AdminWorld) -> None:
    answer = await client.post("/-/reload?dry_run=1", headers=JSON)
    assert (await answer.json())["differences"] == ["routes.chat.stable: v1 -> v2"]
    world.trouble = ConfigError("canary.yaml:1:1: one\ncanary.yaml:2:1: two", hint="look")
    answer = await client.post("/-/reload", headers=JSON)
    assert answer.status == 400
    assert (await answer.json())["errors"] == ["canary.yaml:1:1: one", "canary.yaml:2:1: two"]
    assert world.reloads == [True, False]


async def test_without_the_store_it_lives_and_says_so(client: Any, world: AdminWorld) -> None:
    world.services.books = None
    assert (await client.get("/livez")).status == 200
    assert (await (await client.get("/readyz")).json()) == {"ready": True, "store": "away"}
    answer = await client.get("/api/v1/rollouts")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert (await client.get("/metrics")).status == 200
    assert (await client.get("/")).status == 503


async def test_a_fault_of_ours_is_a_problem_without_inner_words(client: Any, world: AdminWorld) -> None:
    found = await _created(client)
    world.trouble = RuntimeError("password=s3cr3t")
    answer = await client.get(f"/api/v1/rollouts/{found['id']}")
    assert answer.status == 500
    assert "s3cr3t" not in await answer.text()


async def test_metrics_show_rollouts_that_are_not_over(client: Any, world: AdminWorld) -> None:
    await world.books.rollouts.create(a_state(Phase.CANARYING, revision=1), a_decision())
    text = await (await client.get("/metrics")).text()
    assert 'canary_rollout_weight_ratio{rollout="r1",route="chat"} 0.05' in text
    assert 'canary_e_value{metric="error",rollout="r1",route="chat",side="promote"} 1.0' in text
    assert 'phase="canarying"' in text


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8081", "[::2]", ""])
async def test_other_names_than_its_own_are_no_way_in(client: Any, host: str) -> None:
    answer = await client.get("/api/v1/rollouts", headers={"Host": host})
    assert answer.status == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:99", "[::1]:8081", "LOCALHOST"])
async def test_its_own_names_are(client: Any, host: str) -> None:
    assert (await client.get("/api/v1/rollouts", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (JSON | {"Origin": "http://evil.example"}, 403),
        (JSON | {"Origin": "null"}, 403),
        (JSON | {"Origin": "http://["}, 403),
        (JSON | {"Sec-Fetch-Site": "cross-site"}, 403),
        (JSON | {"Origin": "http://localhost:8081", "Host": "localhost:8081", "Sec-Fetch-Site": "same-origin"}, 404),
        (JSON, 404),
    ],
)
async def test_orders_from_foreign_pages_are_refused(client: Any, headers: dict[str, str], status: int) -> None:
    answer = await client.post("/api/v1/rollouts/none/promote", data=json.dumps({"reason": "x"}), headers=headers)
    assert answer.status == status


def _basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"me:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        ("Bearer wrong", 401),
        ("Bearer s3cr3t-", 401),
        ("s3cr3t", 401),
        ("Basic !!!", 401),
        ("Basic é", 401),
        ("Bearer é", 401),
        (_basic("wrong"), 401),
        ("Bearer s3cr3t", 200),
        ("bearer s3cr3t", 200),
        (_basic("s3cr3t"), 200),
    ],
)
async def test_with_a_token_only_those_who_know_it_enter(world: AdminWorld, authorization: str | None, status: int) -> None:
    headers = {"Host": "canary.internal"} | ({"Authorization": authorization} if authorization else {})
    async with world.client(token="s3cr3t", host="0.0.0.0") as client:
        for path in ("/api/v1/rollouts", "/", "/metrics", "/pairs", "/static/console.css"):
            answer = await client.get(path, headers=headers)
            assert answer.status == status, path
        assert (await client.get("/livez", headers=headers)).status == 200
        assert (await client.post("/livez", headers=headers)).status in {401, 405, 415}


async def test_a_token_that_is_no_text_is_a_wrong_one(world: AdminWorld) -> None:
    async with world.client(token="s3cr3t", host="0.0.0.0") as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \xff\xfe\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(10):
            assert (await reader.read()).startswith(b"HTTP/1.1 401")
        writer.close()
        await writer.wait_closed()


async def test_a_body_nested_beyond_reading_is_a_mistake(client: Any) -> None:
    answer = await client.post("/api/v1/rollouts", data="[" * 50_000 + "]" * 50_000, headers=JSON)
    assert answer.status == 400
    assert "no JSON that can be read" in (await answer.json())["detail"]


async def test_what_no_column_takes_is_a_fault_of_who_asked(client: Any, world: AdminWorld) -> None:
    world.trouble = DataRefused("Postgres refused a value: DataError")
    answer = await client.post("/-/reload", headers=JSON)
    assert answer.status == 422


async def test_every_answer_carries_the_headers_that_close_a_browser(client: Any) -> None:
    for path in ("/", "/api/v1/rollouts", "/api/v1/nothing", "/livez"):
        answer = await client.get(path)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"


async def _decided(world: AdminWorld) -> str:
    """A decision that a controller made."""
    state = (await world.books.rollouts.find())[0]
    row = a_decision("d9", rollout=state.id, action=Action.KEEP, plan_hash=state.plan_hash, before=Before.of(state, at(5)))
    row = msgspec.structs.replace(row, decision=decide(state, None, at(5), profile_n=0))
    await world.books.rollouts.save(state, state, row)
    return row.id


async def test_a_decision_is_made_again_and_a_touched_one_is_told(client: Any, world: AdminWorld) -> None:
    await _created(client)
    id_ = await _decided(world)
    found = await (await client.get(f"/api/v1/decisions/{id_}/replay")).json()
    assert (found["same"], found["replayed"], found["differences"]) == (True, True, [])
    assert found["stored"]["because"] == found["because"] == "waiting: profile 0/100"
    row = await world.books.rollouts.decision(id_)
    touched = msgspec.structs.replace(row, id="d10", decision=msgspec.structs.replace(row.decision, because="the moon"))
    state = (await world.books.rollouts.find())[0]
    await world.books.rollouts.save(state, state, touched)
    found = await (await client.get("/api/v1/decisions/d10/replay")).json()
    assert not found["same"]
    assert found["differences"] == ["decision.because: stored the moon, made again waiting: profile 0/100"]
    assert (await client.get("/api/v1/decisions/nothing/replay")).status == 404
    shown = await (await client.get(f"/api/v1/decisions/{id_}")).json()
    assert shown["id"] == id_
    assert "read" not in shown


async def test_a_look_in_full_says_what_is_needed_and_how_long_it_takes(client: Any, world: AdminWorld) -> None:
    made = await _created(client)
    world.harm = Harm(served=100, failed=3, expected_failed=2.0, worst_failed=3.0)
    world.evidence = an_evidence(a_metric(), alerts=(Alert(name="limit:error", because="too many"),))
    found = await (await client.get(f"/api/v1/rollouts/{made['id']}/evidence")).json()
    (row,) = found["metrics"]
    assert (row["metric"], row["estimate"], row["gate"]) == ("error", None, True)
    assert row["verdict"]["promote"] == "undecided"
    assert found["rollout"]["harm"]["text"].startswith("3 of 100 requests to the candidate failed, about 2 beyond")
    assert found["rollout"]["evidence"]["alerts"] == [{"name": "limit:error", "because": "too many"}]
    assert (found["forecast_from_s"], found["confidence"]) == (None, 0.95)


async def test_a_list_says_which_of_all_rollouts_are_worse(client: Any, world: AdminWorld) -> None:
    await _created(client)
    world.evidence = an_evidence(a_metric(log_e_rollback=4.0))
    plain = await (await client.get("/api/v1/rollouts")).json()
    assert "fleet" not in plain
    fleet = (await (await client.get("/api/v1/rollouts?fleet=1")).json())["fleet"]
    assert (fleet["q"], fleet["worse"], len(fleet["rollouts"])) == (0.05, 1, 1)


async def test_a_routes_profile_is_served_for_trying_plans_out(client: Any) -> None:
    found = await (await client.get("/api/v1/routes/chat/profile")).json()
    assert (found["route"], found["version"], found["n"]) == ("chat", "v1", 0)
    assert msgspec.convert(found["profile"], Profile) == Profile()
    assert (await client.get("/api/v1/routes/nothing/profile")).status == 404


async def test_calibration_tells_its_rounds_and_its_rate(client: Any, world: AdminWorld) -> None:
    empty = await (await client.get("/api/v1/calibration")).json()
    assert (empty["summary"]["rounds"], empty["summary"]["rate"], empty["rounds"]) == (0, None, [])
    for number in range(3):
        await world.calibration.record(
            Round(id=f"r{number}", route="chat", opened_at=at(0), closed_at=at(number), requests=10, alarmed=number == 0)
        )
    text = await (await client.get("/metrics")).text()
    assert 'canary_calibration_rounds{alarmed="true",route="chat"} 1.0' in text
    assert 'canary_calibration_rounds{alarmed="false",route="chat"} 2.0' in text
    found = await (await client.get("/api/v1/calibration?route=chat&limit=2")).json()
    assert [one["id"] for one in found["rounds"]] == ["r2", "r1"]
    found = await (await client.get("/api/v1/calibration")).json()
    assert (found["summary"]["alarms"], found["summary"]["rounds"], found["summary"]["alpha"]) == (1, 3, 0.05)
    assert found["summary"]["lower"] < 1 / 3 < found["summary"]["upper"]


async def test_one_rollout_that_cannot_be_looked_at_hides_no_other(client: Any, world: AdminWorld) -> None:
    broken = a_state(Phase.CANARYING, id="r1", route="bad", trouble=Trouble(since=at(0), error="ValueError at look.py:1"))
    await world.books.rollouts.create(broken, a_decision())
    await world.books.rollouts.create(a_state(Phase.CANARYING, id="r2"), a_decision("d2", rollout="r2"))
    world.look_with(DamagedCounters("r1"))
    text = await (await client.get("/metrics")).text()
    assert 'canary_rollout_troubled{rollout="r1",route="bad"} 1.0' in text
    assert 'canary_rollout_troubled{rollout="r2",route="chat"} 0.0' in text
    assert 'canary_rollout_weight_ratio{rollout="r2",route="chat"} 0.05' in text
    shown = await (await client.get("/api/v1/rollouts/r1")).json()
    assert [alert["name"] for alert in shown["alerts"]] == ["trouble", "unseen"]
    assert "since 2026-01-05 09:00:00 UTC has failed (ValueError at look.py:1)" in shown["alerts"][0]["because"]
    assert shown["trouble"]["since"].startswith("2026-01-05T09:00:00")
    assert (await (await client.get("/api/v1/rollouts/r1/evidence")).json())["metrics"] == []
    assert (await (await client.get("/api/v1/rollouts/r2")).json())["alerts"] == []
    assert (await (await client.get("/api/v1/rollouts?fleet=1")).json())["fleet"]["rollouts"] == []
    page = await (await client.get("/")).text()
    assert page.count("every look of the controller since 2026-01-05 09:00:00 UTC has failed") == 1
    assert page.count("the numbers cannot be shown") == 1
    assert (await client.get("/rollouts/r1")).status == 200


async def test_a_store_that_is_away_is_said_as_such(client: Any, world: AdminWorld) -> None:
    await world.books.rollouts.create(a_state(Phase.CANARYING), a_decision())
    world.look_with(DamagedCounters("r1", StoreAway("connection refused")))
    assert (await client.get("/api/v1/rollouts/r1")).status == 503
