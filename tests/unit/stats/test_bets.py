"""Bets: reference values, exact means over every possible sample, and bets that can always play on."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from canary.stats.bets import CLIP, bets, even, largest_bet, log_factors, mixed, mixed_apart, rare_log_e, scores
from canary.stats.contrast import Contrast, Rule
from canary.stats.family import factors_of, family_of
from canary.stats.scoring import freeze
from tests.support.scorings import a_profile, a_scoring, a_spec

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "linear_bets.json").read_text(encoding="utf-8"))
RATIOS = (1.2, 1.4, 1.8, 2.5, 4.0, 8.0, 20.0, 100.0)


def a_contrast(**changes: Any) -> Contrast:
    return Contrast(**{"name": "x", "rule": Rule.BAD, "age_us": 1_000_000, **changes})


@pytest.mark.parametrize("row", GOLDEN["rare_events"], ids=lambda row: str(row["segments"]))
@pytest.mark.parametrize("rho", [1.0, 1.5])
def test_rare_events_match_the_reference(row: dict[str, Any], rho: float) -> None:
    counts = tuple((weight, int(candidate), int(stable)) for weight, candidate, stable in row["segments"])
    assert rare_log_e(counts, rho=rho, ratios=RATIOS) == pytest.approx(row[f"rho_{rho:g}"], abs=1e-9)


@pytest.mark.parametrize("row", GOLDEN["linear_bets"], ids=lambda row: str(row["counts"]))
def test_linear_bets_match_the_reference(row: dict[str, Any]) -> None:
    contrast = a_contrast(rho=row["rho"], delta=row["delta"], center=row["center"], promote=row["promote"])
    log_e = np.log1p(row["bet"] * scores(contrast, row["weight"])) @ np.array(row["counts"])
    assert float(log_e) == pytest.approx(row["log_e"], abs=1e-9)


@pytest.mark.parametrize("row", GOLDEN["rare_events"], ids=lambda row: str(row["segments"]))
@pytest.mark.parametrize("rho", [1.0, 1.5])
def test_linear_bets_without_centring_are_the_closed_form(row: dict[str, Any], rho: float) -> None:
    contrast = a_contrast(rho=rho)
    components = np.zeros(len(RATIOS))
    for weight, candidate, stable in row["segments"]:
        ratios = np.array(RATIOS)
        sizes = (ratios - 1) / (weight * rho * ratios + 1 - weight)
        components += np.log1p(sizes[:, None] * scores(contrast, weight)) @ np.array([candidate, 500, stable, 9_000])
    assert float(mixed(np.full(8, -math.log(8)), components)) == pytest.approx(row[f"rho_{rho:g}"], abs=1e-9)


def mean_e(contrast: Contrast, weight: float, chances: np.ndarray, requests: int) -> float:
    """Sum of P * e over every sequence of cells."""
    factors = log_factors(contrast, weight)
    total = 0.0
    for sample in itertools.product(range(4), repeat=requests):
        log_e = mixed(np.full(len(factors), -math.log(len(factors))), factors[:, list(sample)].sum(axis=1))
        total += math.prod(chances[cell] for cell in sample) * math.exp(float(log_e))
    return total


@pytest.mark.parametrize("promote", [False, True])
@pytest.mark.parametrize(
    ("weight", "stable", "rho", "delta"), [(0.05, 0.2, 1.1, 0.02), (0.5, 0.03, 1.5, 0.1), (0.95, 0.5, 1.0, 0.0)]
)
def test_mean_over_every_sample_is_one_on_the_edge_of_the_null(
    weight: float, stable: float, rho: float, delta: float, promote: bool
) -> None:
    candidate = rho * stable + delta
    grid = (0.9 * stable, stable) if promote else (1.3 * candidate, min(0.99, 3 * candidate))
    contrast = a_contrast(rho=rho, delta=delta, center=0.07, promote=promote, effects=grid)
    chances = np.array([weight * candidate, weight * (1 - candidate), (1 - weight) * stable, (1 - weight) * (1 - stable)])
    assert mean_e(contrast, weight, chances, 5) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("promote", [False, True])
def test_mean_over_every_assignment_is_one_whatever_the_outcomes(promote: bool) -> None:
    """With equal arms the outcomes may be chosen by an adversary: the coin alone makes the mean."""
    contrast = a_contrast(center=0.1, promote=promote, effects=(0.2, 0.5))
    factors, weight = log_factors(contrast, 0.25), 0.25
    for outcomes in [(1, 1, 1, 1, 1, 1), (0, 0, 1, 0, 1, 1), (0, 0, 0, 0, 0, 0)]:
        total = 0.0
        for arms in itertools.product([0, 1], repeat=len(outcomes)):  # 1: stable
            cells = [2 * arm + (0 if outcome else 1) for arm, outcome in zip(arms, outcomes, strict=True)]
            log_e = mixed(np.full(2, -math.log(2)), factors[:, cells].sum(axis=1))
            total += math.prod(1 - weight if arm else weight for arm in arms) * math.exp(float(log_e))
        assert total == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("rho", "delta", "promote"), [(1.0, 0.0, False), (1.1, 0.05, False), (2.0, 0.1, True)])
def test_mean_over_every_sample_of_pairs_is_one_on_the_edge_of_the_null(rho: float, delta: float, promote: bool) -> None:
    stable, both = 0.2, 0.1
    candidate = rho * stable + delta
    chances = np.array([both, candidate - both, stable - both, 1 - candidate - stable + both])
    contrast = a_contrast(pairs=True, rho=rho, delta=delta, promote=promote)
    assert mean_e(contrast, 0.0, chances, 4) == pytest.approx(1.0, abs=1e-12)


def test_inside_the_null_the_mean_is_below_one() -> None:
    contrast = a_contrast(rho=1.1, delta=0.02, center=0.1, effects=(0.4,))
    assert mean_e(contrast, 0.5, np.array([0.05, 0.45, 0.05, 0.45]), 4) < 1


def test_six_straight_pairs_against_the_candidate_are_worth_25() -> None:
    factors = log_factors(a_contrast(pairs=True, rule=Rule.SLOW), 0.0)
    log_e = mixed(np.full(len(factors), -math.log(len(factors))), factors @ np.array([0, 6, 0, 0]))
    assert math.exp(float(log_e)) == pytest.approx(25, abs=0.5)


@pytest.mark.parametrize("weight_bp", [1, 100, 500, 2_500, 5_000, 9_500, 9_999])
def test_every_bet_of_every_contrast_can_play_on(weight_bp: int) -> None:
    weight = weight_bp / 10_000
    for contrast in a_scoring().contrasts:
        sizes, score = bets(contrast, weight), scores(contrast, weight)
        assert (sizes > 0).all(), contrast.name
        assert (sizes < 0.99 * largest_bet(score)).all(), contrast.name
        assert np.isfinite(log_factors(contrast, weight)).all(), contrast.name


def test_an_alternative_without_power_gets_a_bet_of_the_ladder() -> None:
    """A profile of a hundred equal answers explains every alternative of the promote side already."""
    contrast = a_contrast(promote=True, center=0.01, effects=(0.01, 0.01, 0.01))
    largest = largest_bet(scores(contrast, 0.5))
    assert bets(contrast, 0.5) == pytest.approx([CLIP * largest * 2**-k for k in (1, 4, 7)])


def test_the_kelly_bet_grows_fastest() -> None:
    contrast = a_contrast(rho=1.1, delta=0.0005, center=0.01, effects=(0.05,))
    (best,) = bets(contrast, 0.25)
    score = scores(contrast, 0.25)
    chances = np.array([0.25 * 0.05, 0.25 * 0.95, 0.75 * 0.01, 0.75 * 0.99])
    growth = [float(chances @ np.log1p(best * step * score)) for step in (0.98, 1.0, 1.02)]
    assert growth[1] > max(growth[0], growth[2])


def test_a_margin_that_nothing_can_exceed_needs_no_bound() -> None:
    contrast = a_contrast(pairs=True, promote=True, rho=21.0, delta=1.2)
    assert (np.exp(log_factors(contrast, 0.0)) >= 1).all()


def test_without_a_coin_there_is_nothing_to_bet_on() -> None:
    scoring = a_scoring()
    pairs = np.array([contrast.pairs for contrast in scoring.contrasts])
    for weight_bp in (0, 10_000):
        factors, _ = factors_of(scoring, weight_bp)
        assert not factors[~pairs].any()
        assert factors[pairs].any()


def test_an_empty_profile_still_gives_a_family() -> None:
    scoring = freeze(a_profile(2), a_spec())
    assert np.isfinite(factors_of(scoring, 500)[0]).all()
    assert np.exp(family_of(scoring).log_prior).sum(axis=-1) == pytest.approx(1.0)


@pytest.mark.parametrize("size", [2, 7, 8, 10, 33])
def test_mixtures_are_the_same_to_the_last_bit_however_many_are_taken_at_once(size: int) -> None:
    """Looks at different times take different numbers of minutes together, and must agree."""
    rows = np.random.default_rng(size).normal(0, 1, size=(400, size))
    assert mixed_apart(even(size), rows).tolist() == [float(mixed(even(size), row)) for row in rows]
    whole = mixed(even(size), rows).tolist()
    for parts in (1, 7, 200):
        assert [value for some in np.array_split(rows, parts) for value in mixed(even(size), some).tolist()] == whole
    assert even(size).tolist() == [-math.log(size)] * size
