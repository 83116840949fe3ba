"""One answer of each user: which it is, in any order; that a constant answerer loses by it and an equal candidate passes."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.stats.diversity import BINS, bin_of_answer
from canary.stats.evidence import MetricEvidence
from canary.stats.facts import Fact
from canary.stats.first_event import FirstEventRow
from canary.stats.freezing import freeze
from canary.stats.sticky_ledger import StickyLedger
from canary.stats.sticky_totals import StickyTotals
from canary.stats.sticky_weigh import weigh_sticky
from canary.stats.unit_answers import SILENT, FirstAnswer, FirstAnswers, bin_said, reads_answers, said_bin, said_metric
from canary.stats.unit_events import unit_metric
from canary.terms import Arm, Measures, Scored
from tests.support.scorings import a_horizon, a_profile, a_segment, a_spec
from tests.support.streams import EPOCH_US, MINUTE_US

SCORING = freeze(a_profile(), a_spec(sticky=True, measures=Measures(diversity="body"), answer_key=b"k"))
SEGMENTS = [
    a_segment(id=6, weight_bp=5_000, stage=3, scored=Scored.FAILURES),
    a_segment(id=7, weight_bp=5_000, stage=3),
    a_segment(id=8, weight_bp=5_000, stage=3),
]


def arm_of(user: int) -> Arm:
    return Arm.CANDIDATE if user % 2 else Arm.STABLE


def hash_of(user: int) -> bytes:
    return user.to_bytes(8, "big")


def said(user: int, bin_index: int, *, segment: int = 7, after_us: int = 0) -> FirstEventRow:
    metric = said_metric(segment, bin_index)
    return FirstEventRow("r", metric, hash_of(user), EPOCH_US + after_us, segment, arm_of(user), "j0", 1)


def totals_of(rows: list[FirstEventRow], *, tick_us: int = EPOCH_US + 30 * MINUTE_US) -> StickyTotals:
    ledger = StickyLedger()
    ledger.add_first(rows)
    return ledger.settled([a_horizon(tick_us)], SCORING, SEGMENTS)


def diversity_of(rows: list[FirstEventRow], *, stage: int = 3) -> MetricEvidence:
    totals = totals_of(rows)
    evidence = weigh_sticky(totals, SCORING, SEGMENTS, stage=stage)
    assert weigh_sticky(StickyTotals.of_bytes(totals.to_bytes(), SCORING), SCORING, SEGMENTS, stage=stage) == evidence
    (row,) = [row for row in evidence.metrics if row.metric == "diversity"]
    return row


ANSWERS = st.builds(
    lambda start, user, segment, bin_index: (user, FirstAnswer(start, segment, arm_of(user), bin_index)),
    st.integers(0, 50),
    st.integers(0, 6),
    st.sampled_from([7, 8]),
    st.sampled_from([0, 3, SILENT]),
)


@given(found=st.lists(ANSWERS, max_size=30), data=st.data())
def test_each_users_earliest_answer_counts_in_any_order(found: list[tuple[int, FirstAnswer]], data: st.DataObject) -> None:
    answers = FirstAnswers()
    for user, answer in data.draw(st.permutations([*found, *found[:5]])):
        answers.add(hash_of(user), answer)
    first = {user: min(answer for other, answer in found if other == user) for user, _ in found}
    expected: dict[int, dict[int, tuple[int, int]]] = {}
    for answer in first.values():
        candidate, stable = expected.setdefault(answer.segment, {}).get(answer.bin_index, (0, 0))
        mine = answer.arm is Arm.CANDIDATE
        expected[answer.segment][answer.bin_index] = (candidate + mine, stable + (not mine))
    assert answers.counts() == expected


def test_names_of_answers_are_told_from_others() -> None:
    assert said_bin(said_metric(12, 200)) == 200
    assert [said_bin(name) for name in ("error", "error@7", unit_metric(7))] == [-1] * 3
    assert reads_answers(SCORING.values)
    assert not reads_answers(freeze(a_profile(), a_spec(sticky=True)).values)


@pytest.mark.parametrize(
    "changes", [{"failed": True}, {"left": True}, {"lost": True}, {"answer": b""}, {"age_us": SCORING.values.age_us + 1}]
)
def test_what_is_no_whole_answer_by_the_age_is_silence(changes: dict[str, object]) -> None:
    fact = Fact(age_us=5, latency_us=4, failed=False, left=False, answer=b"yes")
    assert bin_said(SCORING.values, fact) == bin_of_answer(SCORING.values.key, b"yes")
    assert bin_said(SCORING.values, msgspec.structs.replace(fact, **changes)) == SILENT


def of_users(users: int, *, constant: bool, seed: int = 1) -> list[FirstEventRow]:
    """Each user's first answer; stable's are all kinds, the candidate's too or always the same."""
    bins = np.random.default_rng(seed).integers(0, BINS, users).tolist()
    return [said(user, 17 if constant and arm_of(user) is Arm.CANDIDATE else bins[user]) for user in range(users)]


def test_a_constant_answerer_is_rolled_back_and_passes_no_gate() -> None:
    row = diversity_of(of_users(400, constant=True))
    assert (row.n_candidate, row.n_stable) == (200, 200)
    assert row.breached
    assert not row.cleared


def test_a_candidate_that_says_as_many_things_passes_its_gate() -> None:
    row = diversity_of(of_users(400, constant=False))
    assert row.cleared
    assert not row.breached
    assert not row.abstains


def test_a_user_that_asks_the_same_all_day_is_one_user() -> None:
    """Of the candidate's answers nearly all are one user's, and all of these the same."""
    rows = of_users(400, constant=False)
    rows += [said(1, 17, after_us=place) for place in range(5_000)]
    row = diversity_of(rows)
    assert (row.n_candidate, row.n_stable) == (200, 200)
    assert row.cleared


def test_a_warm_up_is_not_compared_and_a_users_next_segment_is() -> None:
    rows = [
        said(1, 3, segment=6),
        said(1, 4, segment=7, after_us=10),
        said(1, 5, segment=8, after_us=20),
        said(2, 3, segment=6),
    ]
    assert totals_of(rows).answers == {7: {4: (1, 0)}}


def test_an_answer_counts_once_it_is_settled_and_its_segment_is_known() -> None:
    rows = [said(1, 3), said(3, 3, segment=99)]
    age_us = SCORING.pair_age_us
    assert totals_of(rows, tick_us=EPOCH_US + age_us + 999_999).answers == {}
    assert totals_of(rows, tick_us=EPOCH_US + age_us + 1_000_000).answers == {7: {3: (1, 0)}}


def test_where_nobody_says_anything_the_row_says_so() -> None:
    row = diversity_of([said(user, SILENT) for user in range(40)])
    assert row.abstains == "no_answers"
    assert diversity_of([]).abstains == ""
