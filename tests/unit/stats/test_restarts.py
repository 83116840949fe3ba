"""Restarts: the formula as it is written, exact means, the same bits however it is computed, and what it is for."""

import itertools
import math

import numpy as np
import pytest

from canary.stats.bets import log_factors, mixed
from canary.stats.contrast import Contrast, Rule
from canary.stats.restarts import LENGTH, Restarts, restarted_log_e
from canary.stats.tables import Vector

CONTRAST = Contrast(name="x", rule=Rule.BAD, age_us=1_000_000, center=0.01, effects=(0.02, 0.1, 0.5))
FACTORS = log_factors(CONTRAST, 0.25)


def combine(parts: Vector) -> Vector:
    return mixed(np.full(3, -math.log(3)), parts)


def block(*counts: int) -> Vector:
    return np.asarray((FACTORS * np.array(counts, dtype=np.float64)).sum(axis=1))


def by_the_formula(blocks: list[Vector], length: int) -> float:
    """E, from the design's words."""
    n = len(blocks)
    e = [math.exp(float(combine(sum(blocks, np.zeros(3))[None])[0]))]
    for k in range(1, n + 1):
        e.append(math.exp(float(combine(sum(blocks[k - 1 : k - 1 + length], np.zeros(3))[None])[0])))
    return 0.5 * e[0] + 0.5 * (sum(e[k] / (k * (k + 1)) for k in range(1, n + 1)) + 1 / (n + 1))


def some_blocks(n: int, seed: int = 1) -> list[Vector]:
    rng = np.random.default_rng(seed)
    return [block(*rng.poisson([0.6, 20, 0.8, 60]).tolist()) for _ in range(n)]


@pytest.mark.parametrize(("n", "length"), [(0, 3), (1, 3), (2, 1), (3, 3), (9, 3), (40, 120)])
def test_it_is_the_formula(n: int, length: int) -> None:
    blocks = some_blocks(n)
    found = restarted_log_e(dict(enumerate(blocks, start=5)), combine, first=5, components=3, length=length)
    assert math.exp(found) == pytest.approx(by_the_formula(blocks, length), rel=1e-12)


def test_golden_value() -> None:
    """Two blocks, one bet, by hand: 1/2 * 6 + 1/2 * (6 / 2 + 3 / 6 + 1 / 3)."""
    found = restarted_log_e(
        {1: np.array([math.log(2)]), 2: np.array([math.log(3)])}, lambda parts: parts[:, 0], first=1, components=1
    )
    assert math.exp(found) == pytest.approx(0.5 * 6 + 0.5 * (3 + 0.5 + 1 / 3), rel=1e-14)


def test_mean_over_every_sample_is_one_on_the_edge_of_the_null() -> None:
    """One request to a block, starts stopped after two: the weights and the stopping cost nothing and win nothing."""
    rate, weight = 0.2, 0.25
    chances = [weight * rate, weight * (1 - rate), (1 - weight) * rate, (1 - weight) * (1 - rate)]
    cells = [block(*row) for row in np.eye(4, dtype=int).tolist()]
    total = 0.0
    for sample in itertools.product(range(4), repeat=4):
        blocks = {place: cells[cell] for place, cell in enumerate(sample)}
        log_e = restarted_log_e(blocks, combine, first=0, components=3, length=2)
        total += math.prod(chances[cell] for cell in sample) * math.exp(log_e)
    assert total == pytest.approx(1.0, abs=1e-12)


def test_reading_in_between_and_blocks_still_open_change_no_bit() -> None:
    blocks = some_blocks(30)
    restarts = Restarts(3, combine, length=7)
    for place, one in enumerate(blocks):
        at_once = restarted_log_e(dict(enumerate(blocks[:place])), combine, first=0, components=3, length=7)
        assert restarts.look() == at_once
        ahead = restarted_log_e(dict(enumerate(blocks[: place + 3])), combine, first=0, components=3, length=7)
        assert restarts.look(blocks[place : place + 3]) == ahead
        restarts.close(one)
    assert restarts.blocks == 30


def test_an_open_block_may_change_until_it_closes() -> None:
    restarts = Restarts(3, combine)
    restarts.close(block(0, 20, 1, 60))
    early = restarts.look([block(3, 1, 0, 0)])
    assert restarts.look([block(4, 9, 0, 20)]) != early
    assert restarts.look([block(3, 1, 0, 0)]) == early


def test_minutes_without_traffic_only_move_the_later_starts_weights() -> None:
    one = {0: block(5, 5, 0, 20)}
    assert restarted_log_e(one, combine, first=0, components=3) == pytest.approx(
        restarted_log_e({**one, 9: np.zeros(3)}, combine, first=0, components=3), abs=1e-12
    )


def test_a_block_before_the_first_is_refused() -> None:
    with pytest.raises(ValueError, match="before the rollout's first"):
        restarted_log_e({3: np.zeros(3)}, combine, first=4, components=3)


def test_what_is_kept_does_not_grow_with_the_rollout() -> None:
    restarts = Restarts(3, combine)
    sizes = set()
    for one in some_blocks(3 * LENGTH):
        restarts.close(one)
        sizes.add(restarts._running.shape)
    assert max(sizes) == (LENGTH - 1, 3)


def test_a_candidate_that_breaks_late_is_seen_though_the_old_bet_is_ruined() -> None:
    good = [block(0, 250, 7, 743) for _ in range(60)]
    bad = [block(25, 225, 8, 742) for _ in range(4)]
    from_start = float(combine(sum([*good, *bad], np.zeros(3))[None])[0])
    mixture = restarted_log_e(dict(enumerate([*good, *bad])), combine, first=0, components=3)
    assert from_start < 0
    assert mixture > math.log(20)
