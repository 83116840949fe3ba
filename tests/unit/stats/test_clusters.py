"""Clusters: where a unit belongs, what is counted, and how strong the evidence of it is."""

import math
from typing import Any

import numpy as np
import pytest

from canary.split.assign import bucket_of
from canary.stats.clustered import (
    LEAST_CLUSTERS,
    TOO_FEW_EVENTS,
    TOO_FEW_REQUESTS,
    UNDERPOWERED,
    ClusterTest,
    Outcomes,
    evidence_of,
)
from canary.stats.clusters import CLUSTERS, Ints, cluster_of
from canary.stats.moments import Moments, moments_of
from tests.support.cluster_worlds import evidence, no_cells, plain_log_e, plain_moments, some_clusters

CANDIDATE, STABLE = 0, 1


def a_test(**changes: Any) -> ClusterTest:
    return ClusterTest(**{"effect": 0.05, **changes})


def even(*, clusters: int = 60, n: int = 10, bad: tuple[int, int] = (2, 2)) -> Ints:
    """Both arms alike, but for how many of a cluster's requests failed in every second cluster."""
    found = no_cells()
    found[0, :, :clusters, 0] = n
    for arm, failed in enumerate(bad):
        found[0, arm, 1:clusters:2, 1] = failed
    return found


def test_a_units_cluster_never_changes() -> None:
    assert [cluster_of(bytes([index] * 8)) for index in range(6)] == [16, 54, 44, 126, 92, 90]


def test_clusters_are_even_and_independent_of_buckets() -> None:
    units = [index.to_bytes(8, "big") for index in range(12_800)]
    found = np.bincount([cluster_of(unit) for unit in units], minlength=CLUSTERS)
    assert len(found) == CLUSTERS
    assert float(((found - 100.0) ** 2 / 100).sum()) < 195  # chi-squared, 127 degrees: p about 1e-4
    # a tag of its own: the units of one cluster have buckets all over, even where the salt is the empty key
    low = [bucket_of(b"", unit) < 5_000 for unit in units if cluster_of(unit) < 32]
    assert 0.46 < sum(low) / len(low) < 0.54


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    "test",
    [
        a_test(),
        a_test(rho=1.1, delta=0.002, effect=0.1),
        a_test(rho=1.5, delta=0.02, promote=True, stable_rate=0.1),
        a_test(outcomes=Outcomes.MEAN, rho=1.02, effect=0.01),
    ],
    ids=str,
)
def test_evidence_is_what_the_formulas_say(test: ClusterTest, seed: int) -> None:
    clusters = some_clusters(seed)
    found = evidence(clusters, test)
    difference, variance, freedom = plain_moments(clusters, test)
    assert found.abstains == ""
    assert (found.difference, found.variance, found.freedom) == pytest.approx((difference, variance, freedom), rel=1e-9)
    assert found.log_e == pytest.approx(plain_log_e(difference, variance, test), rel=1e-6, abs=1e-9)


def test_comparisons_beside_each_other_say_to_the_last_bit_what_each_says_alone() -> None:
    tests = [
        a_test(effect=scale, rho=rho, delta=delta, promote=promote, outcomes=outcomes, stable_rate=0.1)
        for scale in (0.005, 0.3)
        for rho, delta in ((1.0, 0.0), (1.1, 0.0005))
        for promote in (False, True)
        for outcomes in Outcomes
    ]
    worlds = [some_clusters(seed, users=10 if seed == 5 else 300, worse=1 + seed / 4) for seed in range(len(tests))]
    rows = np.stack([sum(moments_of(cells[None]) for cells in layers)[0] for layers in worlds])
    rows[3] = 0.0
    alone = [evidence_of(Moments.of(row[None]), [test])[0] for row, test in zip(rows, tests, strict=True)]
    assert evidence_of(Moments.of(rows), tests) == alone
    assert {one.abstains for one in alone} == {"", UNDERPOWERED, TOO_FEW_REQUESTS}


def test_both_sides_speak_against_their_nulls() -> None:
    worse, equal = some_clusters(4, worse=3.0), some_clusters(4)
    rollback, promote = a_test(rho=1.1), a_test(rho=1.5, delta=0.05, promote=True, stable_rate=0.1)
    assert evidence(worse, rollback).log_e > math.log(1000) > 0 > evidence(equal, rollback).log_e
    assert evidence(worse, promote).log_e < 0 < math.log(20) < evidence(equal, promote).log_e


def test_layers_are_compared_within() -> None:
    """A daily wave that meets a ramp: the candidate has its requests when everything fails more often."""
    quiet, busy = even(n=90, bad=(0, 0)), no_cells()
    for cluster in range(60):
        busy[0, CANDIDATE, cluster] = (90, cluster % 3 + 20)
        busy[0, STABLE, cluster] = (9, cluster % 3 + 2)
    assert evidence(np.concatenate([quiet, busy]), a_test()).log_e < math.log(2)
    assert evidence(quiet + busy, a_test()).log_e > math.log(1000)


def test_one_heavy_user_is_one_user() -> None:
    """A broken user of 2,000 requests: certain to who counts requests, nothing to who counts users."""
    found = even(bad=(1, 1))
    found[0, CANDIDATE, 3] += (2_000, 1_900)
    said = evidence(found, a_test())
    assert said.difference > 0.5
    assert said.log_e < math.log(20)


@pytest.mark.parametrize("clusters", [0, 1, 2, LEAST_CLUSTERS - 1])
def test_few_clusters_are_underpowered(clusters: int) -> None:
    said = evidence(even(clusters=clusters, bad=(9, 0)), a_test())
    assert (said.abstains, said.log_e) == (UNDERPOWERED, 0.0)
    assert evidence(even(clusters=LEAST_CLUSTERS, bad=(9, 0)), a_test()).log_e > 0


def test_without_any_failure_there_is_no_variance() -> None:
    assert evidence(even(bad=(0, 0)), a_test()).abstains == TOO_FEW_EVENTS
    assert evidence(even(bad=(0, 0), clusters=2), a_test()).variance == 0.0


def test_a_layer_without_both_arms_is_left_out() -> None:
    alone, other = even(bad=(3, 2)), no_cells()
    other[0, STABLE, :9] = (9, 9)
    other[0, CANDIDATE, 5] = (50, 0)  # one cluster has no spread to read
    assert evidence(np.concatenate([alone, other]), a_test()) == evidence(alone, a_test())


def test_promotion_waits_for_expected_events() -> None:
    waits = a_test(promote=True, rho=1.5, delta=0.001, stable_rate=0.0001, effect=0.0001)  # 30 of 26,087
    few, enough = even(bad=(0, 0), n=434), even(bad=(0, 0), n=435)  # of 60 clusters each
    assert evidence(few, waits).abstains == TOO_FEW_EVENTS
    said = evidence(enough, waits)
    assert said.abstains == ""
    assert said.log_e > math.log(20)  # a service without any failure promotes


def test_a_lucky_candidate_is_not_certain() -> None:
    """No failure of its own and a stable arm that is well known: the variance is at least that of the margin."""
    found = no_cells()
    found[0, CANDIDATE, :, 0] = 130
    found[0, STABLE, :, 0] = 10_000
    found[0, STABLE, 1::2, 1] = 1
    said = evidence(found, a_test(promote=True, rho=1.0, delta=0.002, effect=0.002, stable_rate=0.00005))
    assert said.variance > 0.00205 / (128 * 130)
    assert said.log_e < 0.6 * 34  # 33 failures were expected of it


def test_promotion_of_means_waits_for_requests_and_users() -> None:
    cost = a_test(promote=True, outcomes=Outcomes.MEAN, rho=1.1)
    assert evidence(even(n=33, bad=(3, 3)), cost).abstains == TOO_FEW_REQUESTS
    found = even(n=34, bad=(3, 3))
    assert evidence(found, cost).abstains == ""
    found[0, CANDIDATE, 1] += (3_000, 100)
    said = evidence(found, cost)
    assert said.effective_candidate < 16
    assert said.abstains == UNDERPOWERED
    assert evidence(found, a_test(outcomes=Outcomes.MEAN, rho=1.1)).abstains == ""  # rolling back does not wait


def test_an_effect_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="effect"):
        evidence(no_cells(), a_test(effect=0.0))
