"""The live view of `rollout watch` on narrow terminals and on those that cannot go back a line."""

import sys

import pytest
from rich.console import Console

from canary.api import views
from canary.cli.shown import lively
from canary.cli.watch import _view
from canary.control.sight import Sighted
from canary.terms import Phase
from tests.support.rollouts import a_state, an_evidence, breached

SHOWN = views.rollout(a_state(Phase.CANARYING), Sighted(evidence=an_evidence(breached())))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_number_is_cut_or_broken_and_names_stand_in_front(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    Console(width=width).print(_view(SHOWN))
    lines = capsys.readouterr().out.splitlines()
    text = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= width
    assert "…" not in text
    for number in ("14.8 % (37/250)", "0.5 % (5/1,000)", "e=3,210 of 478", "e=2.7 of 20"):
        assert number in text
    assert any(line.startswith("error ") for line in lines)
    assert ("pairs worse/better" in text) == (width == 120)


@pytest.mark.parametrize(("term", "live"), [("xterm-256color", True), ("", True), ("dumb", False), ("unknown", False)])
def test_a_dumb_terminal_gets_lines(term: str, live: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert lively() is live
