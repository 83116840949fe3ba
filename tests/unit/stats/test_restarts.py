"""Restarts: the formula as it is written, exact means, and what it is for."""

import itertools
import math

import numpy as np
import pytest

from canary.stats.bets import log_factors, mixed
from canary.stats.contrast import Contrast, Rule, Vector
from canary.stats.restarts import log_shares, restarted_log_e, running

CONTRAST = Contrast(name="x", rule=Rule.BAD, age_us=1_000_000, center=0.01, effects=(0.02, 0.1, 0.5))
FACTORS = log_factors(CONTRAST, 0.25)


def combine(parts: Vector) -> Vector:
    return mixed(np.full(3, -math.log(3)), parts)


def block(*counts: int) -> Vector:
    return np.asarray((FACTORS * np.array(counts, dtype=np.float64)).sum(axis=1))


def log_e(blocks: dict[int, Vector], *, kept: int | None = None) -> float:
    """The mixture of blocks by number from 1 on, of which the newest `kept` are still there."""
    places = sorted(blocks)[-kept:] if kept else sorted(blocks)
    summed = np.array([blocks[place] for place in places]).reshape(len(places), 3)
    whole = sum(blocks.values(), np.zeros(3))
    shares = log_shares(places, whole=len(places) == len(blocks))
    return restarted_log_e(float(combine(whole)), combine(running(summed)) if places else np.zeros(0), shares)


def by_the_formula(blocks: dict[int, Vector], *, kept: int | None = None) -> float:
    """E, from the design's words: all starts up to the last block, those of blocks that are not kept worth nothing."""
    n = max(blocks, default=0)
    oldest = 0 if kept is None or kept >= len(blocks) else sorted(blocks)[-kept]
    total = 1 / (n + 1)
    for k in range(max(1, oldest), n + 1):
        after = sum((blocks[place] for place in blocks if place >= k), np.zeros(3))
        total += math.exp(float(combine(after))) / (k * (k + 1))
    return 0.5 * math.exp(float(combine(sum(blocks.values(), np.zeros(3))))) + 0.5 * total


def some_blocks(n: int, *, seed: int = 1, each: int = 1) -> dict[int, Vector]:
    rng = np.random.default_rng(seed)
    return {each * place: block(*rng.poisson([0.6, 20, 0.8, 60]).tolist()) for place in range(1, n + 1)}


@pytest.mark.parametrize("each", [1, 3])
@pytest.mark.parametrize(("n", "kept"), [(0, None), (1, None), (3, None), (9, 3), (40, None), (40, 12)])
def test_it_is_the_formula(n: int, kept: int | None, each: int) -> None:
    blocks = some_blocks(n, each=each)
    assert math.exp(log_e(blocks, kept=kept)) == pytest.approx(by_the_formula(blocks, kept=kept), rel=1e-12)


def test_golden_value() -> None:
    """Two blocks, one bet, by hand: 1/2 * 6 + 1/2 * (6 / 2 + 3 / 6 + 1 / 3)."""
    starts = running(np.array([[math.log(2)], [math.log(3)]]))[:, 0]
    found = restarted_log_e(math.log(6), starts, log_shares([1, 2], whole=True))
    assert math.exp(found) == pytest.approx(0.5 * 6 + 0.5 * (3 + 0.5 + 1 / 3), rel=1e-14)


@pytest.mark.parametrize(("kept", "mean"), [(None, 1.0), (2, 1 - 0.5 * (1 / 2 + 1 / 6))])
def test_mean_over_every_sample_is_at_most_one_on_the_edge_of_the_null(kept: int | None, mean: float) -> None:
    """One request to a block: the weights win nothing, and a start that is not kept costs its weight."""
    rate, weight = 0.2, 0.25
    chances = [weight * rate, weight * (1 - rate), (1 - weight) * rate, (1 - weight) * (1 - rate)]
    cells = [block(*row) for row in np.eye(4, dtype=int).tolist()]
    total = 0.0
    for sample in itertools.product(range(4), repeat=4):
        blocks = {place: cells[cell] for place, cell in enumerate(sample, start=1)}
        total += math.prod(chances[cell] for cell in sample) * math.exp(log_e(blocks, kept=kept))
    assert total == pytest.approx(mean, abs=1e-12)


def test_the_weights_of_all_starts_add_up_to_one() -> None:
    for places in ([], [1], [4], [1, 2, 9], [1, 1, 5]):
        assert np.exp(log_shares(places, whole=True)).sum() == pytest.approx(1.0, abs=1e-12)
    assert np.exp(log_shares([4, 5], whole=False)).sum() == pytest.approx(1 / 4)


def test_minutes_without_traffic_change_nothing() -> None:
    one = {1: block(5, 5, 0, 20)}
    assert log_e(one) == pytest.approx(log_e({**one, 9: np.zeros(3)}), abs=1e-12)


def test_a_candidate_that_breaks_late_is_seen_though_the_old_bet_is_ruined() -> None:
    good = [block(0, 250, 7, 743) for _ in range(60)]
    bad = [block(25, 225, 8, 742) for _ in range(4)]
    blocks = dict(enumerate([*good, *bad], start=1))
    assert float(combine(sum(blocks.values(), np.zeros(3)))) < 0
    assert log_e(blocks) > math.log(20)


def test_sums_run_from_the_newest_block_to_the_oldest_to_the_last_bit() -> None:
    blocks = np.random.default_rng(3).normal(0, 5, size=(120, 9))
    assert running(list(blocks)).tolist() == np.cumsum(blocks[::-1], axis=0)[::-1].tolist()
    assert running(blocks[:1]).tolist() == blocks[:1].tolist()
