"""Preferences where users keep their arm: pairs are compared between clusters of users, so nobody's taste counts as many."""

import numpy as np
import pytest

from canary.stats.counts import CounterRow, to_bytes
from canary.stats.evidence import MetricEvidence
from canary.stats.facts import Fact
from canary.stats.freezing import freeze
from canary.stats.scoring import pair_drops, pair_ends, pair_starts
from canary.stats.sticky_ledger import StickyLedger
from canary.stats.sticky_weigh import weigh_sticky
from canary.terms import Measures
from tests.support.plain_guards import preference_log_e
from tests.support.scorings import a_horizon, a_profile, a_segment, a_spec
from tests.support.streams import EPOCH_US, MINUTE_US
from tests.support.value_plans import a_preference

SCORING = freeze(
    a_profile(), a_spec(sticky=True, measures=Measures(metrics=(a_preference(share=0.1),)), shadow_lane_weight=0.25)
)
SEGMENTS = [a_segment(weight_bp=0, stage=-1)]
USERS = 300


def a_fact(user: int, value: float | None) -> Fact:
    unit = user.to_bytes(8, "big")
    return Fact(age_us=5_000, latency_us=4_000, failed=False, left=False, unit_hash=unit, exchange_id=unit * 2, values=(value,))


def preference_of(
    pairs: list[tuple[int, float | None, float | None]], *, unanswered: int = 0, dropped: int = 0, stage: int = -1
) -> MetricEvidence:
    """Evidence of pairs (user, stable's score, candidate's score), and of copies without an answer, and never sent."""
    cells: dict[int, int] = {}
    for place, (user, mine, theirs) in enumerate(pairs):
        at_us, live = EPOCH_US + place % MINUTE_US, a_fact(user, mine)
        keys = (*pair_starts(SCORING, at_us, unit_hash=live.unit_hash), *pair_ends(SCORING, at_us, live, a_fact(user, theirs)))
        for key in keys:
            cells[key] = cells.get(key, 0) + 1
    for place in range(unanswered + dropped):
        unit = (place % USERS).to_bytes(8, "big")
        keys = pair_starts(SCORING, EPOCH_US, unit_hash=unit)
        if place >= unanswered:
            keys += pair_drops(SCORING, EPOCH_US, 1_000, unit_hash=unit)
        for key in keys:
            cells[key] = cells.get(key, 0) + 1
    ledger = StickyLedger()
    minute = EPOCH_US // MINUTE_US
    ledger.add([CounterRow(rollout="r", segment=7, journal="j0", minute=minute, cells=to_bytes(cells), revision=1)])
    totals = ledger.settled([a_horizon(EPOCH_US + 30 * MINUTE_US)], SCORING, SEGMENTS)
    (row,) = [row for row in weigh_sticky(totals, SCORING, SEGMENTS, stage=stage).metrics if row.metric == "preference"]
    return row


def tastes(seed: int, *, each: int, lost: float, stubborn: bool) -> list[tuple[int, float, float]]:
    """So many pairs of each user; `lost` of them the candidate's, by a coin each or by one coin for all of a user's."""
    rng = np.random.default_rng(seed)
    of_user = rng.random(USERS) < lost
    found = []
    for user in range(USERS):
        for loses in np.full(each, of_user[user]) if stubborn else rng.random(each) < lost:
            found.append((user, 0.9, 0.1) if loses else (user, 0.1, 0.9))
    return found


def test_a_candidate_whose_answers_are_liked_less_is_rolled_back() -> None:
    row = preference_of(tastes(1, each=4, lost=0.7, stubborn=False))
    assert row.breached
    assert row.pairs == 4 * USERS
    assert row.pairs_worse + row.pairs_better == row.pairs
    assert row.pairs_worse == pytest.approx(0.7 * row.pairs, rel=0.1)


def test_a_candidate_whose_answers_are_liked_more_opens_the_gate_of_its_stage() -> None:
    found = tastes(1, each=8, lost=0.3, stubborn=False)
    for stage in (-1, 0, 3):
        row = preference_of(found, stage=stage)
        assert row.cleared, stage
        assert not row.breached
    assert not preference_of(tastes(1, each=8, lost=0.7, stubborn=False), stage=3).cleared


def test_users_of_one_mind_each_are_no_more_than_users() -> None:
    """Half of the users always prefer one version: neither is liked less, though pair by pair it would look so."""
    worlds = [tastes(seed, each=20, lost=0.5, stubborn=True) for seed in range(40)]
    rows = [preference_of(world) for world in worlds]
    assert sum(row.breached for row in rows) <= 0.05 * len(rows)
    by_pair = [preference_log_e(0.01, losses=row.pairs_worse, ties=0, wins=row.pairs_better) for row in rows]
    needs = [row.need_rollback or 0.0 for row in rows]
    assert sum(log_e >= need for log_e, need in zip(by_pair, needs, strict=True)) >= 0.15 * len(rows)


def test_a_pair_without_a_word_speaks_for_stable_and_one_that_was_not_sent_for_nobody() -> None:
    found = tastes(1, each=8, lost=0.55, stubborn=False)
    plain = preference_of(found)
    assert preference_of(found, dropped=400).log_e_rollback == plain.log_e_rollback
    assert (preference_of(found, unanswered=400).log_e_rollback or 0.0) < (plain.log_e_rollback or 0.0)
    liked = tastes(1, each=8, lost=0.3, stubborn=False)
    silent, said = preference_of(liked, unanswered=4_000, stage=3), preference_of(liked, stage=3)
    assert (silent.log_e_promote or 0.0) < (said.log_e_promote or 0.0)
    assert not silent.cleared


def test_few_users_are_called_too_few() -> None:
    row = preference_of([(user % 10, 0.9, 0.1) for user in range(4_000)])
    assert row.abstains.startswith("underpowered_clusters")
    assert not row.breached
    assert not row.cleared
