"""Weighing: what evidence is made of, and what it leaves out."""

import math

import numpy as np
import pytest
from scipy.special import betaln

from canary.stats.bets import log_factors, mixed
from canary.stats.contrast import Contrast
from canary.stats.counts import SegmentTotals, Totals
from canary.stats.evidence import Evidence, MetricEvidence
from canary.stats.ratio import BROKEN_LOG_E, sample_ratio_log_e
from canary.stats.scoring import Scoring
from canary.stats.weigh import weigh
from canary.terms import Scored
from tests.support.scorings import a_scoring, a_segment

SCORING = a_scoring()
NAMES = [contrast.name for contrast in SCORING.contrasts]
AGES = len({contrast.age_us for contrast in SCORING.contrasts})
Four = tuple[int, int, int, int]


def totals(
    scoring: Scoring = SCORING, *, segment: int = 7, settled_s: int = 0, assigned: tuple[int, int] = (0, 0), **counts: Four
) -> Totals:
    """Counts of one segment by contrast, dots written as two underscores."""
    flat: list[int] = []
    given = {name.replace("__", "."): four for name, four in counts.items()}
    for contrast in scoring.contrasts:
        flat += given.pop(contrast.name, (0, 0, 0, 0))
    assert not given
    found = SegmentTotals(
        counts=tuple(flat), assigned_candidate=assigned[0], assigned_stable=assigned[1], settled_s=(settled_s,) * AGES
    )
    return Totals(segments={segment: found}, as_of_us=5)


def both(*parts: Totals) -> Totals:
    return Totals(segments={segment: found for part in parts for segment, found in part.segments.items()})


def row(evidence: Evidence, metric: str) -> MetricEvidence:
    return next(found for found in evidence.metrics if found.metric == metric)


def log_e(contrast: Contrast, *parts: tuple[float, Four]) -> float:
    """The definition: a mixture over bets of products over segments."""
    components = sum(log_factors(contrast, weight) @ np.array(four) for weight, four in parts)
    return float(mixed(np.full(len(components), -math.log(len(components))), np.asarray(components)))


def late(from_start: float) -> float:
    """With the half that bets on late onset, which has seen no minute: 1."""
    return math.log(0.5 * math.exp(from_start) + 0.5)


def contrast(name: str) -> Contrast:
    return SCORING.contrasts[NAMES.index(name)]


def test_without_counts_nothing_is_said() -> None:
    evidence = weigh(Totals(), SCORING, [a_segment()], stage=0)
    said = [found.log_e_rollback or found.log_e_promote or 0.0 for found in evidence.metrics]
    assert said == pytest.approx([0.0] * (len(SCORING.metrics) + len(SCORING.values.metrics)))
    assert not any(found.breached for found in evidence.metrics)
    assert not any(found.cleared for found in evidence.metrics if found.need_promote is not None)
    assert (evidence.pairs, evidence.stage_settled_s, evidence.newest_tick_age_s) == (0, 0.0, None)


def test_a_metric_without_a_shadow_is_its_canary_lane() -> None:
    four = (9, 91, 10, 1_890)
    evidence = weigh(totals(error__rollback=four), SCORING, [a_segment()], stage=0)
    found = row(evidence, "error")
    assert found.log_e_rollback == pytest.approx(late(log_e(contrast("error.rollback"), (0.05, four))))
    assert (found.n_candidate, found.bad_candidate, found.n_stable, found.bad_stable) == (100, 9, 1_900, 10)
    assert found.need_rollback == pytest.approx(-math.log(0.05 * 0.15 / 0.70))
    assert found.breached


def test_segments_multiply_inside_each_component() -> None:
    first, second = (4, 96, 10, 1_890), (9, 991, 4, 996)
    found = weigh(
        both(totals(error__rollback=first), totals(segment=9, error__rollback=second)),
        SCORING,
        [a_segment(id=9, weight_bp=5_000), a_segment()],
        stage=0,
    )
    expected = log_e(contrast("error.rollback"), (0.05, first), (0.5, second))
    apart = log_e(contrast("error.rollback"), (0.05, first)) + log_e(contrast("error.rollback"), (0.5, second))
    assert row(found, "error").log_e_rollback == pytest.approx(late(expected))
    assert expected != pytest.approx(apart)


def test_latency_averages_its_thresholds_on_the_rollback_side() -> None:
    scoring = a_scoring(shadow_lane_weight=0.0)
    counts: dict[str, Four] = {"p50__rollback": (80, 20, 950, 950), "p99__rollback": (1, 99, 20, 1_880)}
    found = row(weigh(totals(scoring, **counts), scoring, [a_segment()], stage=0), "latency")
    each = [log_e(contrast(f"p{p}.rollback"), (0.05, counts.get(f"p{p}__rollback", (0, 0, 0, 0)))) for p in (50, 95, 99)]
    assert found.log_e_rollback == pytest.approx(late(math.log(sum(map(math.exp, each)) / 3)))
    assert found.bad_candidate == 80  # people see the threshold that says most
    assert found.min_events == 0


def test_the_lanes_share_one_share_of_the_budget() -> None:
    pair = (0, 12, 0, 188)
    found = row(
        weigh(totals(error__rollback__pairs=pair), SCORING, [a_segment(stage=-1, weight_bp=0)], stage=-1), "error_timeout"
    )
    shadow = log_e(contrast("error.rollback.pairs"), (0.0, pair))
    assert found.log_e_rollback == pytest.approx(late(math.log(0.75 + 0.25 * math.exp(shadow))))
    assert (found.pairs, found.pairs_worse, found.pairs_better, found.candidate_events) == (200, 12, 0, 12)
    canary = (9, 91, 10, 1_890)
    both_lanes = row(
        weigh(totals(error_timeout__rollback=canary, error__rollback__pairs=pair), SCORING, [a_segment()], stage=0),
        "error_timeout",
    )
    live = log_e(contrast("error_timeout.rollback"), (0.05, canary))
    assert both_lanes.log_e_rollback == pytest.approx(late(math.log(0.75 * math.exp(live) + 0.25 * math.exp(shadow))))
    assert both_lanes.candidate_events == 21


def test_latency_in_the_shadow_averages_three_tables_and_the_sign_table() -> None:
    found = row(
        weigh(totals(later__rollback__pairs=(0, 30, 5, 0)), SCORING, [a_segment(stage=-1, weight_bp=0)], stage=-1), "latency"
    )
    sign = log_e(contrast("later.rollback.pairs"), (0.0, (0, 30, 5, 0)))
    assert found.log_e_rollback == pytest.approx(late(math.log(0.75 + 0.25 * (3 + math.exp(sign)) / 4)))


def test_too_few_events_stop_nothing() -> None:
    four = (2, 0, 0, 1_000)
    found = row(weigh(totals(error__rollback=four), SCORING, [a_segment(weight_bp=100)], stage=0), "error")
    assert found.log_e_rollback is not None
    assert found.need_rollback is not None
    assert found.log_e_rollback >= found.need_rollback
    assert not found.breached


def test_promotion_reads_the_margins_of_its_stage() -> None:
    four = (10, 990, 95, 18_905)
    counts = {f"error__promote__{factor}": four for factor in (10, 2, 1)}
    by_stage = [
        row(weigh(totals(**counts), SCORING, [a_segment()], stage=stage), "error_timeout").log_e_promote for stage in range(4)
    ]
    wide, middle, final, last = by_stage
    assert wide is not None
    assert middle is not None
    assert final is not None
    assert wide > middle > final == last
    after = row(weigh(totals(**counts), SCORING, [a_segment()], stage=4), "error_timeout").log_e_promote
    before = row(weigh(totals(**counts), SCORING, [a_segment()], stage=-1), "error_timeout").log_e_promote
    assert (before, after) == (wide, final)


def test_an_equal_p50_and_p95_never_carry_a_doubled_p99() -> None:
    counts: dict[str, Four] = {
        "error__promote__1": (50, 9_950, 50, 9_950),
        "p50__promote__1": (4_000, 6_000, 5_000, 5_000),
        "p95__promote__1": (300, 9_700, 500, 9_500),
        "p99__promote__1": (250, 9_750, 100, 9_900),
    }
    evidence = weigh(totals(**counts), SCORING, [a_segment(weight_bp=5_000, stage=3)], stage=3)
    cleared = {name: row(evidence, name).cleared for name in ("error_timeout", "p50", "p95", "p99")}
    assert cleared == {"error_timeout": True, "p50": True, "p95": True, "p99": False}


def test_out_of_the_shadow_the_pairs_errors_speak_at_a_factor_of_20() -> None:
    evidence = weigh(totals(error__promote__pairs=(2, 2, 2, 994)), SCORING, [a_segment(stage=-1, weight_bp=0)], stage=-1)
    found = row(evidence, "shadow_error")
    assert found.cleared
    assert found.log_e_rollback is None
    assert (found.pairs, found.pairs_worse) == (1_000, 2)
    assert evidence.pairs == 1_000


def test_a_warm_up_counts_for_errors_alone() -> None:
    counts: dict[str, Four] = {"error__rollback": (9, 91, 10, 1_890), "p95__rollback": (90, 10, 95, 1_805)}
    evidence = weigh(totals(**counts, settled_s=40), SCORING, [a_segment(scored=Scored.FAILURES)], stage=0)
    assert row(evidence, "error").breached
    assert row(evidence, "latency").n_candidate == 0
    assert evidence.stage_settled_s == 0


def test_what_no_coin_assigned_is_not_weighed() -> None:
    counts: dict[str, Four] = {"error__rollback": (9, 91, 10, 1_890)}
    for segments in ([a_segment(scored=Scored.NONE)], [a_segment(weight_bp=0)], [a_segment(weight_bp=10_000)], []):
        evidence = weigh(totals(**counts, assigned=(100, 1_900)), SCORING, segments, stage=0)
        assert row(evidence, "error").n_candidate == 0
        assert (evidence.assigned_candidate, evidence.sample_ratio_log_e) == (0, 0.0)


def test_the_dwell_is_the_stages_own() -> None:
    found = both(totals(segment=7, settled_s=100), totals(segment=8, settled_s=20), totals(segment=9, settled_s=3))
    segments = [a_segment(id=7, stage=0), a_segment(id=8, stage=1), a_segment(id=9, stage=1)]
    assert weigh(found, SCORING, segments, stage=1).stage_settled_s == 23


def test_what_is_not_statistics_is_passed_on() -> None:
    evidence = weigh(totals(), SCORING, [a_segment()], stage=0, newest_tick_age_s=2.5)
    assert (evidence.newest_tick_age_s, evidence.as_of_us) == (2.5, 5)


def test_the_sample_ratio_is_a_beta_mixture_against_the_coin() -> None:
    expected = betaln(5 + 60, 95 + 940) - betaln(5, 95) - 60 * math.log(0.05) - 940 * math.log(0.95)
    assert sample_ratio_log_e(0.05, 60, 940) == pytest.approx(expected)
    assert sample_ratio_log_e(0.05, 500, 9_500) < 0
    assert sample_ratio_log_e(0.05, 700, 9_300) > BROKEN_LOG_E
    assert sample_ratio_log_e(0.0, 5, 5) == sample_ratio_log_e(1.0, 5, 5) == 0.0


def test_the_mean_of_the_sample_ratio_over_every_sample_is_one() -> None:
    weight, n = 0.2, 12
    mean = sum(
        math.comb(n, k) * weight**k * (1 - weight) ** (n - k) * math.exp(sample_ratio_log_e(weight, k, n - k))
        for k in range(n + 1)
    )
    assert mean == pytest.approx(1.0, abs=1e-12)


def test_the_worst_segment_breaks_the_sample_ratio() -> None:
    found = both(totals(segment=7, assigned=(500, 9_500)), totals(segment=8, assigned=(700, 9_300)))
    evidence = weigh(found, SCORING, [a_segment(id=7), a_segment(id=8)], stage=0)
    assert evidence.sample_ratio_broken
    assert evidence.sample_ratio_log_e == pytest.approx(sample_ratio_log_e(0.05, 700, 9_300))
    assert (evidence.assigned_candidate, evidence.assigned_stable) == (1_200, 18_800)
