"""Intervals: published values, edges that agree with the decision, the estimate always inside, coverage at every look."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from canary.stats.bets import bets, log_factors, mixed, scores
from canary.stats.contrast import Contrast, Rule
from canary.stats.intervals import (
    Interval,
    RateCounts,
    bernoulli_log_e,
    completion_ratio,
    mean_difference,
    mean_ratio,
    net_loss,
    rate_difference,
    rate_interval,
)
from canary.stats.means import RATE_GRID, Margin, MeanMetric
from tests.support.plain_guards import preference_log_e, throughput_log_e
from tests.support.values import mean_counts, no_counts, promote_margin, rollback_margin, small_metric


def a_side(**changes: Any) -> Contrast:
    usual = {"name": "x", "rule": Rule.BAD, "age_us": 1_000_000, "center": 0.02}
    usual |= {"effects": (0.01, 0.02, 0.03)} if changes.get("promote") else {"effects": (0.03, 0.05, 0.1, 0.4)}
    return Contrast(**{**usual, **changes})


ROLLBACK = a_side()
PROMOTE = a_side(promote=True, rho=1.5, delta=0.001)


def both(*counts: tuple[int, int, int, int], weight_bp: int = 2_500) -> tuple[Any, Any]:
    found = [RateCounts(weight_bp=weight_bp, counts=one) for one in counts]
    return (ROLLBACK, found), (PROMOTE, found)


# Sub-Bernoulli beta-binomial mixture at s = 10, v = 100, tuned for v = 100 and alpha = .05, outcomes within -.2 and .8.
PUBLISHED_LOG_E, PUBLISHED_BOUND = -0.6941012, 31.4308
BELOW, ABOVE, TUNED = 0.2, 0.8, 100.0


def published_log_e(s: float) -> float:
    """Their parameters: successes of size .8 and failures of size -.2 that add up to s with variance v."""
    longest = math.log(1 / 0.05)
    r = TUNED / (2 * longest + math.log1p(2 * longest)) - BELOW * ABOVE
    bad, good = (TUNED + ABOVE * s) / ABOVE, (TUNED - BELOW * s) / BELOW
    return bernoulli_log_e(bad, good, BELOW, prior=(r / ABOVE, r / BELOW))


def test_the_beta_mixture_has_the_published_values() -> None:
    assert published_log_e(10) == pytest.approx(PUBLISHED_LOG_E, abs=1e-6)
    crossed = brentq(lambda s: published_log_e(s) - math.log(20), 5, 80)
    assert crossed == pytest.approx(PUBLISHED_BOUND, abs=1e-4)


def test_the_mean_of_a_rates_own_evidence_is_one() -> None:
    n, p = 9, 0.2
    chances = [math.comb(n, bad) * p**bad * (1 - p) ** (n - bad) for bad in range(n + 1)]
    e = [math.exp(bernoulli_log_e(bad, n - bad, p, prior=(0.5, 0.5))) for bad in range(n + 1)]
    assert sum(chance * one for chance, one in zip(chances, e, strict=True)) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("bad", "n"), [(0, 50), (50, 50), (3, 1_000), (500, 1_000)])
def test_a_rates_sequence_ends_where_its_evidence_does(bad: int, n: int) -> None:
    found = rate_interval(bad, n, alpha=0.05)
    assert found is not None
    assert found.lower is not None
    assert found.upper is not None
    assert 0 <= found.lower <= bad / n <= found.upper <= 1
    for edge in (found.lower, found.upper):
        if 0 < edge < 1:
            assert bernoulli_log_e(bad, n - bad, edge, prior=(0.5, 0.5)) == pytest.approx(math.log(20), abs=1e-6)


def test_without_counts_there_is_no_interval() -> None:
    assert rate_interval(0, 0, alpha=0.05) is None
    assert rate_difference(*both((0, 0, 3, 7)), alpha=0.05) is None
    assert rate_difference(*both(), alpha=0.05) is None
    metric = small_metric()
    sides = rollback_margin(metric), promote_margin(metric)
    assert mean_difference(metric, *sides, [mean_counts(no_counts(metric))], alpha=0.05) is None
    assert mean_ratio(metric, *sides, [], alpha=0.05) is None


def log_e_at(contrast: Contrast, counts: tuple[int, ...], weight: float, **margin: float) -> float:
    """The contrast's own bets at another margin, without those that could go bankrupt there."""
    moved = Contrast(**{**{name: getattr(contrast, name) for name in contrast.__struct_fields__}, **margin})
    factors = 1 + bets(contrast, weight)[:, None] * scores(moved, weight)
    safe = factors[factors.min(axis=1) > 0]
    return float(mixed(np.full(len(safe), -math.log(len(factors))), np.log(safe) @ np.array(counts)))


def test_edges_are_where_each_side_reaches_its_half_of_alpha() -> None:
    counts = (90, 2_410, 150, 7_350)
    found = rate_difference(*both(counts), alpha=0.1)
    assert found is not None
    assert found.estimate == pytest.approx(90 / 2_500 - 150 / 7_500)
    assert log_e_at(ROLLBACK, counts, 0.25, rho=1.0, delta=found.lower) == pytest.approx(math.log(20), abs=1e-6)
    assert log_e_at(PROMOTE, counts, 0.25, rho=1.0, delta=found.upper) == pytest.approx(math.log(20), abs=1e-6)


def test_the_interval_excludes_the_tolerance_when_half_of_alpha_would_roll_back() -> None:
    """The lower edge passes 0 just when the rollback side, with nothing tolerated, reaches 2 / alpha."""
    for bad in range(10, 60):
        counts = (bad, 2_500 - bad, 50, 7_450)
        found = rate_difference(*both(counts), alpha=0.1)
        assert found is not None
        assert found.lower is not None
        e = mixed(np.full(4, -math.log(4)), log_factors(ROLLBACK, 0.25) @ np.array(counts))
        assert (found.lower > 0) == (float(e) >= math.log(20)), bad


COUNTS = st.tuples(*[st.integers(0, 400)] * 4)


@settings(max_examples=60, deadline=None)
@given(
    segments=st.lists(st.tuples(st.sampled_from([100, 500, 5_000, 9_500]), COUNTS), min_size=1, max_size=4),
    alpha=st.sampled_from([0.01, 0.1, 0.5]),
)
def test_the_estimate_is_always_inside(segments: list[tuple[int, Any]], alpha: float) -> None:
    found = [RateCounts(weight_bp=weight_bp, counts=counts) for weight_bp, counts in segments]
    assert_inside(rate_difference((ROLLBACK, found), (PROMOTE, found), alpha=alpha))


@settings(max_examples=40, deadline=None)
@given(cells=st.lists(st.integers(0, 60), min_size=28, max_size=28), weight_bp=st.sampled_from([100, 5_000]))
def test_the_estimate_of_a_mean_is_always_inside(cells: list[int], weight_bp: int) -> None:
    metric = small_metric()
    found = [mean_counts(np.array(cells).reshape(2, 14), weight_bp=weight_bp)]
    for invert in (mean_difference, mean_ratio):
        assert_inside(invert(metric, rollback_margin(metric), promote_margin(metric), found, alpha=0.1))


def assert_inside(found: Interval | None) -> None:
    if found is not None:
        assert found.lower is None or found.lower <= found.estimate
        assert found.upper is None or found.estimate <= found.upper


def test_more_counts_make_it_narrower() -> None:
    widths = []
    for times in (1, 10, 100):
        found = rate_difference(*both((5 * times, 245 * times, 15 * times, 735 * times)), alpha=0.05)
        assert found is not None
        assert found.lower is not None
        assert found.upper is not None
        widths.append(found.upper - found.lower)
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] < 0.012


def test_a_ratio_without_an_upper_end_says_so() -> None:
    """One request of each arm refutes no ratio below a million at such an alpha."""
    metric = small_metric()
    counts = no_counts(metric)
    counts[0, 3], counts[0, counts.shape[1] // 2 + 1] = 1, 1
    found = mean_ratio(metric, rollback_margin(metric), promote_margin(metric), [mean_counts(counts)], alpha=1e-9)
    assert found is not None
    assert found.upper is None


def test_a_ramp_does_not_move_the_estimate() -> None:
    """Equal arms at rates that grow with the weight: pooled counts would show a candidate three times as bad."""
    found = [
        RateCounts(weight_bp=500, counts=(5, 495, 95, 9_405)),
        RateCounts(weight_bp=5_000, counts=(500, 4_500, 500, 4_500)),
    ]
    interval = rate_difference((ROLLBACK, found), (PROMOTE, found), alpha=0.05)
    assert interval is not None
    assert interval.estimate == pytest.approx(0.0, abs=1e-12)
    assert interval.lower is not None
    assert interval.lower < 0


def test_segments_speak_for_the_estimate_as_much_as_they_can_compare() -> None:
    """By nC nS / (nC + nS): 475 for the first segment's point of difference, 2,500 for the second's two."""
    found = [
        RateCounts(weight_bp=500, counts=(10, 490, 95, 9_405)),
        RateCounts(weight_bp=5_000, counts=(600, 4_400, 500, 4_500)),
    ]
    interval = rate_difference((ROLLBACK, found), (PROMOTE, found), alpha=0.05)
    assert interval is not None
    assert interval.estimate == pytest.approx((475 * 0.01 + 2_500 * 0.02) / 2_975)


def test_pairs_have_intervals_too() -> None:
    rollback, promote = a_side(pairs=True), a_side(pairs=True, promote=True, rho=1.5, delta=0.05)
    found = [RateCounts(weight_bp=0, counts=(10, 60, 20, 910))]
    interval = rate_difference((rollback, found), (promote, found), alpha=0.05)
    assert interval is not None
    assert interval.estimate == pytest.approx(0.04)
    assert interval.lower is not None
    assert interval.lower > 0


def test_means_cut_to_the_cap_are_compared_class_by_class() -> None:
    """Equal values in each class and other shares of the classes in each segment: no difference."""
    metric = small_metric()
    first, second = no_counts(metric), no_counts(metric)
    first[0, [1, 8]], first[1, [3, 10]] = (10, 90), (10, 290)
    second[0, [1, 8]], second[1, [3, 10]] = (100, 100), (700, 700)
    found = [mean_counts(first, weight_bp=500, segment=1), mean_counts(second, weight_bp=5_000, segment=2)]
    sides = Margin(name="r", effects=rollback_margin(metric).effects), promote_margin(metric)
    difference, ratio = (invert(metric, *sides, found, alpha=0.05) for invert in (mean_difference, mean_ratio))
    assert difference is not None
    assert ratio is not None
    assert difference.estimate == pytest.approx(0.0, abs=1e-12)
    assert ratio.estimate == pytest.approx(1.0)


def plain_completions(found: list[tuple[float, int, int]], null: float, ratios: tuple[float, ...]) -> float:
    """The mixture of likelihood ratios written out: chances of the arms that each completion came from."""
    e = 0.0
    for ratio in ratios:
        one = 1.0
        for w, mine, theirs in found:
            theta, at_null = (w * r / (w * r + 1 - w) for r in (ratio, null))
            one *= (theta / at_null) ** mine * ((1 - theta) / (1 - at_null)) ** theirs
        e += one / len(ratios)
    return e


BELOW_ONE = (0.5, 0.8, 0.9, 0.95)
BOTH_SIDES = (*BELOW_ONE, 2.0, 1.25, 1 / 0.9, 1 / 0.95)


@pytest.mark.parametrize("found", [[(0.5, 150, 260)], [(0.05, 30, 610), (0.5, 180, 240)], [(0.25, 300, 880)]])
def test_a_ratio_of_completions_ends_where_its_likelihood_ratios_do(found: list[tuple[float, int, int]]) -> None:
    interval = completion_ratio(found, alpha=0.1)
    assert interval is not None
    assert interval.lower is not None
    assert interval.upper is not None
    assert interval.lower < interval.estimate < interval.upper
    assert plain_completions(found, interval.upper, BELOW_ONE) == pytest.approx(20, rel=1e-6)
    assert plain_completions(found, interval.lower, BOTH_SIDES) == pytest.approx(20, rel=1e-6)


def test_the_likeliest_ratio_of_one_segment_is_that_of_its_odds() -> None:
    interval = completion_ratio([(0.25, 90, 300)], alpha=0.05)
    assert interval is not None
    assert interval.estimate == pytest.approx(90 / 300 * 0.75 / 0.25)


def test_completions_have_a_mean_of_one_at_their_own_ratio() -> None:
    """Exact: twelve completions whose arms a coin of the null's share chose."""
    w, null, n = 0.2, 0.7, 12
    share = w * null / (w * null + 1 - w)
    for ratios in (BELOW_ONE, BOTH_SIDES):
        mean = sum(
            math.comb(n, k) * share**k * (1 - share) ** (n - k) * plain_completions([(w, k, n - k)], null, ratios)
            for k in range(n + 1)
        )
        assert mean == pytest.approx(1, abs=1e-12)


def test_fewer_completions_than_promised_are_shown_where_the_guard_would_roll_back() -> None:
    crossed = set()
    for mine in range(240, 500, 4):
        found = ((0.5, mine, 500),)
        interval = completion_ratio(found, alpha=0.1)
        assert interval is not None
        assert interval.upper is not None
        assert (interval.upper < 1) == (throughput_log_e(found) >= math.log(20)), mine
        crossed.add(interval.upper < 1)
    assert crossed == {True, False}


def test_an_arm_without_completions_has_no_ratio() -> None:
    assert completion_ratio([(0.5, 0, 9)], alpha=0.05) is None
    assert completion_ratio([(0.5, 9, 0)], alpha=0.05) is None
    assert completion_ratio([], alpha=0.05) is None


PREFERENCE = MeanMetric(name="preference", grid=RATE_GRID, profile=((0.0, 0.0),), bounded=True)
LOST = Margin(name="preference.rollback.pairs", delta=0.01, pairs=True)
HARMLESS = Margin(name="preference.promote.1.pairs", delta=0.05, promote=True, pairs=True)


def test_a_net_loss_ends_where_the_decision_does() -> None:
    crossed = set()
    for losses in range(20, 120, 2):
        interval = net_loss(PREFERENCE, LOST, HARMLESS, [(0, losses, 30, 100, 0, 0)], alpha=0.1)
        assert interval is not None
        assert interval.lower is not None
        assert interval.upper is not None
        assert interval.lower <= interval.estimate <= interval.upper
        e = preference_log_e(0.01, losses=losses, ties=100, wins=30)
        assert (interval.lower > 0.01) == (e >= math.log(20)), losses
        crossed.add(interval.lower > 0.01)
    assert crossed == {True, False}
    many = net_loss(PREFERENCE, LOST, HARMLESS, [(0, 300, 300, 3_000, 0, 0)], alpha=0.1)
    assert many is not None
    assert many.upper is not None
    assert (many.upper < 0.05) == (preference_log_e(0.05, losses=300, ties=3_000, wins=300, promote=True) >= math.log(20))
    assert many.upper < 0.05


def test_unknown_pairs_widen_a_net_loss_and_do_not_move_it() -> None:
    known = net_loss(PREFERENCE, LOST, HARMLESS, [(0, 60, 30, 100, 0, 0)], alpha=0.1)
    unsure = net_loss(PREFERENCE, LOST, HARMLESS, [(0, 60, 30, 100, 40, 0)], alpha=0.1)
    assert known is not None
    assert unsure is not None
    assert unsure.estimate == known.estimate == pytest.approx(30 / 190)
    assert None not in {known.lower, known.upper, unsure.lower, unsure.upper}
    assert unsure.lower < known.lower < known.upper < unsure.upper  # type: ignore[operator]
    assert net_loss(PREFERENCE, LOST, HARMLESS, [(0, 0, 0, 0, 7, 2)], alpha=0.1) is None
    assert net_loss(PREFERENCE, LOST, HARMLESS, [], alpha=0.1) is None
