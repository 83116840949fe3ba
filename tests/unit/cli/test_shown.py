"""How values are told to people."""

from typing import Any

import pytest

from canary.cli.shown import exit_code, metric_line, print_table, printable, stands


def a_rollout(phase: str, **fields: Any) -> dict[str, Any]:
    usual = {"phase": phase, "weight_bp": 500, "shadow_bp": 10_000, "stage": 0, "stages": [{}, {}], "paused": False}
    return usual | fields


@pytest.mark.parametrize(
    ("phase", "code"),
    [("done", 0), ("watching", 0), ("rolled_back", 3), ("cancelled", 4), ("pending", 4), ("canarying", 4), ("shadowing", 4)],
)
def test_exit_codes(phase: str, code: int) -> None:
    assert exit_code(a_rollout(phase)) == code


@pytest.mark.parametrize(
    ("rollout", "words"),
    [
        (a_rollout("canarying"), "canarying 5% (stage 1 of 2)"),
        (a_rollout("canarying", weight_bp=25, paused=True), "canarying 0.25% (stage 1 of 2), paused"),
        (a_rollout("shadowing"), "shadowing 100%"),
        (a_rollout("watching", weight_bp=9_500), "watching (holdback 5%)"),
        (a_rollout("rolled_back"), "rolled back"),
        (a_rollout("done"), "promoted (done)"),
        (a_rollout("done", trouble=None), "promoted (done)"),
        (
            a_rollout("canarying", trouble={"since": "2026-01-05T09:00:00+00:00", "error": "ValueError"}),
            "canarying 5% (stage 1 of 2), looks fail since 09:00:00",
        ),
    ],
)
def test_where_it_stands(rollout: dict[str, Any], words: str) -> None:
    assert stands(rollout) == words


def test_a_metric_in_a_line() -> None:
    metric = {
        "metric": "error",
        "n_candidate": 250,
        "bad_candidate": 37,
        "n_stable": 0,
        "bad_stable": 0,
        "pairs": 10,
        "pairs_worse": 2,
        "pairs_better": 0,
        "log_e_rollback": 8.07,
        "need_rollback": 6.17,
        "log_e_promote": None,
        "need_promote": None,
    }
    line = metric_line(metric)
    assert "candidate 14.8 % (37/250)  pairs 10: 2 worse, 0 better  rollback e=3,197 of 478" in line
    assert "promote" not in line
    assert "stable" not in line, "it has nothing counted"
    assert metric_line(metric | {"abstains": "no_profile"}).endswith("says nothing: no_profile")


def test_a_table_is_as_wide_as_its_content(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("id", "route"), [("r1", "chat"), ("longer", None)], empty="nothing")
    assert capsys.readouterr().out == "ID      ROUTE\nr1      chat\nlonger  -\n"
    print_table(("id",), [], empty="nothing yet")
    assert capsys.readouterr().out == "nothing yet\n"


def test_what_an_upstream_answered_does_not_steer_the_terminal() -> None:
    assert printable("a\x1b]0;title\x07\tb\nc\r") == "a\ufffd]0;title\ufffd\tb\nc\ufffd"
