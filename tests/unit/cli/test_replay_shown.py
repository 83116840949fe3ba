"""Replays, looks in full, fleets and calibration as people read them."""

from typing import Any

import pytest
from click.testing import CliRunner, Result

from canary.cli import calibration as calibration_command
from canary.cli import replay as replay_command
from canary.cli import rollout as rollout_commands
from canary.cli.shown import metric_line


class FakeAdmin:
    """Answers by path."""

    answers: dict[str, Any] = {}

    def __init__(self, address: str | None = None) -> None:
        del address

    def get(self, path: str, **query: Any) -> Any:
        del query
        return self.answers[path]


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> type[FakeAdmin]:
    for module in (calibration_command, replay_command, rollout_commands):
        monkeypatch.setattr(module, "Admin", FakeAdmin)
    FakeAdmin.answers = {}
    return FakeAdmin


def run(command: Any, *words: str) -> Result:
    return CliRunner().invoke(command, list(words), standalone_mode=False)


def a_replay(**fields: Any) -> dict[str, Any]:
    stored = {"at": "2026-01-05T09:00:00+00:00", "action": "roll_back", "because": "rolled back: errors"}
    return {"decision": "d1", "replayed": True, "same": True, "differences": [], "note": "", "stored": stored} | fields


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({}, 0, "made again from its stored counts: the same counts, verdicts, action and words, every log e to 1e-9\n"),
        ({"replayed": False, "note": "ordered by ada"}, 0, "not made again: ordered by ada\n"),
        (
            {"same": False, "differences": ["decision.action: stored keep, made again roll_back"]},
            1,
            "made again from its stored counts, it differs in 1:\n  decision.action: stored keep, made again roll_back\n",
        ),
    ],
)
def test_a_replay_is_told_and_its_exit_code_says_whether_it_is_the_same(
    admin: type[FakeAdmin], fields: dict[str, Any], code: int, said: str
) -> None:
    admin.answers = {"/api/v1/decisions/d1/replay": a_replay(**fields)}
    done = run(replay_command.replay, "d1")
    assert done.return_value == code
    assert done.output == f"d1  2026-01-05T09:00:00  roll_back: rolled back: errors\n{said}"


def a_rollout() -> dict[str, Any]:
    return {
        "id": "r1",
        "route": "chat",
        "stable": "v1",
        "candidate": "v2",
        "plan": "careful",
        "phase": "canarying",
        "weight_bp": 500,
        "stage": 0,
        "stages": [{}, {}],
        "revision": 7,
        "because": "undecided",
        "waiting": "",
        "created_at": "2026-01-05T09:00:00+00:00",
        "harm": {"text": "3 of 100 requests to the candidate failed"},
        "alerts": [{"name": "limit:error", "because": "too many"}],
        "evidence": {"assigned_candidate": 250, "assigned_stable": 1_000, "pairs": 0},
    }


def a_row(metric: str, **fields: Any) -> dict[str, Any]:
    sides = {"log_e_rollback": 1.0, "need_rollback": 6.0, "log_e_promote": 1.5, "need_promote": 3.0}
    usual = {"metric": metric, "abstains": "", "promote_abstains": "", "mean_candidate": None, "verdict": {"classes": []}}
    text = {"name": metric, "candidate": "2.80 %", "stable": "0.75 %", "difference": "+2.05 (+0.39 to open) pp"}
    text |= {"rollback": "e=2.7 of 403", "rollback_eta": "75 s", "promote": "e=4.5 of 20", "promote_eta": "not growing"}
    return usual | sides | {"text": text} | fields


def test_a_look_in_full_as_people_read_it(admin: type[FakeAdmin]) -> None:
    worse = {"classes": [{"because": "class hard: worse than tolerated (30/100 against 9/900, e=148)"}]}
    counts = {"n_candidate": 250, "bad_candidate": 2, "n_stable": 1_000, "bad_stable": 5}
    look = {
        "rollout": a_rollout(),
        "confidence": 0.95,
        "forecast": "Every gate is open.",
        "metrics": [
            a_row("error", verdict=worse),
            a_row("cost", abstains="no usable value"),
            a_row("p50", text=None, **counts),
        ],
    }
    admin.answers = {"/api/v1/rollouts": {"rollouts": [a_rollout()]}, "/api/v1/rollouts/r1/evidence": look}
    done = run(rollout_commands.status, "r1", "--evidence")
    assert done.return_value == 4
    assert done.output == (
        "r1  chat: v1 -> v2  plan careful\n"
        "stands:   canarying 5% (stage 1 of 2)  (revision 7)\n"
        "because:  undecided\n"
        "harm:     3 of 100 requests to the candidate failed\n"
        "alert:    too many\n"
        "evidence: 250 candidate and 1,000 stable starts, 0 pairs\n"
        "\n"
        "candidate less stable, with 95% intervals that hold at every look:\n"
        "METRIC  CANDIDATE  STABLE  DIFFERENCE (INTERVAL)\n"
        "error   2.80 %     0.75 %  +2.05 (+0.39 to open) pp\n"
        "\n"
        "evidence e of the e that is needed, and the time until it is reached:\n"
        "METRIC  TO ROLL BACK  IN    TO PASS ITS GATE  IN\n"
        "error   e=2.7 of 403  75 s  e=4.5 of 20       not growing\n"
        "  error, class hard: worse than tolerated (30/100 against 9/900, e=148)\n"
        "  cost says nothing: no usable value\n"
        "  p50             candidate 0.8 % (2/250)  stable 0.5 % (5/1,000)  rollback e=2.7 of 403  promote e=4.5 of 20\n"
        "Every gate is open.\n"
    )


def test_a_list_ends_with_the_word_on_all_rollouts_together(admin: type[FakeAdmin]) -> None:
    rows = [{"rollout": "r1", "route": "chat", "log_e": 9.0, "worse": True}, {"rollout": "r2", "route": "b", "worse": False}]
    admin.answers = {"/api/v1/rollouts": {"rollouts": [a_rollout()], "fleet": {"q": 0.05, "rollouts": rows}}}
    lines = run(rollout_commands.list_).output.splitlines()
    assert lines[-1] == (
        "of 2 rollouts with evidence, worse than tolerated: chat (r1); at most 5% of these words are wrong (e-BH)"
    )


def test_calibration_is_told_beside_what_was_promised(admin: type[FakeAdmin]) -> None:
    summary = {"rounds": 100, "alarms": 2, "rate": 0.02, "lower": 0.0024, "upper": 0.0704, "alpha": 0.05, "confidence": 0.95}
    admin.answers = {"/api/v1/calibration": {"summary": summary | {"kept": True}, "open": [], "rounds": []}}
    assert run(calibration_command.calibration).output.splitlines()[0] == (
        "2 false alarms in 100 rounds: 2.0% (95% interval 0.2% to 7.0%), promised: at most 5.0%"
    )
    admin.answers = {"/api/v1/calibration": {"summary": summary | {"kept": False}, "open": [], "rounds": []}}
    assert run(calibration_command.calibration).output.splitlines()[0].endswith("- not kept: tell the authors")
    empty = {"summary": summary | {"rounds": 0, "kept": True}, "open": [], "rounds": []}
    admin.answers = {"/api/v1/calibration": empty}
    assert run(calibration_command.calibration).output.splitlines() == [
        "no round has ended yet; promised: false alarms in at most 5.0% of them",
        "a round lasts 200,000 requests, at least an hour and at most a day",
    ]


def test_a_metric_of_amounts_in_a_line() -> None:
    metric = a_row("cost", mean_candidate=0.00412, mean_stable=0.004, unit="USD", n_candidate=250, n_stable=1_000)
    metric |= {"bad_candidate": 0, "bad_stable": 0}
    assert metric_line(metric).split("  rollback")[0].split(None, 1)[1] == (
        "candidate 0.00412 USD of 250  stable 0.004 USD of 1,000"
    )
