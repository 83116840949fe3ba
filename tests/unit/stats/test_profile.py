"""The profile: what it says of the traffic that it was folded from."""

import msgspec
import numpy as np
import pytest

from canary.stats.profile import Profile, bin_of, profile_cells, upper_us
from canary.stats.scoring import Fact
from tests.support.streams import Answers, lognormal_answers, profile_of


def fact(latency_us: int, *, age_us: int | None = None, failed: bool = False, left: bool = False) -> Fact:
    return Fact(age_us=latency_us if age_us is None else age_us, latency_us=latency_us, failed=failed, left=left)


def profile(*facts: Fact) -> Profile:
    cells: dict[int, int] = {}
    for one in facts:
        for key in profile_cells(one):
            cells[key] = cells.get(key, 0) + 1
    return Profile.of(cells)


@pytest.mark.parametrize("value_us", [2, 3, 100, 999, 1_000_000, 60_000_000, 2**33])
def test_a_bin_holds_its_value_and_is_narrow(value_us: int) -> None:
    upper = upper_us(bin_of(value_us))
    assert value_us <= upper <= value_us * 1.011 + 0.02


def test_durations_out_of_range_go_to_the_outer_bins() -> None:
    assert bin_of(-5) == bin_of(0) == bin_of(1) == 0
    assert bin_of(2**60) == bin_of(2**33)


def test_an_empty_profile_says_nothing_and_breaks_nothing() -> None:
    empty = Profile()
    assert (empty.n, empty.quantile_us(0.5)) == (0, None)
    assert empty.p_not_well(1e6) == 0.5
    assert Profile.of({}) == empty


def test_quantiles_are_those_of_successes() -> None:
    found = profile(*[fact(1_000 * k) for k in range(1, 101)], *[fact(9_000_000, failed=True)] * 50, fact(5, left=True))
    assert (found.n, found.failed, found.left, found.successes) == (151, 50, 1, 100)
    assert found.quantile_us(0.5) == pytest.approx(50_000, rel=0.012)
    assert found.quantile_us(0.99) == pytest.approx(99_000, rel=0.012)


def test_failures_never_end_well_and_exceed_everything() -> None:
    found = profile(fact(1_000), fact(1_000, failed=True), fact(2_000_000), fact(1_000, age_us=3_000_000))
    assert found.not_well(1_000_000) == 3
    assert found.not_well(4_000_000) == 1
    assert found.exceeding(10_000) == 2
    assert found.exceeding(4_000_000) == 1


def test_an_early_failure_is_not_open_and_a_late_one_is() -> None:
    found = profile(fact(1_000), fact(1_000, failed=True), fact(5_000_000, failed=True), fact(8_000_000))
    assert found.still_open(2_000_000) == 2
    assert found.still_open(9_000_000) == 0


def test_a_client_that_left_is_no_failure_and_exceeds_from_its_leaving_on() -> None:
    found = profile(fact(3_000_000, left=True), fact(1_000))
    assert found.not_well(4_000_000) == 0
    assert found.exceeding(2_000_000) == 1
    assert found.exceeding(4_000_000) == 0


def test_scaling_every_latency_moves_what_exceeds() -> None:
    found = profile_of(lognormal_answers(np.random.default_rng(1), 4_000, median_s=1.0, error_rate=0.0))
    assert found.exceeding(1_100_000, scale=1.1) == pytest.approx(found.exceeding(1_000_000), abs=40)
    assert found.exceeding(1_100_000) < found.exceeding(1_000_000) < found.exceeding(1_000_000, scale=1.3)


def test_rates_are_never_certain() -> None:
    found = profile(fact(1_000))
    assert found.p_not_well(1e9) == 0.25
    assert found.rate(found.exceeding(1.0)) == 0.75


def test_a_profile_survives_json_and_is_the_sum_of_its_parts() -> None:
    rng = np.random.default_rng(2)
    whole = lognormal_answers(rng, 400, error_rate=0.1)
    halves = [
        Answers.of(age_us=whole.age_us[part], latency_us=whole.latency_us[part], failed=whole.failed[part])
        for part in (slice(0, 150), slice(150, 400))
    ]
    cells: dict[int, int] = {}
    for half in halves:
        for index in range(len(half.age_us)):
            for key in profile_cells(half.fact(index)):
                cells[key] = cells.get(key, 0) + 1
    merged = Profile.of(cells)
    assert merged == profile_of(whole)
    assert msgspec.json.decode(msgspec.json.encode(merged), type=Profile) == merged


def test_the_rate_is_that_of_whole_hours_and_none_before_there_is_one() -> None:
    cells = {key: 3 for one in (fact(500), fact(900, failed=True)) for key in profile_cells(one, first_byte=True)}
    whole = Profile.of_hours({100: cells, 101: cells, 103: cells, 104: cells}, present=104)
    assert whole.n == 24
    assert whole.per_s == pytest.approx(12 / 3 / 3_600)
    for hours in ({}, {104: cells}, {103: cells, 104: cells}, {103: cells}):
        assert Profile.of_hours(hours, present=104).per_s is None
    assert Profile.of_hours({103: cells}, present=104) == Profile.of(cells)
