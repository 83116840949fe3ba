"""What a route measures reaches the journal: answers' bodies and fields that its metrics read, the class of each request."""

from pathlib import Path

from canary.config.load import load
from canary.observe.content import Content
from canary.observe.outcome import observe
from canary.observe.values import Reader
from canary.split.spec import RecordSpec, RouteSpec, Split
from canary.store.frames import Live, Open
from canary.terms import Arm, AssignedBy, Measures
from tests.support.http_client import Client
from tests.support.upstreams import OK, Link, Upstream, answering
from tests.support.worker_process import WorkerProcess, a_route, a_snapshot, a_split, a_version, wait_for_frames

SCORED = b'{"usage": {"score": 0.75}}'


def a_file_route(port: int, *lines: str, split: Split | None = None) -> RouteSpec:
    """The route of a file with these lines."""
    told = "".join(f"    {line}\n" for line in lines)
    version = f'{{upstream: "http://127.0.0.1:{port}"}}'
    text = f"routes:\n  main:\n    versions: {{v1: {version}, v2: {version}}}\n    stable: v1\n{told}"
    spec = load(text, path="canary.yaml", env={}).config.routes[0]
    return RouteSpec(**{field: getattr(spec, field) for field in spec.__struct_fields__} | {"split": split})


def lives(tmp_path: Path, route: RouteSpec, *fields: str) -> list[Live]:
    """The live frames of one request for each of the fields given."""
    with WorkerProcess(tmp_path, a_snapshot(route)) as worker, Client(worker.port) as client:
        for more in fields:
            assert client.ask("GET", headers=more).status == 200
        return wait_for_frames(Live, worker.state_dir, len(fields))


def values(route: RouteSpec, frame: Live) -> tuple[float | None, ...]:
    """What the route measures, as the frame holds it."""
    return Reader(route.measures).values(Content(frame.side), observe(frame.side))


def scored(cost: int = 0) -> bytes:
    """An answer with a score in its body and a cost in its head."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Cost: 0.%03d\r\nSet-Cookie: a=b\r\n" % cost
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(SCORED), SCORED)


def test_a_body_is_captured_for_a_metric_where_bodies_are_off(tmp_path: Path) -> None:
    with Upstream(answering(scored())) as upstream:
        (plain,) = lives(tmp_path / "a", a_file_route(upstream.port), "")
        route = a_file_route(upstream.port, 'metrics: {score: {from: "json:/usage/score", kind: quality, cap: 1}}')
        (read,) = lives(tmp_path / "b", route, "")
    assert (plain.side.body, plain.side.response_bytes) == (b"", len(SCORED))
    assert read.side.body == SCORED
    assert values(route, read) == (0.75,)


def test_a_body_is_captured_for_diversity_alone(tmp_path: Path) -> None:
    with Upstream(answering(OK)) as upstream:
        (frame,) = lives(tmp_path, a_file_route(upstream.port, "diversity: body"), "")
    assert frame.side.body == b"ok"


def test_a_metrics_header_is_written_down_with_each_answers_own_value(tmp_path: Path) -> None:
    def script(link: Link) -> None:
        cost = 0
        while link.request() is not None:
            cost += 1
            link.send(scored(cost))

    lines = ("metrics: {cost: {from: header:X-Cost, kind: cost}}", "record: {response_headers: [server]}")
    with Upstream(script) as upstream:
        route = a_file_route(upstream.port, *lines)
        frames = lives(tmp_path, route, *[""] * 5)
    assert [values(route, frame) for frame in frames] == [(n / 1000,) for n in range(1, 6)]
    assert {name for frame in frames for name, _ in frame.side.headers} == {"x-cost"}
    assert not any(frame.side.body for frame in frames)


def test_fields_that_carry_secrets_are_not_written_down_whatever_the_snapshot_says(tmp_path: Path) -> None:
    record = RecordSpec(
        request_headers=("authorization", "cookie", "x-session-token", "x-a"), response_headers=("set-cookie", "x-cost")
    )
    secrets = "Authorization: Bearer hunter2\r\nCookie: sid=hunter2\r\nX-Session-Token: hunter2\r\nX-A: 1\r\n"
    with Upstream(answering(scored())) as upstream:
        (frame,) = lives(tmp_path, a_route(a_version("v1", upstream.port), record=record), secrets)
    assert frame.request_headers == (("x-a", "1"),)
    assert frame.side.headers == (("x-cost", "0.000"),)


def test_a_request_belongs_to_the_class_that_it_names_on_either_arm(tmp_path: Path) -> None:
    named = [f"X-Class: {name}\r\n" for name in ("G0", "G1", "G9", "g1", "G1")]
    lines = "classes: {header: x-class, names: [G0, G1]}"
    with Upstream(answering(OK)) as upstream:
        for weight_bp, arm in ((0, Arm.STABLE), (10_000, Arm.CANDIDATE)):
            state_dir = tmp_path / arm
            route = a_file_route(upstream.port, lines, split=a_split(weight_bp=weight_bp))
            frames = lives(state_dir, route, *named, "")
            opens = wait_for_frames(Open, state_dir, 6)
            assert [frame.stratum for frame in frames] == [1, 2, 0, 0, 2, 0]
            assert [frame.stratum for frame in opens] == [1, 2, 0, 0, 2, 0]
            assert {(frame.arm, frame.assigned_by) for frame in frames} == {(arm, AssignedBy.HASH)}


def test_a_class_is_known_without_a_rollout(tmp_path: Path) -> None:
    with Upstream(answering(OK)) as upstream:
        route = a_file_route(upstream.port, "classes: {header: x-class, names: [G0, G1]}")
        frames = lives(tmp_path, route, "X-Class: G1\r\n", "")
    assert [(frame.stratum, frame.assigned_by) for frame in frames] == [(2, AssignedBy.DEFAULT), (0, AssignedBy.DEFAULT)]


def test_a_header_names_no_class_where_none_is_declared(tmp_path: Path) -> None:
    with Upstream(answering(OK)) as upstream:
        route = a_route(a_version("v1", upstream.port), measures=Measures(classes=("G0",)))
        (frame,) = lives(tmp_path, route, "X-Class: G0\r\n")
    assert frame.stratum == 0
