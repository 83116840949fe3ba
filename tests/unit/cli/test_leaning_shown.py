"""That a rollout leans on pairs, and why: in the API, on the command line and on the page."""

import pytest

from canary.api import views
from canary.cli.rollout import print_status
from canary.console.seen import card_of
from canary.control.sight import NOTHING_SEEN
from canary.rollout.scoring_of import scoring_spec
from canary.rollout.state import RolloutState
from canary.stats.freezing import freeze
from canary.terms import Phase
from tests.support.rollouts import a_state, at
from tests.support.scorings import a_profile

SAID = "leans on pairs at 6 requests a minute: a 5 % canary gets 18 an hour, copies give 342 pairs"


def a_rollout(rate_per_s: float) -> RolloutState:
    return a_state(Phase.SHADOWING, scoring=freeze(a_profile(), scoring_spec(a_state(), rate_per_s=rate_per_s)))


@pytest.mark.parametrize(("rate_per_s", "said"), [(0.1, SAID), (10.0, "")])
def test_it_is_said_everywhere_or_nowhere(rate_per_s: float, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    state = a_rollout(rate_per_s)
    shown = views.rollout(state)
    assert shown["leaning"] == said
    print_status(shown)
    assert [line for line in capsys.readouterr().out.splitlines() if "lane" in line] == ([f"lane:     {SAID}"] if said else [])
    card = card_of(state, NOTHING_SEEN, now=at(60))
    assert card.leaning == said
