"""Imagined users: what a step of them counts, what it tells once, and whole rollouts of them."""

from collections import Counter

import msgspec
import numpy as np
import pytest

from canary.rollout.crowd import Crowd, Place, UserKinds, user_kinds, user_pair_kinds
from canary.rollout.plan import Plan, ShadowStage, Stage
from canary.rollout.simulate import Lab, Question
from canary.rollout.typical import typical_profile
from canary.rollout.worlds import EQUAL, Effect, answers, failing
from canary.stats.cells import END, METRIC_SHIFT, PAIR_START, START
from canary.stats.clusters import cluster_of
from canary.stats.freezing import freeze
from canary.stats.sticky_cells import plain
from canary.stats.unit_events import ERROR, late_metric, unit_metric
from canary.terms import Arm, Measures, RouteKind
from tests.support.scorings import a_spec

PROFILE = typical_profile(RouteKind.HTTP)
SCORING = freeze(PROFILE, a_spec(sticky=True))
PLACE = Place(segment=7, start_at_us=1_700_000_000_000_000)
PLAN = Plan(
    name="quick",
    shadow=ShadowStage(share_bp=0),
    stages=(Stage(weight_bp=5_000, dwell_s=60.0),),
    max_duration_s=3 * 3_600.0,
    warm_up_s=0.0,
)


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def kinds(effect: Effect = EQUAL) -> UserKinds:
    return user_kinds(SCORING, Arm.STABLE, answers(PROFILE, Measures(), effect, rng()))


def test_every_request_counts_in_its_users_cluster() -> None:
    crowd = Crowd(300, rng())
    users = np.repeat(np.array([5, 9, 77]), [4_000, 2_000, 1_000])
    found = kinds().happen(users, crowd, PLACE, rng())
    clusters, keys = plain(found.keys)
    for metric in (START, END):
        seen: Counter[int] = Counter()
        for cluster, key, count in zip(clusters.tolist(), keys.tolist(), found.counts.tolist(), strict=True):
            if key >> METRIC_SHIFT == metric:
                seen[cluster] += count
        expected: Counter[int] = Counter()
        for user, n in ((5, 4_000), (9, 2_000), (77, 1_000)):
            expected[cluster_of(user.to_bytes(8, "big"))] += n
        assert seen == expected


def test_a_users_first_failure_is_told_once_and_once_more_in_ten_minutes() -> None:
    crowd, all_fail = Crowd(300, rng()), kinds(Effect(name="outage", outage=True))
    users, later = np.array([5, 5, 9]), msgspec.structs.replace(PLACE, start_at_us=PLACE.start_at_us + 600_000_000)
    told = [
        sorted((row.metric, row.unit_hash[-1], row.segment) for row in all_fail.happen(users, crowd, place, rng()).firsts)
        for place in (PLACE, PLACE, later)
    ]
    blocks = [late_metric(place.start_at_us) for place in (PLACE, later)]
    assert told[0] == [(name, user, 7) for name in (ERROR, blocks[0]) for user in (5, 9)]
    assert told[1:] == [[], [(blocks[1], user, 7) for user in (5, 9)]]


def test_users_fail_as_often_as_the_profile_says() -> None:
    found = answers(PROFILE, Measures(), EQUAL, rng())
    crowd, n = Crowd(100_000, rng()), 100_000
    rows = user_kinds(SCORING, Arm.STABLE, found).happen(np.arange(n), crowd, PLACE, rng()).firsts
    failed = sum(row.metric == ERROR for row in rows)
    assert failed == pytest.approx(n * failing(found), rel=0.15)


def test_a_larger_weight_moves_nobody_back_and_takes_its_share() -> None:
    crowd, everybody = Crowd(20_000, rng()), np.arange(20_000)
    few, many = crowd.on_candidate(everybody, 500), crowd.on_candidate(everybody, 5_000)
    assert (many | ~few).all()
    assert (few.mean(), many.mean()) == (pytest.approx(0.05, abs=0.01), pytest.approx(0.5, abs=0.02))
    users = crowd.ask(50_000, rng())
    assert np.sort(np.bincount(users))[-200:].sum() > 0.05 * len(users)  # one user in a hundred


def test_a_segments_users_are_told_with_their_arm_and_what_they_were_answered() -> None:
    crowd, users = Crowd(300, rng()), np.array([5, 9, 5])
    rows = [*crowd.seen(users, 5_000, PLACE, np.full(300, 3))]
    arms = dict(zip((5, 9), crowd.on_candidate(np.array([5, 9]), 5_000).tolist(), strict=True))
    assert {(row.metric, row.unit_hash[-1], row.arm is Arm.CANDIDATE) for row in rows} == {
        (metric, user, arms[user]) for metric in (unit_metric(7), "said:7:3") for user in (5, 9)
    }
    assert [*crowd.seen(users, 5_000, PLACE, np.zeros(0, np.int64))] == []


def test_pairs_count_starts_and_tell_first_discordant_ones() -> None:
    stable, broken = (answers(PROFILE, Measures(), one, rng()) for one in (EQUAL, Effect(name="outage", outage=True)))
    scoring = freeze(PROFILE, a_spec(sticky=True, shadow_lane_weight=0.25))
    found = user_pair_kinds(scoring, stable, broken, rng()).happen(np.array([5] * 200), Crowd(300, rng()), PLACE, rng())
    _, keys = plain(found.keys)
    assert found.counts[keys >> METRIC_SHIFT == PAIR_START].sum() == 200
    assert ("pair:error", Arm.CANDIDATE) in {(row.metric, row.arm) for row in found.firsts}


def a_question(**changes: object) -> Question:
    return msgspec.structs.replace(Question(plan=PLAN, profile=PROFILE, rate_per_s=20.0, users=5_000), **changes)


def test_an_equal_candidate_of_users_is_promoted_and_an_outage_rolled_back() -> None:
    assert Lab(a_question(), EQUAL).run(0).word == "promoted"
    ending = Lab(a_question(), Effect(name="outage", outage=True)).run(0)
    assert ending.word == "rolled back"
    assert ending.reason == "guardrail"
    assert ending == Lab(a_question(), Effect(name="outage", outage=True)).run(0)


def test_where_diversity_is_guarded_users_are_answered_and_a_good_candidate_passes() -> None:
    question = a_question(measures=Measures(diversity="body"))
    assert Lab(question, EQUAL).run(0).word == "promoted"


def test_few_users_promote_nobody() -> None:
    ending = Lab(a_question(users=30), EQUAL).run(0)
    assert ending.word == "undecided"
