"""Guards: exact means over every sample, and what each of them catches."""

import itertools
import math

import numpy as np
import pytest

from canary.stats.bets import rare_log_e
from canary.stats.fleet import discoveries
from canary.stats.guards import limit_log_e, mean_limit_log_e
from tests.support.plain_guards import preference_log_e, throughput_log_e


def binomial(n: int, k: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


@pytest.mark.parametrize("weight", [0.05, 0.5, 0.95])
def test_mean_of_throughput_is_one_where_the_arms_complete_alike(weight: float) -> None:
    means = [
        sum(binomial(n, k, weight) * math.exp(throughput_log_e(((weight, k, n - k),))) for k in range(n + 1)) for n in (1, 40)
    ]
    assert means == pytest.approx([1.0, 1.0], abs=1e-12)
    share = 1.2 * weight / (1.2 * weight + 1 - weight)  # the candidate completes more: inside the null
    assert sum(binomial(40, k, share) * math.exp(throughput_log_e(((weight, k, 40 - k),))) for k in range(41)) < 1


def test_throughput_speaks_against_a_candidate_that_completes_little() -> None:
    lost = ((0.05, 30, 950), (0.5, 480, 1_000))
    assert throughput_log_e(lost) > math.log(1_000)
    assert throughput_log_e(((0.05, 50, 950), (0.5, 1_000, 1_000))) < 0
    assert throughput_log_e(((0.05, 80, 950),)) < 0  # completing more is no fault
    assert throughput_log_e(lost) == pytest.approx(rare_log_e(lost, rho=1.0, ratios=(0.5, 0.8, 0.9, 0.95)))


@pytest.mark.parametrize("limit", [0.001, 0.05, 0.6])
def test_mean_of_the_limit_is_one_on_the_limit(limit: float) -> None:
    for n in (1, 30):
        total = sum(binomial(n, bad, limit) * math.exp(limit_log_e(limit, n=n, bad=bad)) for bad in range(n + 1))
        assert total == pytest.approx(1.0, abs=1e-11)
    assert sum(binomial(30, bad, limit / 2) * math.exp(limit_log_e(limit, n=30, bad=bad)) for bad in range(31)) < 1


def test_the_limit_speaks_where_it_is_exceeded() -> None:
    assert limit_log_e(0.01, n=1_000, bad=40) > math.log(1_000)
    assert limit_log_e(0.01, n=1_000, bad=10) < 0
    assert limit_log_e(0.01, n=0, bad=0) == pytest.approx(0.0, abs=1e-12)


VALUES = np.array([0.0, 0.5, 1.0, 3.0])


@pytest.mark.parametrize("chances", [(0.4, 0.3, 0.2, 0.1), (0.9, 0.0, 0.0, 0.1), (0.0, 1.0, 0.0, 0.0)])
def test_mean_of_the_limit_of_a_mean_is_one_on_the_limit(chances: tuple[float, ...]) -> None:
    """Exact, over all ways in which six answers fall into four bins."""
    n, limit = 6, float(VALUES @ chances)
    total = under = 0.0
    for counts in itertools.product(range(n + 1), repeat=len(VALUES)):
        if sum(counts) == n:
            ways = math.factorial(n) / math.prod(math.factorial(k) for k in counts)
            chance = ways * math.prod(p**k for p, k in zip(chances, counts, strict=True))
            total += chance * math.exp(mean_limit_log_e(limit, values=VALUES, counts=np.array(counts)))
            under += chance * math.exp(mean_limit_log_e(1.5 * limit, values=VALUES, counts=np.array(counts)))
    assert total == pytest.approx(1.0, abs=1e-11)
    assert under < 1


def test_two_bins_are_a_rate() -> None:
    found = mean_limit_log_e(0.05, values=np.array([0.0, 1.0]), counts=np.array([900, 100]))
    assert found == pytest.approx(limit_log_e(0.05, n=1_000, bad=100), abs=1e-12)


def test_the_limit_of_a_mean_holds_at_every_look() -> None:
    """Skewed costs whose mean is the limit, looked at after each of 400 answers: at most 5 % of 1,000 runs ever cross 20."""
    rng, bins = np.random.default_rng(7), len(VALUES)
    drawn = rng.choice(bins, size=(1_000, 400), p=(0.5, 0.3, 0.15, 0.05))
    limit = float(VALUES @ (0.5, 0.3, 0.15, 0.05))
    sizes = 0.98 / limit * 0.5 ** np.arange(10)
    paths = np.log1p(sizes[:, None] * (VALUES - limit))[:, drawn].cumsum(axis=2)
    crossed = (np.logaddexp.reduce(paths, axis=0) - math.log(10) >= math.log(20)).any(axis=1).mean()
    last = mean_limit_log_e(limit, values=VALUES, counts=np.bincount(drawn[0], minlength=bins))
    assert last == pytest.approx(np.logaddexp.reduce(paths[:, 0, -1]) - math.log(10), abs=1e-9)
    assert crossed <= 0.05


@pytest.mark.parametrize(("limit", "values"), [(0.0, [0.0, 1.0]), (float("nan"), [0.0, 1.0]), (1.0, [-1.0, 1.0]), (1.0, [0.0])])
def test_a_limit_of_a_mean_needs_values_from_nothing_on(limit: float, values: list[float]) -> None:
    with pytest.raises(ValueError, match="a limit above 0"):
        mean_limit_log_e(limit, values=np.array(values), counts=np.array([1, 2]))


@pytest.mark.parametrize("promote", [False, True])
@pytest.mark.parametrize(("margin", "ties"), [(0.0, 0.3), (0.01, 0.0), (0.05, 0.8)])
def test_mean_of_preference_is_one_on_the_margin(margin: float, ties: float, promote: bool) -> None:
    loss = (1 - ties + margin) / 2  # loss - win = margin
    win, total, n = 1 - ties - loss, 0.0, 14
    for losses in range(n + 1):
        for wins in range(n - losses + 1):
            even = n - losses - wins
            ways = math.comb(n, losses) * math.comb(n - losses, wins)
            log_e = preference_log_e(margin, losses=losses, ties=even, wins=wins, promote=promote)
            total += ways * loss**losses * win**wins * ties**even * math.exp(log_e)
    assert total == pytest.approx(1.0, abs=1e-11)


def test_preference_speaks_for_either_claim() -> None:
    assert preference_log_e(0.01, losses=80, ties=40, wins=30) > math.log(1_000)
    assert preference_log_e(0.05, losses=300, ties=3_000, wins=300, promote=True) > math.log(20)
    assert preference_log_e(0.01, losses=50, ties=40, wins=50) < 0
    assert preference_log_e(0.05, losses=300, ties=0, wins=200, promote=True) < 0


def test_six_straight_losses_are_worth_what_the_ten_bets_make_of_them() -> None:
    expected = sum((1 + 0.98 * 0.5**k) ** 6 for k in range(10)) / 10
    assert preference_log_e(0.0, losses=6, ties=5, wins=0) == pytest.approx(math.log(expected), abs=1e-12)


def test_guards_refuse_what_cannot_be() -> None:
    for limit, n, bad in [(0.0, 1, 1), (1.0, 1, 1), (0.5, 1, 2), (0.5, 1, -1)]:
        with pytest.raises(ValueError, match="expected"):
            limit_log_e(limit, n=n, bad=bad)
    for margin, losses in [(-0.1, 1), (1.0, 1), (0.1, -1)]:
        with pytest.raises(ValueError, match="expected"):
            preference_log_e(margin, losses=losses, ties=0, wins=0)


def test_discoveries_pay_for_their_number() -> None:
    """Four rollouts at q = .1: the largest needs 40, two need 20 each, three 13.4, all four 10."""

    def found(*values: float) -> list[str]:
        return sorted(discoveries({name: math.log(value) for name, value in zip("abcd", values, strict=True)}, 0.1))

    assert found(39.0, 1.0, 1.0, 1.0) == []
    assert found(41.0, 1.0, 1.0, 1.0) == ["a"]
    assert found(41.0, 19.0, 1.0, 1.0) == ["a"]
    assert found(1.0, 21.0, 1.0, 20.5) == ["b", "d"]
    assert found(19.0, 13.5, 13.5, 1.0) == ["a", "b", "c"]  # the third lifts the other two
    assert found(10.1, 10.1, 10.1, 10.1) == ["a", "b", "c", "d"]
    assert discoveries({}, 0.1) == frozenset()
    with pytest.raises(ValueError, match="share"):
        discoveries({"a": 1.0}, 1.0)
