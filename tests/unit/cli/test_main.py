"""The command as typed: what is guessed at, what help shows, how it ends where nobody reads on."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from canary.cli.main import canary
from canary.cli.watch import _Lines


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["rollouts"], "rollout"),
        (["watch", "main"], "canary rollout watch"),
        (["psql"], "canary db psql"),
        (["rollout", "promot"], "promote"),
        (["config", "schem"], "schema"),
    ],
)
def test_a_mistyped_command_is_guessed_at(words: list[str], meant: str) -> None:
    ended = CliRunner().invoke(canary, words)
    assert ended.exit_code == 2
    assert f"did you mean `{meant}`?" in ended.output


def test_a_word_like_none_is_not_guessed_at() -> None:
    ended = CliRunner().invoke(canary, ["xyzzy"])
    assert (ended.exit_code, "did you mean" in ended.output) == (2, False)


@pytest.mark.parametrize("group", [[], ["rollout"], ["config"], ["db"], ["pairs"]])
def test_help_cuts_no_line(group: list[str]) -> None:
    shown = CliRunner().invoke(canary, [*group, "--help"]).output
    assert "Commands:" in shown
    assert "..." not in shown.partition("Commands:")[2]


def test_a_reader_that_has_left_is_no_error() -> None:
    """The schema is larger than a pipe holds."""
    command = [sys.executable, "-m", "canary.cli", "config", "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.close()
        assert writer.stderr is not None
        said = writer.stderr.read()
    assert (writer.returncode, said) == (0, b"")


def test_what_the_reason_says_is_not_said_again(capsys: pytest.CaptureFixture[str]) -> None:
    pending = {"phase": "pending", "because": "waiting: 3 of 9", "waiting": "3 of 9", "alerts": []}
    _Lines(as_json=False)(pending)
    _Lines(as_json=False)({**pending, "because": "resumed by ada: x"})
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("pending: waiting: 3 of 9")
    assert second.endswith("pending: resumed by ada: x (waiting: 3 of 9)")
