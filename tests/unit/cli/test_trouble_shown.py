"""That looks at a rollout fail: in the API, on the command line and on the page."""

import pytest

from canary.api import views
from canary.cli.rollout import print_status
from canary.cli.watch import _Lines, _view
from canary.console.seen import card_of
from canary.control.sight import Sighted
from canary.rollout.state import Trouble
from canary.stats.evidence import Alert
from canary.terms import Phase
from tests.support.rollouts import a_state, an_evidence, at

SAID = (
    "every look of the controller since 2026-01-05 09:00:09 UTC has failed (ValueError at canary.stats.counts:9):"
    " until one succeeds nothing moves here and no guardrail is watched; orders are taken, so roll back where in doubt"
)
STATE = a_state(Phase.CANARYING, trouble=Trouble(since=at(9), error="ValueError at canary.stats.counts:9"))
MIX = Alert(name="class_mix", because="classes moved")


def test_it_is_said_before_other_alerts_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    seen = Sighted(evidence=an_evidence(alerts=(MIX,)))
    shown = views.rollout(STATE, seen)
    print_status(shown)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("alert")] == [f"alert:    {SAID}", "alert:    classes moved"]
    assert "stands:   canarying 5% (stage 1 of 2), looks fail since 09:00:09  (revision 3)" in lines
    assert card_of(STATE, seen, now=at(60)).alerts == (SAID, "classes moved")


def test_whoever_watches_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    lines, shown = _Lines(False), views.rollout(STATE, Sighted(unseen="TimeoutError: it takes too long"))
    lines(shown)
    lines(shown)
    told = capsys.readouterr().out.splitlines()
    assert told[1:] == [
        f"          alert: {SAID}",
        "          alert: the numbers cannot be shown: looking at them failed (TimeoutError: it takes too long)",
    ]
    Console(width=400).print(_view(shown))
    assert f"alert: {SAID}" in capsys.readouterr().out


def test_without_trouble_nothing_is_said() -> None:
    assert views.rollout(a_state(Phase.CANARYING))["alerts"] == []
