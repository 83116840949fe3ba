"""Diversity: a constant answerer is found and never proven harmless; others are left alone."""

import itertools
import math
from typing import Any

import numpy as np
import pytest

from canary.stats.diversity import BINS, AnswerCounts, bin_of_answer, diversity_log_e

NEED_ROLLBACK = math.log(20 / 0.02)
NEED_PROMOTE = math.log(20)


def bins(**counts: int) -> tuple[int, ...]:
    """`b3=5`: five answers in bin 3."""
    found = [0] * BINS
    for name, count in counts.items():
        found[int(name[1:])] = count
    return tuple(found)


def spread(n: int) -> tuple[int, ...]:
    """Answers that are all different."""
    return tuple(int(count) for count in np.bincount(np.arange(n) * 37 % BINS, minlength=BINS))


def some(**changes: Any) -> AnswerCounts:
    return AnswerCounts(**{"weight_bp": 5_000, "candidate": spread(400), "stable": spread(400), **changes})


def both(*segments: AnswerCounts) -> tuple[float, float]:
    return diversity_log_e(segments), diversity_log_e(segments, promote=True)


def test_a_constant_answerer_beside_many_answers() -> None:
    rollback, promote = both(some(candidate=bins(b9=400)))
    assert rollback > NEED_ROLLBACK
    assert promote < 0


@pytest.mark.parametrize("weight_bp", [100, 500, 2_500, 5_000, 9_500])
def test_a_constant_answerer_is_found_within_40_answers_of_the_smaller_arm(weight_bp: int) -> None:
    n = 40 * 10_000 // min(weight_bp, 10_000 - weight_bp)
    candidate = n * weight_bp // 10_000
    found = some(weight_bp=weight_bp, candidate=bins(b9=candidate), stable=spread(n - candidate))
    assert diversity_log_e([found]) > NEED_ROLLBACK


def test_a_constant_answerer_beside_two_answers() -> None:
    """A classifier that says no in 60 % of cases, and a candidate that always says no."""
    rollback, promote = both(some(candidate=bins(b1=1_000), stable=bins(b1=600, b2=400)))
    assert rollback > NEED_ROLLBACK
    assert promote < 0


def test_the_same_answers_in_other_words_are_no_suspect() -> None:
    rollback, promote = both(some(candidate=bins(b3=600, b4=400), stable=bins(b1=600, b2=400)))
    assert rollback < 0
    assert promote > NEED_PROMOTE


def test_a_route_with_one_right_answer_goes_on() -> None:
    rollback, promote = both(some(candidate=bins(b1=1_000), stable=bins(b1=1_000)))
    assert rollback < 0
    assert promote > NEED_PROMOTE


def test_equal_diversity_is_proven_soon() -> None:
    rollback, promote = both(some(candidate=spread(60), stable=spread(60)))
    assert rollback < 0
    assert promote > NEED_PROMOTE


def test_failures_are_no_answers() -> None:
    """Neither is a candidate constant that answers where stable fails, nor does failing hide a constant one for promotion."""
    better = some(candidate=bins(b1=1_000), stable=bins(b1=600), stable_silent=400)
    assert diversity_log_e([better]) < 0
    failing = some(candidate=bins(b1=500), candidate_silent=500, stable=spread(1_000))
    assert both(failing)[0] < math.log(2)  # half of its requests have the answer, as is just tolerated
    assert both(failing)[1] < 0


def test_segments_add_up_and_unweighted_ones_are_not_read() -> None:
    ramp = [some(weight_bp=500, candidate=bins(b1=9), stable=spread(190)), some(candidate=bins(b2=9), stable=spread(9))]
    assert diversity_log_e(ramp) > max(diversity_log_e(ramp[:1]), diversity_log_e(ramp[1:])) - 6
    assert diversity_log_e([*ramp, some(weight_bp=0), some(weight_bp=10_000)]) == diversity_log_e(ramp)
    assert both() == pytest.approx((0.0, 0.0), abs=1e-12)


CELLS = list(itertools.product((True, False), ("first", "second", "silent")))


def mean_e(n: int, weight_bp: int, candidate: dict[str, float], stable: dict[str, float], *, promote: bool) -> float:
    """Sum of P * e over every outcome of n requests; the arms' common answers are not the same ones."""
    weight, total = weight_bp / 10_000, 0.0
    chances = [weight * candidate[answer] if arm else (1 - weight) * stable[answer] for arm, answer in CELLS]
    for counts in itertools.product(range(n + 1), repeat=len(CELLS)):
        if sum(counts) != n or any(count and not chance for count, chance in zip(counts, chances, strict=True)):
            continue
        found = dict(zip(CELLS, counts, strict=True))
        ways = math.factorial(n) / math.prod(math.factorial(count) for count in counts)
        log_e = diversity_log_e(
            [
                AnswerCounts(
                    weight_bp=weight_bp,
                    candidate=bins(b1=found[True, "first"], b2=found[True, "second"]),
                    stable=bins(b7=found[False, "first"], b8=found[False, "second"]),
                    candidate_silent=found[True, "silent"],
                    stable_silent=found[False, "silent"],
                )
            ],
            promote=promote,
        )
        total += ways * math.prod(c**k for c, k in zip(chances, counts, strict=True) if k) * math.exp(log_e)
    return total


@pytest.mark.parametrize("weight_bp", [500, 5_000])
@pytest.mark.parametrize(
    ("candidate", "stable", "promote"),
    [
        ((0.9, 0.1, 0.0), (0.8, 0.2, 0.0), False),  # t_C = t_S / 2 + 1/2
        ((0.5, 0.5, 0.0), (0.0, 0.0, 1.0), False),  # stable is down
        ((1.0, 0.0, 0.0), (1.0, 0.0, 0.0), False),  # one right answer
        ((0.9, 0.1, 0.0), (0.7, 0.3, 0.0), True),  # t_C = t_S / 2 + .55
        ((1.0, 0.0, 0.0), (0.9, 0.05, 0.05), True),  # constant
        ((0.4, 0.0, 0.6), (0.5, 0.5, 0.0), True),  # failing may hide a constant one
    ],
    ids=str,
)
def test_mean_over_every_sample_is_at_most_one(
    candidate: tuple[float, ...], stable: tuple[float, ...], promote: bool, weight_bp: int
) -> None:
    names = ("first", "second", "silent")
    arms = [dict(zip(names, arm, strict=True)) for arm in (candidate, stable)]
    assert mean_e(4, weight_bp, *arms, promote=promote) <= 1 + 1e-12


def test_bins_are_even_and_change_with_the_key() -> None:
    answers = [str(number).encode() for number in range(25_600)]
    found = np.bincount([bin_of_answer(b"key", answer) for answer in answers], minlength=BINS)
    assert float(((found - 100.0) ** 2 / 100).sum()) < 350  # chi-squared, 255 degrees: p about 1e-4
    same = sum(bin_of_answer(b"key", answer) == bin_of_answer(b"other", answer) for answer in answers[:2_560])
    assert same < 30


@pytest.mark.parametrize("counts", [(1,) * 255, (-1,) * 256])
def test_counts_that_cannot_be_are_refused(counts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="counts"):
        diversity_log_e([some(stable=counts)])
