"""What the bets on means, the strata, the restarts and the intervals promise, on simulated streams of real token counts.

Seeds are fixed and never chosen. Bounds are the promises themselves, with three standard errors where one is met with equality.
"""

import math

import numpy as np
import pytest

from canary.stats.bets import log_factors, mixed
from canary.stats.contrast import Contrast, Rule
from canary.stats.intervals import RateCounts, mean_ratio, rate_difference, rate_interval
from canary.stats.means import Margin, MeanMetric, combined, pair_grid
from canary.stats.means import log_factors as mean_factors
from canary.stats.restarts import LENGTH, log_shares, restarted_log_e, running
from canary.stats.tables import Vector
from tests.support.values import (
    Floats,
    Ints,
    bins_of,
    cells_of,
    cost_metric,
    costs,
    looks,
    losses,
    mean_counts,
    promote_margin,
    quality_metric,
    rollback_margin,
)

pytestmark = pytest.mark.timeout(600)

NEED = math.log(20)


def story(metric: MeanMetric, margin: Margin, counts: Ints, weight_bp: int) -> Floats:
    """Log e at every look."""
    factors = mean_factors(metric, margin, weight_bp)
    flat = factors.reshape(-1, factors.shape[2] * factors.shape[3])
    return np.asarray(combined(metric, margin, counts.reshape(len(counts), -1) @ flat.T))


def first(log_e: Floats, each: int, need: float = NEED) -> float:
    """Requests until a threshold is reached; infinite where it never is."""
    reached = log_e >= need
    return float((reached.argmax() + 1) * each) if reached.any() else math.inf


def cost_counts(seed: int, metric: MeanMetric, *, n: int, weight: float, times: float = 1.0, each: int = 200) -> Ints:
    """Cumulative counts of a canary whose candidate costs `times` as much."""
    rng = np.random.default_rng(seed)
    drawn, candidate = costs(rng, n), rng.random(n) < weight
    stratum = drawn.stratum if len(metric.profile) > 1 else np.zeros(n, dtype=np.int64)
    values = np.where(candidate, times * drawn.value, drawn.value)
    bins = cells_of(metric, values, candidate, stratum, rng=rng)
    return looks(bins, width=2 * metric.grid.width, strata=len(metric.profile), each=each)


def quality_counts(seed: int, metric: MeanMetric, *, n: int, weight: float, worse: float = 0.0, each: int = 200) -> Ints:
    """Cumulative counts of a canary of whose answers a share `worse` loses everything."""
    rng = np.random.default_rng(seed)
    candidate = rng.random(n) < weight
    values = np.where(candidate & (rng.random(n) < worse), 1.0, losses(rng, n))
    bins = cells_of(metric, values, candidate, np.zeros(n, dtype=np.int64), rng=rng)
    return looks(bins, width=2 * metric.grid.width, strata=1, each=each)


def at_most(runs: int, share: float = 0.05) -> float:
    """The share and three standard errors."""
    return share + 3 * math.sqrt(share * (1 - share) / runs)


@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_an_equal_candidate_is_rolled_back_for_its_cost_in_5_percent_of_runs_at_most(weight: float) -> None:
    metric = cost_metric()
    margin, runs = Margin(name="cost.rollback", effects=rollback_margin(metric).effects), 60  # nothing tolerated
    stopped = [
        first(story(metric, margin, cost_counts(seed, metric, n=20_000, weight=weight), round(1e4 * weight)), 200)
        for seed in range(runs)
    ]
    assert sum(map(math.isfinite, stopped)) / runs <= 0.05


@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_an_equal_candidate_is_rolled_back_for_its_quality_in_5_percent_of_runs_at_most(weight: float) -> None:
    metric = quality_metric()
    margin, runs = Margin(name="quality.rollback", effects=rollback_margin(metric).effects), 60
    stopped = [
        first(story(metric, margin, quality_counts(seed, metric, n=20_000, weight=weight), round(1e4 * weight)), 200)
        for seed in range(runs)
    ]
    assert sum(map(math.isfinite, stopped)) / runs <= 0.05


@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_a_candidate_on_its_cost_margin_is_promoted_in_5_percent_of_runs_at_most(weight: float) -> None:
    metric, runs = cost_metric(), 60
    margin = promote_margin(metric)
    cleared = [
        first(story(metric, margin, cost_counts(seed, metric, n=20_000, weight=weight, times=1.1), round(1e4 * weight)), 200)
        for seed in range(runs)
    ]
    assert sum(map(math.isfinite, cleared)) / runs <= at_most(runs)


@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_a_candidate_on_its_quality_margin_is_promoted_in_5_percent_of_runs_at_most(weight: float) -> None:
    metric, runs = quality_metric(), 60
    margin = promote_margin(metric)
    true_mean = 0.06 + 0.94 * 0.2
    worse = 0.02 / (1 - true_mean)
    cleared = [
        first(
            story(metric, margin, quality_counts(seed, metric, n=20_000, weight=weight, worse=worse), round(1e4 * weight)), 200
        )
        for seed in range(runs)
    ]
    assert sum(map(math.isfinite, cleared)) / runs <= at_most(runs)


def test_an_equal_candidate_is_promoted_for_cost_and_quality_within_25_000_requests() -> None:
    cost, quality = cost_metric(), quality_metric()
    needed = []
    for seed in range(15):
        dear = story(cost, promote_margin(cost), cost_counts(seed, cost, n=50_000, weight=0.5), 5_000)
        good = story(quality, promote_margin(quality), quality_counts(seed, quality, n=50_000, weight=0.5), 5_000)
        needed.append(first(np.minimum(dear, good), 200))
    assert np.median(needed) <= 25_000


def test_strata_find_a_dearer_candidate_in_65_percent_of_the_requests_at_most() -> None:
    """All costs up by a fifth, half of the traffic: classes differ in price by 40, which is noise to those who pool them."""
    told, pooled = cost_metric(), cost_metric(strata=1)
    margin = Margin(name="cost.rollback", effects=rollback_margin(told).effects)
    needed = {
        strata: np.median(
            [
                first(story(metric, margin, cost_counts(seed, metric, n=16_000, weight=0.5, times=1.2, each=50), 5_000), 50)
                for seed in range(40)
            ]
        )
        for strata, metric in ((3, told), (1, pooled))
    }
    assert needed[3] <= 0.65 * needed[1]
    assert needed[3] <= 2_000


def pair_story(metric: MeanMetric, margin: Margin, seed: int, *, n: int, times: float, noise: float) -> Floats:
    """Pairs of costs: the same prompt, answers of different lengths."""
    rng = np.random.default_rng(seed)
    drawn, grid = costs(rng, n), pair_grid(metric, margin)
    stable = drawn.value * np.exp(rng.normal(0, noise, n))
    candidate = times * drawn.value * np.exp(rng.normal(0, noise, n))
    least = margin.rho * np.minimum(stable, metric.grid.cap) + margin.delta
    differences = np.clip(np.minimum(candidate, metric.grid.cap) - least, grid.points[0], grid.cap)
    stratum = drawn.stratum if len(metric.profile) > 1 else np.zeros(n, dtype=np.int64)
    bins = stratum * grid.width + bins_of(grid, differences, rng)
    return story(metric, margin, looks(bins, width=grid.width, strata=len(metric.profile), each=20), 0)


def test_equal_pairs_are_stopped_in_5_percent_of_runs_at_most_and_dearer_ones_soon() -> None:
    metric = cost_metric(strata=1)
    margin = Margin(name="cost.rollback.pairs", pairs=True)
    equal = [first(pair_story(metric, margin, seed, n=8_000, times=1.0, noise=0.2), 20) for seed in range(60)]
    assert sum(map(math.isfinite, equal)) / 60 <= 0.05
    dearer = [first(pair_story(metric, margin, seed, n=4_000, times=1.2, noise=0.2), 20) for seed in range(30)]
    assert np.median(dearer) <= 1_000


ERRORS = Contrast(
    name="error.rollback",
    rule=Rule.BAD,
    age_us=1_000_000,
    center=0.005,
    effects=tuple(0.005 * times for times in (1.2, 1.4, 1.8, 2.5, 4.0, 8.0, 20.0, 100.0)),
)
BLOCK = 1_500  # requests a minute: 25 a second


def errors(seed: int, *, blocks: int, onset: int, bad: float, weight: float = 0.05) -> tuple[Vector, Vector]:
    """Log e from the start and with restarts, after each block of a canary that breaks after `onset` blocks."""
    rng = np.random.default_rng(seed)
    factors, prior = log_factors(ERRORS, weight), np.full(8, -math.log(8))
    whole, mixture, parts = [], [], np.zeros((0, 8))
    for block in range(blocks):
        rate = bad if block >= onset else 0.005
        mine = rng.binomial(BLOCK, weight)
        broken, failed = rng.binomial(mine, rate), rng.binomial(BLOCK - mine, 0.005)
        counts = np.array([broken, mine - broken, failed, BLOCK - mine - failed], dtype=np.float64)
        parts = np.vstack([parts, (factors * counts).sum(axis=1)])
        kept = parts[-LENGTH:]
        whole.append(float(mixed(prior, parts.sum(axis=0))))
        shares = log_shares(range(len(parts) - len(kept) + 1, len(parts) + 1), whole=len(kept) == len(parts))
        mixture.append(restarted_log_e(whole[-1], mixed(prior, running(kept)), shares))
    return np.array(whole), np.array(mixture)


def test_a_late_onset_is_found_earlier_than_by_the_bet_from_the_start() -> None:
    """5 %, 50,000 good requests, then 10 % errors: the bet from the start has lost its stake by then."""
    onset = 50_000 // BLOCK
    found = [errors(seed, blocks=onset + 12, onset=onset, bad=0.10) for seed in range(40)]
    from_start = [first(whole[onset:], BLOCK) for whole, _ in found if whole[:onset].max() < NEED]
    restarted = [first(mixture[onset:], BLOCK) for whole, mixture in found if whole[:onset].max() < NEED]
    assert len(restarted) >= 36
    assert np.mean(np.minimum(restarted, 20_000)) < np.mean(np.minimum(from_start, 20_000))
    assert np.median(restarted) <= 2 * BLOCK


def test_restarts_roll_an_equal_candidate_back_in_5_percent_of_runs_at_most() -> None:
    """Two and a half hours, so that starts are given up too."""
    stopped = [errors(seed, blocks=150, onset=150, bad=0.005)[1].max() >= NEED for seed in range(60)]
    assert sum(stopped) / 60 <= 0.05


def test_intervals_of_rates_hold_at_every_look_in_90_percent_of_runs() -> None:
    """True difference 1 point on a tenth of it; 90 % intervals looked at 40 times."""
    promote = Contrast(
        name="error.promote.1", rule=Rule.UNWELL, age_us=1_000_000, promote=True, rho=1.5, delta=0.001, center=0.005
    )
    held, runs = 0, 40
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        parts = rng.multinomial(400, [0.5 * 0.11, 0.5 * 0.89, 0.5 * 0.10, 0.5 * 0.90], size=40).cumsum(axis=0)
        inside = True
        for counts in parts[::4].tolist():
            found = [RateCounts(weight_bp=5_000, counts=tuple(counts))]
            interval = rate_difference((ERRORS, found), (promote, found), alpha=0.1)
            assert interval is not None
            assert interval.lower is not None
            assert interval.upper is not None
            inside &= interval.lower <= 0.01 <= interval.upper
        held += inside
    assert held / runs >= 0.9


def test_intervals_of_means_hold_at_every_look_in_90_percent_of_runs() -> None:
    """Costs up by 8 %; what is cut at the cap is next to nothing."""
    metric, held, runs = cost_metric(), 0, 30
    for seed in range(runs):
        counts = cost_counts(seed, metric, n=10_000, weight=0.5, times=1.08, each=2_000)
        inside = True
        for one in counts:
            interval = mean_ratio(metric, rollback_margin(metric), promote_margin(metric), [mean_counts(one)], alpha=0.1)
            assert interval is not None
            assert interval.lower is not None
            inside &= interval.lower <= 1.08 and (interval.upper is None or interval.upper >= 1.08)
        held += inside
    assert held / runs >= 0.9


def test_a_rates_own_sequence_holds_at_every_look_in_95_percent_of_runs() -> None:
    held, runs = 0, 100
    for seed in range(runs):
        bad = np.random.default_rng(seed).binomial(50, 0.03, size=60).cumsum()
        inside = True
        for look in range(2, 60, 3):
            interval = rate_interval(int(bad[look]), 50 * (look + 1), alpha=0.05)
            assert interval is not None
            assert interval.lower is not None
            assert interval.upper is not None
            inside &= interval.lower <= 0.03 <= interval.upper
        held += inside
    assert held / runs >= 0.95


def test_bets_of_equal_arms_have_no_drift_under_any_profile() -> None:
    """A profile tunes and proves nothing: frozen from another service, the bets are fair all the same."""
    metric = quality_metric()
    wrong = MeanMetric(name="quality", grid=metric.grid, profile=(metric.profile[0][::-1],), bounded=True)
    margin = Margin(name="quality.rollback", effects=rollback_margin(metric).effects)
    ends = [story(wrong, margin, quality_counts(seed, wrong, n=4_000, weight=0.5), 5_000).max() for seed in range(60)]
    assert sum(end >= NEED for end in ends) / 60 <= 0.05
