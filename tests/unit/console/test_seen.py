"""What a rollout's card shows, before any markup."""

from datetime import datetime

import pytest

from canary.console.seen import Card, card_of, tally
from canary.control.sight import Sighted
from canary.rollout.harm import Harm
from canary.rollout.plan import HarmBudget, ShadowStage, Watch
from canary.rollout.state import MetricVerdict, RolloutState
from canary.stats.evidence import Alert, Evidence
from canary.terms import Phase, Verdict
from tests.support.rollouts import a_metric, a_plan, a_state, an_evidence, at, breached


def card_for(state: RolloutState, evidence: Evidence | None, *, now: datetime, harm: Harm | None = None) -> Card:
    return card_of(state, Sighted(evidence=evidence, harm=harm), now=now)


def _when(card: Card) -> list[str]:
    return [step.when for step in card.steps]


@pytest.mark.parametrize(
    ("phase", "stage", "expected"),
    [
        (Phase.PENDING, None, "now next next next next next"),
        (Phase.SHADOWING, -1, "past now next next next next"),
        (Phase.CANARYING, 0, "past past now next next next"),
        (Phase.CANARYING, 1, "past past past now next next"),
        (Phase.WATCHING, 2, "past past past past now next"),
        (Phase.DONE, 2, "past past past past past past"),
        (Phase.ROLLED_BACK, 1, "past past past ended next next"),
        (Phase.CANCELLED, None, "ended next next next next next"),
    ],
)
def test_the_timeline_follows_the_phase(phase: Phase, stage: int | None, expected: str) -> None:
    assert _when(card_for(a_state(phase, stage=stage), None, now=at(9))) == expected.split()


def test_what_a_plan_leaves_out_is_not_on_the_timeline() -> None:
    plan = a_plan(shadow=ShadowStage(share_bp=0), watch=Watch(for_s=0))
    card = card_for(a_state(Phase.CANARYING, plan=plan), None, now=at(9))
    assert [step.name for step in card.steps] == ["start", "5 %", "50 %", "done"]
    assert _when(card) == ["past", "now", "next", "next"]


def test_a_meter_is_filled_by_evidence_against_need() -> None:
    metrics = (a_metric(log_e_rollback=-3.0), breached("error_fast"), a_metric("p99", log_e_promote=None, need_promote=None))
    errors, fast, tail = card_for(a_state(Phase.CANARYING), an_evidence(*metrics), now=at(9)).metrics
    assert errors.rollback is not None
    assert (errors.rollback.filled, errors.rollback.crossed) == (0, False)
    assert errors.promote is not None
    assert (errors.promote.filled, errors.promote.words) == (33, "e=2.7 of 20")
    assert fast.rollback is not None
    assert (fast.rollback.filled, fast.rollback.crossed) == (100, True)
    assert tail.promote is None
    assert (errors.name, fast.name, tail.name) == ("errors", "early errors", "p99 latency"), "as sentences call them"


def test_a_gate_that_pairs_open_shows_their_evidence() -> None:
    metric = a_metric(log_e_promote=-6.7, need_promote=3.69, log_e_promote_pairs=4.0, need_promote_pairs=3.69)
    (errors,) = card_for(a_state(Phase.CANARYING), an_evidence(metric), now=at(9)).metrics
    assert errors.promote is not None
    assert (errors.promote.words, errors.promote.crossed) == ("e=55 of 40 by pairs", True)


def test_what_ended_is_not_counted_up_to_now() -> None:
    assert "counted up to 1 s ago" in card_for(a_state(Phase.CANARYING), an_evidence(), now=at(9)).samples
    ended = card_for(a_state(Phase.ROLLED_BACK, stage=0), an_evidence(pairs=1_939), now=at(9)).samples
    assert ended == "250 requests on the candidate, 1,000 on stable, 1,939 pairs, as the last decision read it"


def test_verdicts_are_told_in_a_line() -> None:
    def verdict(metric: str, rollback: Verdict = Verdict.UNDECIDED, promote: Verdict = Verdict.UNDECIDED) -> MetricVerdict:
        return MetricVerdict(metric=metric, rollback=rollback, promote=promote, because="")

    found = [verdict("error", Verdict.FAIL), verdict("p50", promote=Verdict.PASS), verdict("p95"), verdict("latency")]
    assert tally(found) == "worse: errors; pass: p50 latency; 2 undecided"
    assert tally(found[2:]) == "2 undecided"


def test_evidence_that_is_not_there_says_what_will_bring_it() -> None:
    assert "profile" in card_for(a_state(Phase.PENDING), None, now=at(9)).no_evidence
    assert "after the traffic does" in card_for(a_state(Phase.SHADOWING), None, now=at(9)).no_evidence
    silent = an_evidence(abstains="no scoring")
    assert "(no scoring)" in card_for(a_state(Phase.CANARYING), silent, now=at(9)).no_evidence
    assert card_for(a_state(Phase.CANARYING), an_evidence(), now=at(9)).no_evidence == ""


def test_a_broken_sample_ratio_is_said() -> None:
    card = card_for(a_state(Phase.CANARYING), an_evidence(sample_ratio_broken=True), now=at(9))
    assert "nothing can be concluded" in card.samples


def test_harm_and_alerts_are_said_in_full() -> None:
    harm = Harm(served=1_000, failed=60, expected_failed=41.6, worst_failed=55.2, spent=9.5, expected_spent=2.25, unit="USD")
    evidence = an_evidence(alerts=(Alert(name="limit:error", because="errors over the limit"),))
    plan = a_plan(harm_budget=HarmBudget(failed=50, cost=5.0))
    card = card_for(a_state(Phase.CANARYING, plan=plan), evidence, now=at(9), harm=harm)
    assert card.alerts == ("errors over the limit",)
    assert card.harm == (
        "60 of 1,000 requests to the candidate failed, about 42 of a budget of 50 beyond what stable would have failed"
        " and at most 55; 9.50 USD spent, about 2.25 USD of a budget of 5.00 USD beyond stable"
    )
    assert card_for(a_state(Phase.CANARYING), evidence, now=at(9)).harm == ""
