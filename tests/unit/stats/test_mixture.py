"""Normal mixtures: reference values to their last digit, far tails, and the mean of one."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from canary.stats.mixture import one_sided_log_e
from tests.support.normal_mixture import best_r, one_sided_bound, two_sided_bound, two_sided_log_e

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "normal_mixture.json").read_text(encoding="utf-8"))


def r_of(row: dict[str, Any]) -> float:
    found = row.get("r", "best")
    return best_r(100, 0.05, one_sided=row["one_sided"]) if found == "best" else found


@pytest.mark.parametrize("row", GOLDEN["best_r"], ids=str)
def test_the_best_precision_matches_the_reference(row: dict[str, Any]) -> None:
    assert best_r(row["v_opt"], row["alpha"], one_sided=row["one_sided"]) == pytest.approx(row["r"], rel=1e-15)


@pytest.mark.parametrize("row", GOLDEN["log_e"], ids=str)
def test_log_e_matches_the_reference(row: dict[str, Any]) -> None:
    log_e = (one_sided_log_e if row["one_sided"] else two_sided_log_e)(row["s"], row["v"], r_of(row))
    assert float(log_e) == pytest.approx(row["log_e"], rel=0, abs=10.0 ** -row["digits"])


@pytest.mark.parametrize("row", GOLDEN["bounds"], ids=str)
def test_bounds_match_the_reference(row: dict[str, Any]) -> None:
    bound = (one_sided_bound if row["one_sided"] else two_sided_bound)(row["v"], r_of(row), alpha=row["alpha"])
    assert bound == pytest.approx(row["bound"], rel=row["relative"])


@pytest.mark.parametrize("alpha", [0.2, 0.05, 1e-6])
@pytest.mark.parametrize(("v", "r"), [(1e-6, 3.0), (4.0, 1.0), (1e9, 20.0)])
def test_at_its_bound_the_value_is_one_over_alpha(v: float, r: float, alpha: float) -> None:
    one = float(one_sided_log_e(one_sided_bound(v, r, alpha=alpha), v, r))
    two = float(two_sided_log_e(two_sided_bound(v, r, alpha=alpha), v, r))
    assert (one, two) == pytest.approx((-math.log(alpha), -math.log(alpha)), rel=1e-10)


def test_nothing_overflows_and_the_value_grows_with_the_sum() -> None:
    sums = np.array([-1e150, -1e9, -500.0, -40.0, -1e-9, 0.0, 1e-9, 40.0, 500.0, 1e9])
    log_e = one_sided_log_e(sums, 100.0, 1.0)
    assert np.isfinite(log_e).all()
    assert (np.diff(log_e) >= 0).all()
    assert np.diff(log_e)[4:6] == pytest.approx(0, abs=1e-9)  # the two forms meet at 0


@pytest.mark.parametrize("log_e", [one_sided_log_e, two_sided_log_e])
@pytest.mark.parametrize(("v", "r"), [(4.0, 1.0), (0.3, 2.0)])
def test_mean_over_a_normal_sum_is_one(log_e: Any, v: float, r: float) -> None:
    sums, step = np.linspace(-14 * math.sqrt(v + v * v / r), 14 * math.sqrt(v + v * v / r), 200_001, retstep=True)
    density = np.exp(-sums * sums / (2 * v)) / math.sqrt(2 * math.pi * v)
    assert float((density * np.exp(log_e(sums, v, r))).sum() * step) == pytest.approx(1.0, abs=1e-8)


@pytest.mark.parametrize(("v_opt", "alpha", "one_sided"), [(0.0, 0.05, False), (1.0, 1.0, False), (1.0, 0.5, True)])
def test_a_precision_that_no_level_has_is_refused(v_opt: float, alpha: float, one_sided: bool) -> None:
    with pytest.raises(ValueError, match="expected"):
        best_r(v_opt, alpha, one_sided=one_sided)


def test_a_bound_below_the_start_is_refused() -> None:
    with pytest.raises(ValueError, match="level"):
        one_sided_bound(1e-9, 1.0, alpha=1.0)


@pytest.mark.parametrize("s", [-1e5, -1e9, -1e150])
def test_far_below_the_null_the_value_keeps_its_digits(s: float) -> None:
    """Mills' ratio: 2 Phi(-z) exp(z^2 / 2) tends to sqrt(2 / pi) / z."""
    expected = -0.5 * math.log(101) + 0.5 * math.log(2 / math.pi) - math.log(-s / math.sqrt(101))
    assert float(one_sided_log_e(s, 100.0, 1.0)) == pytest.approx(expected, abs=2e-8)
