"""The console's pages: what they say, and that nothing stored becomes markup."""

from typing import Any

import pytest

from canary.rollout.scoring_of import scoring_spec
from canary.rollout.state import Decision, MetricVerdict
from canary.stats.freezing import freeze
from canary.terms import Action, Phase, Verdict
from tests.support.admin_world import PAIR, AdminWorld
from tests.support.declaring import declaring
from tests.support.rollouts import a_state, an_evidence, breached
from tests.support.scorings import a_profile
from tests.support.store_rows import a_decision

FAILED = MetricVerdict(metric="error", rollback=Verdict.FAIL, promote=Verdict.UNDECIDED, because="errors are worse")
EVIL = "<img src=x onerror=alert(1)>"


async def _page(client: Any, path: str) -> str:
    answer = await client.get(path)
    assert answer.status == 200, await answer.text()
    text: str = await answer.text()
    return text


async def test_empty_states_say_what_will_fill_them(client: Any, world: AdminWorld) -> None:
    page = await _page(client, "/")
    assert "No rollout is under way. This fills when" in page
    assert "a configuration has to be published" in page
    assert "Nothing ended yet" in page
    await world.publish()
    assert "canary rollout create chat --candidate" in await _page(client, "/")


async def test_a_rollout_says_that_it_leans_on_pairs(client: Any, world: AdminWorld) -> None:
    scoring = freeze(a_profile(), scoring_spec(a_state(), rate_per_s=0.1))
    await world.books.rollouts.create(a_state(Phase.SHADOWING, revision=1, scoring=scoring), a_decision())
    page = await _page(client, "/")
    assert "It leans on pairs at 6 requests a minute: a 5 % canary gets 18 an hour, copies give 342 pairs." in page


async def test_a_rollout_shows_stage_weight_evidence_and_reason(client: Any, world: AdminWorld) -> None:
    world.evidence = an_evidence(breached())
    state = a_state(Phase.CANARYING, revision=1, because="errors at 14.80 % against 0.50 %", waiting="3 more minutes")
    await world.books.rollouts.create(state, a_decision())
    page = await _page(client, "/")
    assert "chat: v1 → v2" in page
    assert "5 % of live traffic" in page
    assert "errors at 14.80 % against 0.50 %" in page
    assert "Waiting:</strong> 3 more minutes" in page
    assert "14.80 % (37 of 250)" in page
    assert "e=3,210 of 478" in page
    assert 'aria-current="step"><strong>5 % (now)' in page
    assert 'href="/pairs?rollout=r1"' in page
    assert 'href="/rollouts/r1#decisions"' in page


async def test_what_is_waited_for_is_said_once(client: Any, world: AdminWorld) -> None:
    state = a_state(Phase.PENDING, revision=1, because="waiting: 3 of 9 answers", waiting="3 of 9 answers")
    decision = Decision(action=Action.KEEP, because=state.because, waiting=state.waiting)
    await world.books.rollouts.create(state, a_decision(decision=decision))
    assert (await _page(client, "/")).count("3 of 9 answers") == 1
    assert (await _page(client, "/rollouts/r1")).count("3 of 9 answers") == 2, "in the card and in the record"


async def test_what_ended_is_told_in_short_on_the_first_page(client: Any, world: AdminWorld) -> None:
    world.evidence = an_evidence(breached())
    because = "errors at 14.80 % against 0.50 %"
    row = a_decision(decision=Decision(action=Action.ROLL_BACK, because=because, verdicts=(FAILED,)))
    await world.books.rollouts.create(a_state(Phase.ROLLED_BACK, stage=0, revision=1, because=because), row)
    first, page = await _page(client, "/"), await _page(client, "/rollouts/r1")
    assert because in first
    assert "37 of 250" not in first
    assert "14.80 % (37 of 250)" in page
    assert "<summary>worse: errors; 0 undecided</summary>" in page
    assert "<li>errors are worse</li>" in page


@pytest.mark.parametrize("phase", list(Phase))
async def test_every_phase_has_its_page(client: Any, world: AdminWorld, phase: Phase) -> None:
    world.evidence = None
    await world.books.rollouts.create(a_state(phase, revision=1), a_decision())
    assert "v1 → v2" in await _page(client, "/")
    assert "Decisions" in await _page(client, "/rollouts/r1")


async def test_nothing_stored_becomes_markup(client: Any, world: AdminWorld) -> None:
    state = a_state(Phase.SHADOWING, revision=1, because=EVIL, waiting=EVIL, candidate=EVIL, created_by=EVIL)
    await world.books.rollouts.create(state, a_decision(actor=EVIL))
    for path in ("/", "/rollouts/r1", f"/pairs/{PAIR}", f"/pairs?rollout={EVIL}"):
        page = await _page(client, path)
        assert "<img" not in page, path
        assert "<script>" not in page, path
        assert " style=" not in page, "inline styles are blocked by the content security policy"


async def test_a_pair_shows_both_answers(client: Any) -> None:
    page = await _page(client, f"/pairs/{PAIR}")
    assert "statuses differ" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "2 bytes that are no text" in page


async def test_declared_values_stand_side_by_side(client: Any, world: AdminWorld) -> None:
    assert "Declared values" not in await _page(client, f"/pairs/{PAIR}"), "none are stored"
    assert "Values, live / shadow" not in await _page(client, "/pairs")
    await declaring(world)
    page = await _page(client, f"/pairs/{PAIR}")
    assert '<th scope="row">cost</th><td>0.004 USD</td><td>0.0055 USD</td><td>mean</td>' in page
    assert '<th scope="row">refused</th><td>no</td><td class="soft">absent</td><td>rate</td>' in page
    assert '<th scope="row">score</th><td>8 &lt;b&gt;points&lt;/b&gt;</td><td class="soft">unreadable</td><td>mean</td>' in page
    assert "Live (v1)" in page
    line = "cost 0.004 USD / 0.0055 USD, refused no / absent, score 8 &lt;b&gt;points&lt;/b&gt; / unreadable"
    assert f'<td class="wide">{line}</td>' in await _page(client, "/pairs")


async def test_only_its_own_files_are_served(client: Any) -> None:
    assert "color-scheme" in await _page(client, "/static/console.css")
    assert (await client.get("/static/live.js")).content_type == "text/javascript"
    for path in ("/static/pages.py", "/static/..%2fpages.py", "/static/%2e%2e/pages.py"):
        assert (await client.get(path)).status == 404
