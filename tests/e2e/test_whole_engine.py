"""The comparison engine through the real program: one `canary serve`, a town of services, a rollout on each street.

All rollouts run at the same time, so the file takes as long as its slowest one: values are settled by whole minutes.
"""

import math
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.deadline import wait_for
from tests.support.serving import Serving
from tests.support.town import Street, Town, Ways

pytestmark = pytest.mark.timeout(900)

DECIDED_S = 420.0  # far above what it takes: the machine may have other work

HEAD = """\
listen: 127.0.0.1:{data}
admin: {{listen: 127.0.0.1:{admin}}}
sidecar: {{listen: 127.0.0.1:{sidecar}}}
state_dir: state
answer_headers: {{version: true}}
plans:
  quick: &quick
    shadow: {{share: 0%}}
    stages: [{{weight: 50%, dwell: 2s}}]
    watch: {{for: 0s}}
    warm_up: 1s
    min_profile: 400
    margins:
      error: {{rollback: 1.1x + 0.05pp, promote: 1.5x + 8pp}}
      p50: {{rollback: 3%, promote: 100%}}
      p95: {{rollback: 5%, promote: 150%}}
      p99: {{rollback: 10%, promote: off}}
  ramped:
    <<: *quick
    stages: [{{weight: 10%, dwell: 2s}}, {{weight: 25%, dwell: 2s}}, {{weight: 50%, dwell: 2s}}]
  patient:
    <<: *quick
    stages: [{{weight: 50%, dwell: 1h}}]
  paired:
    <<: *quick
    shadow: {{share: 100%, min_pairs: 100000}}
routes:
"""

ROUTE = """\
  {name}:
    match: {{path_prefix: /{name}/}}
    versions: {{v1: {{upstream: "http://127.0.0.1:{v1}"}}, v2: {{upstream: "http://127.0.0.1:{v2}"}}}}
    stable: v1
    deadlines: {{connect: 500ms, answer: 1s}}
"""

VALUES = """\
    metrics:
      cost: {from: "json:/usage/cost", kind: cost, rollback: 1.02x, promote: 1.5x}
      score: {from: "json:/score", kind: quality, cap: 1, rollback: + 0.005, promote: + 0.2}
"""

MORE = {
    "identical": VALUES + "    diversity: json:/text\n",
    "costs": VALUES,
    "qualities": VALUES,
    "preferences": '    preference: {prefer: "json:/score", better: higher, rollback: 0.01, promote: 0.2}\n',
    "sticky": "    unit: {header: x-user}\n",
    "sticky_same": "    unit: {header: x-user}\n",
    "constant": "    diversity: json:/text\n",
}

STREETS = {
    "identical": (Ways(), 0),
    "errors": (Ways(fails=0.25), 0),
    "latencies": (Ways(slow_s=0.04), 0),
    "costs": (Ways(cost=2.0), 0),
    "qualities": (Ways(score=0.45), 0),
    "preferences": (Ways(score=0.6), 0),
    "sticky": (Ways(fails=0.4), 400),
    "sticky_same": (Ways(), 400),
    "drifting": (Ways(), 0),
    "late": (Ways(), 0),
    "constant": (Ways(says=("I do not know",), slow_s=0.008), 0),
    "silent": (Ways(hangs=True), 0),
}
PLANS = {"drifting": "ramped", "preferences": "paired", "late": "patient"}
LATE_S = 70.0


class World:
    """Everything under way: the program, the town, and each street's rollout."""

    def __init__(self, serving: Serving, town: Town) -> None:
        self.serving, self.town = serving, town
        self.rollouts: dict[str, str] = {}
        self.begun = time.monotonic()

    def begin(self) -> None:
        for name in STREETS:
            wish = {"route": name, "candidate": "v2", "plan": PLANS.get(name, "quick"), "reason": "test"}
            status, found = self.serving.api("POST", "/api/v1/rollouts", wish)
            assert status == 201, found
            self.rollouts[name] = found["id"]

    def state(self, name: str) -> dict[str, Any]:
        status, found = self.serving.api("GET", f"/api/v1/rollouts/{self.rollouts[name]}")
        assert status == 200, (found, self.serving.log.read_text()[-4000:])
        return dict(found)

    def wait(self, name: str, phase: str) -> dict[str, Any]:
        """The rollout in this phase; fails at once where it ended in another."""

        def look() -> dict[str, Any] | None:
            found = self.state(name)
            ended = found["phase"] in {"done", "rolled_back", "cancelled"}
            assert not ended or found["phase"] == phase, found["because"]
            return found if found["phase"] == phase else None

        return dict(wait_for(look, DECIDED_S, what=f"{name} {phase}: {self.state(name)['because']}"))

    def decisions(self, name: str) -> list[dict[str, Any]]:
        return list(self.serving.api("GET", f"/api/v1/rollouts/{self.rollouts[name]}/decisions")[1]["decisions"])

    def answers(self, name: str, version: str) -> int:
        return sum(count for key, count in self.town.streets[name].answers.items() if key.startswith(version))


def _drift(world: World, stop: threading.Event) -> None:
    """Both versions of the drifting street get worse and better together; the late candidate breaks in its second minute."""
    drifting, late = world.town.streets["drifting"], world.town.streets["late"]
    while not stop.wait(0.5):
        age_s = time.monotonic() - world.begun
        share = 0.02 + 0.10 * (1 - math.cos(age_s / 15)) / 2
        drifting.stable.fails = drifting.candidate.fails = share
        drifting.stable.slow_s = drifting.candidate.slow_s = 0.01 + 0.01 * (1 - math.cos(age_s / 11)) / 2
        if age_s >= LATE_S:
            late.candidate.fails = 0.3


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    streets = [
        Street(name, Ways(), ways, rate=40.0 if name != "identical" else 80.0, users=users)
        for name, (ways, users) in STREETS.items()
    ]
    with Town(streets) as town:
        serving = Serving(tmp_path_factory.mktemp("town"))
        routes = "".join(ROUTE.format(name=s.name, **s.ports) + MORE.get(s.name, "") for s in streets)
        serving.write_config(text=HEAD + routes.replace("{", "{{").replace("}", "}}"))
        stop = threading.Event()
        with serving:
            found = World(serving, town)
            town.send_to(serving.data)
            found.begin()
            weather = threading.Thread(target=_drift, args=(found, stop))
            weather.start()
            try:
                yield found
            finally:
                stop.set()
                weather.join()


def _rolled_back(world: World, name: str) -> str:
    return str(world.wait(name, "rolled_back")["because"])


def test_errors_roll_back(world: World) -> None:
    assert "error" in _rolled_back(world, "errors")


def test_latency_rolls_back(world: World) -> None:
    assert "slow answers" in _rolled_back(world, "latencies")


def test_cost_rolls_back(world: World) -> None:
    assert "cost" in _rolled_back(world, "costs")


def test_quality_rolls_back(world: World) -> None:
    assert "score" in _rolled_back(world, "qualities")


def test_preference_rolls_back_in_the_shadow_and_no_client_saw_the_candidate(world: World) -> None:
    assert "preference" in _rolled_back(world, "preferences")
    assert world.answers("preferences", "v2") == 0


def test_an_identical_candidate_is_promoted_with_all_its_metrics_as_gates(world: World) -> None:
    world.wait("identical", "done")
    last = world.decisions("identical")[0]["decision"]
    passed = {verdict["metric"] for verdict in last["verdicts"] if verdict["promote"] == "pass"}
    assert {"error_timeout", "p50", "p95", "cost", "score"} <= passed


def test_sticky_users_whose_candidate_fails_roll_back(world: World) -> None:
    because = _rolled_back(world, "sticky")  # failed answers are late ones too, and count as late before the deadline
    assert "error" in because or "slow answers" in because


def test_a_ramp_under_a_drifting_baseline_is_no_regression(world: World) -> None:
    wait_for(lambda: (world.state("drifting")["stage"] or 0) >= 1, DECIDED_S, what="a first advance")
    world.wait("errors", "rolled_back")
    assert world.state("drifting")["phase"] != "rolled_back", world.state("drifting")["because"]


def test_a_late_onset_rolls_back(world: World) -> None:
    assert "error" in _rolled_back(world, "late")
    assert time.monotonic() - world.begun > LATE_S


def test_a_candidate_that_always_says_the_same_does_not_win(world: World) -> None:
    because = _rolled_back(world, "constant")
    assert "divers" in because or "same" in because


def test_a_silent_candidate_rolls_back(world: World) -> None:
    assert "error" in _rolled_back(world, "silent")


def test_sticky_users_of_an_equal_candidate_are_left_alone(world: World) -> None:
    world.wait("costs", "rolled_back")  # two minutes and more have been looked at by then
    assert world.state("sticky_same")["phase"] not in {"rolled_back", "cancelled"}, world.state("sticky_same")["because"]
