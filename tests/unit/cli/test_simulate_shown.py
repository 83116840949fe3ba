"""`canary simulate` as people read it, and its mistakes in words."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from canary.cli.simulate import simulate
from canary.cli.simulated import as_value, print_report, report
from canary.rollout.plan import Plan
from canary.rollout.simulate import Question
from canary.rollout.typical import typical_profile
from canary.terms import RouteKind

FILE = """\
routes:
  chat:
    versions:
      v1: {upstream: "http://127.0.0.1:9001"}
      v2: {upstream: "http://127.0.0.1:9002"}
    stable: v1
  sticky:
    match: {path_prefix: /s}
    unit: {header: x-user-id}
    versions:
      v1: {upstream: "http://127.0.0.1:9001"}
    stable: v1
plans:
  quick: {shadow: {share: 0%}, stages: [{weight: 50%, dwell: 1m}], watch: {for: 0}, max_duration: 1h, warm_up: 0}
  other: {stages: [{weight: 5%}], max_duration: 2h}
"""
NOBODY = "http://127.0.0.1:9"


def run(tmp_path: Path, *words: str, file: str = FILE) -> Result:
    path = tmp_path / "canary.yaml"
    path.write_text(file)
    return CliRunner().invoke(simulate, ["-c", str(path), *words], env={"CANARY_ADMIN": NOBODY})


def test_the_table_says_what_is_found_and_what_is_not(tmp_path: Path) -> None:
    done = run(tmp_path, "--plan", "quick", "--route", "chat", "--rate", "600/min", "--runs", "2")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0] == (
        "plan quick on chat at 600 requests a minute, from typical figures of kind http: median 0.1 s, p95 0.4 s,"
        " 0.5% errors (no running canary was reached)"
    )
    assert lines[1] == "before it begins, 2,000 outcomes of stable are profiled: 3.3 min"
    assert lines[3].startswith("an equal candidate is ")
    assert lines[5].split("  ")[0] == "CANDIDATE"
    assert [line.split("  ")[0] for line in lines[6:14]] == [
        "errors x1.5",
        "errors x2",
        "errors x4",
        "errors x20",
        "outage",
        "latency +10 %",
        "latency +25 %",
        "latency +100 %",
    ]
    assert "outage          2 of 2" in done.output
    assert any(line.startswith("errors x1.5 cannot be detected within 60 min: at best ") for line in lines)


def test_programs_get_the_same_in_json(tmp_path: Path) -> None:
    done = run(tmp_path, "--plan", "quick", "--route", "chat", "--rate", "10/s", "--runs", "1", "--json")
    found = json.loads(done.stdout)
    assert (found["plan"], found["rate_per_s"], found["profile_n"]) == ("quick", 10.0, 5_000)
    outage = next(one for one in found["candidates"] if one["name"] == "outage")
    assert (outage["runs"], outage["rolled_back"]) == (1, 1)
    assert outage["weights"][0]["chance"] == pytest.approx(1.0)


def test_both_ways_of_leaning_are_shown(tmp_path: Path) -> None:
    lines = run(tmp_path, "--plan", "other", "--route", "chat", "--rate", "6/min", "--runs", "1").output.splitlines()
    assert lines[2] == "it leans on pairs at 6 requests a minute: a 5 % canary gets 18 an hour, copies give 342 pairs"
    assert [line.split() for line in lines if "SHADOW" in line] == [["CANDIDATE", "SHADOW", "5", "%"]] * 2
    assert "the same, did it lean on the canary:" in lines


def test_programs_get_both_ways_too(tmp_path: Path) -> None:
    done = run(tmp_path, "--plan", "other", "--route", "chat", "--rate", "600/min", "--runs", "1", "--json")
    found = json.loads(done.stdout)
    assert not found["leans_on_pairs"]
    assert found["leans_because"].startswith("leans on the canary at 600 requests a minute: a 5 % canary gets 1,800 an hour")
    x4 = next(one for one in found["candidates"] if one["name"] == "errors x4")
    assert [one["weight_bp"] for one in x4["weights"]] == [one["weight_bp"] for one in x4["otherwise"]] == [0, 500]
    assert x4["otherwise"][0]["median_s"] < x4["weights"][0]["median_s"], "leaning on pairs, the shadow is quicker"


def test_a_route_that_keeps_its_users_is_tried_out_on_so_many_of_them(tmp_path: Path) -> None:
    words = ("--plan", "quick", "--route", "sticky", "--rate", "600/min", "--runs", "1", "--users", "2000")
    done = run(tmp_path, *words)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[1].startswith("2,000 users, the busiest of whom send most, keep their version")
    assert "outage          1 of 1" in done.output
    assert "were a stage to last" not in done.output
    found = json.loads(run(tmp_path, *words, "--json").stdout)
    assert found["users"] == 2_000
    assert all(one["weights"] == [] for one in found["candidates"])


def test_users_that_stay_are_said_to_lean_on_the_canary(capsys: pytest.CaptureFixture[str]) -> None:
    profile = typical_profile(RouteKind.HTTP)
    question = Question(plan=Plan(name="few"), profile=profile, rate_per_s=0.1, users=50)
    found = report(question, runs=1, keep_going=lambda done, of: done > of)
    print_report(question, found, route="chat", source="typical figures")
    assert "it leans on the canary: its users stay on their arm\n" in capsys.readouterr().out
    assert not as_value(question, found, route="chat", source="")["leans_on_pairs"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rate", "60"), "'60' is no rate: write 60/min, 10/s or 3600/h"),
        (("--rate", "0/min"), "is no rate"),
        (("--rate", "60/min"), "which plan?"),
        (("--rate", "60/min", "--plan", "fast"), "no plan `fast`"),
        (("--rate", "60/min", "--plan", "quick"), "which route?"),
        (("--rate", "60/min", "--plan", "quick", "--route", "x"), "no route `x`"),
        (("--rate", "60/min", "--plan", "quick", "--route", "sticky"), "how many of these send its requests"),
        (("--rate", "60/min", "--plan", "quick", "--route", "chat", "--users", "5"), "it has no users"),
        (("--rate", "60/min", "--plan", "quick", "--route", "chat", "--admin", NOBODY), "nobody listens on"),
    ],
)
def test_mistakes_are_told_in_words(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    done = run(tmp_path, *words)
    assert done.exit_code != 0
    assert message in done.output + str(done.exception)
