"""Evidence of users: which rows there are, what they say where nothing can be said, and what each method adds."""

import math
from collections.abc import Mapping

import numpy as np
import pytest

from canary.stats.cells import METRIC_SHIFT, SECOND_SHIFT, START, pack
from canary.stats.clustered import LEAST_CLUSTERS
from canary.stats.clusters import cluster_of
from canary.stats.comparisons import PARTS, comparisons_of, promote_name, refused_name, rollback_name
from canary.stats.contrast import Rule
from canary.stats.counts import CounterRow
from canary.stats.evidence import Evidence, MetricEvidence
from canary.stats.first_event import FirstEventRow
from canary.stats.freezing import freeze
from canary.stats.frozen import Scoring
from canary.stats.profile import Profile
from canary.stats.row_book import RowBook
from canary.stats.scoring import Fact, ends, starts
from canary.stats.sticky_cells import clustered, plain
from canary.stats.sticky_ledger import StickyLedger
from canary.stats.sticky_weigh import weigh_sticky
from canary.stats.unit_first import UnitFirsts
from canary.stats.value_plan import Form
from canary.terms import Arm, Scored
from tests.support.plain_scores import Request
from tests.support.scorings import a_horizon, a_profile, a_scoring_of_classes, a_segment, a_spec, rows_of_requests
from tests.support.streams import EPOCH_US, MINUTE_US

SCORING = freeze(a_profile(), a_spec(sticky=True))
LATE_US = EPOCH_US + 30 * MINUTE_US


def requests(
    *,
    users: int = 200,
    each: int = 10,
    errors: tuple[float, float] = (0.01, 0.01),
    latency_us: tuple[int, int] = (90_000, 90_000),
    seed: int = 1,
) -> list[Request]:
    """Requests of users of whom every second is the candidate's; errors and latency of candidate and stable."""
    rng = np.random.default_rng(seed)
    found = []
    for user in range(users):
        arm = Arm.STABLE if user % 2 else Arm.CANDIDATE
        for _ in range(each):
            latency = int(latency_us[user % 2] * rng.lognormal(0, 0.3))
            fact = Fact(
                age_us=latency + 500,
                latency_us=latency,
                ttfb_us=latency // 2,
                failed=bool(rng.random() < errors[user % 2]),
                left=False,
                unit_hash=user.to_bytes(8, "big"),
                exchange_id=rng.bytes(16),
                values=(float(rng.exponential(2.0)),),
            )
            found.append(Request(start_us=EPOCH_US + int(rng.integers(0, 5 * MINUTE_US)), arm=arm, fact=fact))
    return found


def events(metric: str, candidate: int, stable: int, *, segment: int = 7) -> list[FirstEventRow]:
    """So many users of either arm."""
    arms = [Arm.CANDIDATE] * candidate + [Arm.STABLE] * stable
    return [
        FirstEventRow("r", metric, (90_000 + index).to_bytes(8, "big"), EPOCH_US + index, segment, arm, "j0", 1)
        for index, arm in enumerate(arms)
    ]


def evidence(
    found: list[Request],
    *firsts: list[FirstEventRow],
    scoring: Scoring = SCORING,
    tick_us: int = LATE_US,
    stage: int = 3,
    **segment: object,
) -> Evidence:
    ledger = StickyLedger()
    ledger.add(rows_of_requests(scoring, found))
    ledger.add_first(row for rows in firsts for row in rows)
    segments = [a_segment(**{"weight_bp": 5_000, "stage": stage, **segment})]
    totals = ledger.settled([a_horizon(tick_us)], scoring, segments)
    return weigh_sticky(totals, scoring, segments, stage=stage)


def by_name(evidence: Evidence) -> Mapping[str, MetricEvidence]:
    return {row.metric: row for row in evidence.metrics}


def test_cells_of_users_are_plain_cells_with_a_cluster() -> None:
    unit = b"12345678"
    keys = [
        pack(metric=START, stratum=2, arm=1, second=17, bin_index=0),
        pack(metric=19, stratum=0, arm=0, second=255, bin_index=64),
    ]
    found = clustered(keys, unit)
    clusters, cells = plain(np.array(found))
    assert set(clusters.tolist()) == {cluster_of(unit)}
    assert [cell >> SECOND_SHIFT & 0xFF for cell in cells.tolist()] == [255, 255]
    assert [cell >> METRIC_SHIFT for cell in cells.tolist()] == [START, 19]
    assert clustered(keys, b"") == ()
    with pytest.raises(ValueError, match="units are requests"):
        plain(np.array(keys))


def test_a_scoring_of_users_counts_in_clusters_only() -> None:
    fact = Fact(age_us=5, latency_us=4, failed=False, left=False, unit_hash=b"12345678")
    for keys in (starts(SCORING, Arm.STABLE, EPOCH_US, unit_hash=b"12345678"), ends(SCORING, Arm.STABLE, EPOCH_US, fact)):
        assert plain(np.array(keys))[0].tolist() == [cluster_of(b"12345678")] * len(keys)


def test_rows_are_those_of_any_rollout_with_errors_in_one() -> None:
    rows = by_name(evidence(requests()))
    assert {"error_timeout", "latency", "p50", "p95", "p99", "shadow_error", "client_error", "abandoned"} == set(rows)
    shares = sum(m.share for m in SCORING.metrics if m.canary and SCORING.contrasts[m.canary[0]].rule is Rule.BAD)
    assert rows["error_timeout"].need_rollback == pytest.approx(-math.log(0.05 * shares))
    assert rows["error_timeout"].min_events == 3
    assert (rows["error_timeout"].n_candidate, rows["error_timeout"].n_stable) == (1_000, 1_000)


def test_first_failures_of_users_roll_back_before_clusters_can() -> None:
    found = evidence([], events("error", 30, 1), events("unit:7", 500, 500), tick_us=EPOCH_US + MINUTE_US)
    row = by_name(found)["error_timeout"]
    assert row.breached
    assert (row.bad_candidate, row.n_candidate, row.bad_stable, row.n_stable) == (30, 500, 1, 500)
    assert not by_name(evidence([], events("error", 2, 0), tick_us=LATE_US))["error_timeout"].breached


def test_events_count_once_their_journal_has_passed_them_by_the_age() -> None:
    firsts = UnitFirsts()
    firsts.add(events("error", 3, 0))
    age_us = SCORING.pair_age_us
    firsts.settle({"j0": EPOCH_US + age_us + 999_999}, age_us=age_us, scored={})
    assert firsts.events() == {}
    firsts.settle({"j0": EPOCH_US + age_us + 1_000_000}, age_us=age_us, scored={})
    firsts.add(events("error", 3, 0))
    firsts.settle({"j0": EPOCH_US + age_us + 2_000_000}, age_us=age_us, scored={})
    assert firsts.events() == {"error": {7: (3, 0)}}


def test_events_of_a_journal_that_has_gone_count_when_the_others_are_far_past() -> None:
    firsts, age_us = UnitFirsts(), SCORING.pair_age_us
    firsts.add(events("error", 1, 0))
    firsts.settle({"j1": EPOCH_US + age_us + MINUTE_US}, age_us=age_us, scored={})
    assert firsts.events() == {}
    firsts.settle({"j1": EPOCH_US + age_us + 3 * MINUTE_US}, age_us=age_us, scored={})
    assert firsts.events() == {"error": {7: (1, 0)}}


def test_a_candidate_that_always_fails_beside_a_faultless_stable_is_found() -> None:
    """Neither arm's users differ, so the clusters' own variance is 0; the profile has no failure, so first events abstain."""
    faultless = freeze(a_profile(error_rate=0.0), a_spec(sticky=True))
    row = by_name(evidence(requests(errors=(1.0, 0.0)), scoring=faultless))["error_timeout"]
    assert row.log_e_rollback is not None
    assert row.log_e_rollback > 50
    assert by_name(evidence(requests(errors=(0.0, 0.0)), scoring=faultless))["error_timeout"].log_e_rollback < 0.1  # type: ignore[operator]


def test_slow_users_are_found_and_warm_ups_count_failures_alone() -> None:
    slow = requests(latency_us=(300_000, 90_000), errors=(0.5, 0.01))
    assert by_name(evidence(slow))["latency"].breached
    rows = by_name(evidence(slow, events("error", 40, 2), scored=Scored.FAILURES))
    assert rows["latency"].log_e_rollback == pytest.approx(0.0, abs=1e-12)
    assert (rows["latency"].n_candidate, rows["error_timeout"].n_candidate) == (0, 1_000)
    assert rows["error_timeout"].breached


def test_few_users_say_so_and_what_would_help() -> None:
    found = evidence(requests(users=20, each=100))
    rows = by_name(found)
    assert rows["p95"].abstains.startswith("underpowered_clusters: users in 9 of 128 groups")
    assert "split by request or by conversation" in rows["error_timeout"].promote_abstains
    assert not rows["p95"].cleared
    (alert,) = [alert for alert in found.alerts if alert.name == "underpowered_clusters"]
    assert f"at least {LEAST_CLUSTERS} needed" in alert.because


def test_users_decide_whether_the_sample_ratio_is_broken_and_requests_do_not() -> None:
    """The candidate's users send nine in ten requests: healthy, as long as there are as many of them."""
    busy = [request for request in requests(each=20) if request.arm is Arm.CANDIDATE or request.start_us % 9 == 0]
    assert not evidence(busy, events("unit:7", 500, 500)).sample_ratio_broken
    broken = evidence(requests(), events("unit:7", 200, 500))
    assert broken.sample_ratio_broken
    assert (broken.assigned_candidate, broken.assigned_stable) == (200, 500)


def test_discordant_pairs_of_users_roll_a_shadow_back() -> None:
    rows = by_name(evidence([], events("pair:error", 40, 1), events("unit:7", 1, 1), stage=-1, weight_bp=0))
    # the segment has no rows of its own yet, so nothing of it counts
    assert not rows["error_timeout"].breached
    started = requests(users=2, each=1)
    rows = by_name(evidence(started, events("pair:error", 40, 1), stage=-1, weight_bp=0))
    assert rows["error_timeout"].breached
    assert (rows["error_timeout"].pairs_worse, rows["error_timeout"].pairs_better) == (40, 1)
    rows = by_name(evidence(started, events("pair:p95", 60, 2), stage=-1, weight_bp=0))
    assert rows["latency"].breached


def test_spent_first_events_are_told() -> None:
    found = evidence(requests(), events("error", 30, 30), events("unit:7", 100, 100))
    assert "first_events" in [alert.name for alert in found.alerts]


def test_time_settles_by_whole_minutes() -> None:
    assert evidence(requests()).stage_settled_s == 240.0  # of five minutes; the first may have begun anywhere
    assert evidence(requests(), tick_us=EPOCH_US + 3 * MINUTE_US + SCORING.pair_age_us).stage_settled_s == 120.0
    assert evidence(requests(), tick_us=EPOCH_US + 3 * MINUTE_US + SCORING.pair_age_us - 1).stage_settled_s == 60.0
    assert evidence(requests(), stage=2, tick_us=EPOCH_US + 1).stage_settled_s == 0.0


def test_a_late_journal_changes_a_layer_that_was_summed_before() -> None:
    early, late = requests(seed=1), requests(seed=2, errors=(0.4, 0.01))
    horizons = [a_horizon(LATE_US), a_horizon(LATE_US, journal="j1")]
    segments = [a_segment(weight_bp=5_000, stage=3)]
    ledger, anew = StickyLedger(), StickyLedger()
    ledger.add(rows_of_requests(SCORING, early))
    ledger.settled(horizons, SCORING, segments)
    ledger.add(rows_of_requests(SCORING, late, journal="j1"))
    anew.add([*rows_of_requests(SCORING, early), *rows_of_requests(SCORING, late, journal="j1")])
    assert ledger.settled(horizons, SCORING, segments) == anew.settled(horizons, SCORING, segments)


def test_a_row_that_was_given_up_and_is_taken_in_by_the_fleet_makes_a_ledger_stale() -> None:
    first = EPOCH_US // MINUTE_US
    book = RowBook()
    rows = [
        CounterRow(rollout="r", segment=7, journal="j0", minute=first + minute, cells=b"", revision=1) for minute in range(800)
    ]
    for row in rows:
        assert list(book.add(row)) == []
        book.settle((7, "j0", row.minute))
    book.forget(first + 800)
    taken = CounterRow(rollout="r", segment=7, journal="", minute=first + 799, cells=b"", revision=2, journals=("j0",))
    assert list(book.add(taken)) == [rows[799]]
    assert not book.stale
    list(book.add(CounterRow(rollout="r", segment=7, journal="", minute=first, cells=b"", revision=2, journals=("j0",))))
    assert book.stale


COSTS = a_scoring_of_classes(sticky=True)
COST = next(metric for metric in COSTS.values.metrics if metric.form is Form.AMOUNT)


def test_costs_are_compared_between_users() -> None:
    dear = requests(users=400)
    row = by_name(evidence(dear, scoring=COSTS))[COST.name]
    assert row.abstains == ""
    assert row.mean_candidate is not None
    assert row.mean_stable is not None
    assert row.mean_candidate == pytest.approx(row.mean_stable, rel=0.2)
    assert row.log_e_rollback is not None
    assert row.log_e_rollback < 2


def test_a_value_is_its_grid_point_and_an_unknown_one_hurts_the_claim() -> None:
    comparisons, mean = comparisons_of(COSTS), COST.mean
    assert mean is not None
    value = pack(metric=16 + COST.number, stratum=0, arm=0, second=0, bin_index=5)
    start = pack(metric=START, stratum=0, arm=0, second=0, bin_index=0)
    plain_numbers = comparisons.plain

    def adds(code: int, name: str) -> list[int]:
        at = plain_numbers + 4 * comparisons.place[name]
        return comparisons.meaning(code)[at : at + 4].tolist()

    worth = round(PARTS * mean.grid.points[5] / mean.grid.cap)
    name = rollback_name(COST)
    assert adds(start, name) == [0, 0, 1, PARTS]  # stable's unknown is worth the cap
    assert adds(value, name) == [0, 0, 0, worth - PARTS]
    assert adds(start, promote_name(COST, 0))[3] == 0
    assert adds(start | 1 << 24, name) == [1, 0, 0, 0]
    refused = pack(metric=16 + COST.number, stratum=0, arm=0, second=0, bin_index=mean.grid.refused)
    assert adds(refused, refused_name(COST)) == [0, 0, 0, 1]


def test_an_unprofiled_scoring_of_users_can_be_weighed() -> None:
    empty = freeze(Profile(), a_spec(sticky=True))
    assert by_name(evidence([], scoring=empty))["error_timeout"].breached is False


def test_what_is_not_compared_where_users_keep_their_arm_is_said() -> None:
    found = evidence(requests())
    assert [alert.name for alert in found.alerts] == ["throughput"]
    assert "throughput" not in by_name(found)
    assert "throughput" not in {metric.name for metric in SCORING.metrics}
    assert math.fsum(metric.share for metric in (*SCORING.metrics, *SCORING.values.metrics)) == pytest.approx(1.0)
    assert evidence([], weight_bp=0).alerts == ()
