"""The admin port as programs meet it: who may enter, what orders do, how mistakes are told."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from canary.errors import ConfigError
from canary.terms import Phase
from tests.support.admin_world import PAIR, AdminWorld
from tests.support.rollouts import a_state
from tests.support.store_rows import a_decision

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def world() -> AdminWorld:
    made = AdminWorld()
    await made.publish()
    return made


@pytest.fixture
async def client(world: AdminWorld) -> AsyncIterator[Any]:
    async with world.client() as open_client:
        yield open_client


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


async def test_every_answer_carries_the_headers_that_close_a_browser(client: Any) -> None:
    for path in ("/", "/api/v1/rollouts", "/api/v1/nothing", "/livez"):
        answer = await client.get(path)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
