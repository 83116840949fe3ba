"""Profiles of values: what an outcome adds, what is kept of it, and what makes values others."""

import math

import msgspec
import pytest

from canary.stats.facts import Fact
from canary.stats.value_profile import BUILT_IN, FIRST_KIND, KIND_SHIFT, ValueProfile, kind_of, value_profile_cells
from canary.terms import Better
from tests.support.value_plans import a_cost, a_fact, a_preference, a_quality, a_rate, a_spec, profile_of

SPEC = a_spec(a_cost(), a_quality(), a_rate(), a_preference(), classes=("chat", "code"))


def seen(*facts: Fact, stratum: int = 0) -> ValueProfile:
    return profile_of(SPEC, ((fact, stratum) for fact in facts))


def test_an_outcome_adds_one_cell_for_each_metric_but_preferences_far_above_other_kinds() -> None:
    cells = value_profile_cells(SPEC.measures, a_fact(0.5, 8.0, 0.0, 3.0), 1)
    assert len(cells) == 5  # client errors, abandoned, cost, score, invalid
    assert all(FIRST_KIND <= key >> KIND_SHIFT < 2 * FIRST_KIND for key in cells)
    assert max(cells) < 2**63


def test_values_are_kept_as_they_are_scored() -> None:
    found = seen(a_fact(0.5, 8.0, 0.0), a_fact(0.5, 10.0, 1.0), a_fact(None, None, None, failed=True), a_fact(0.0, 0.0, 0.0))
    cost = found.values(a_cost(), "")
    assert cost[0.0] == 2
    assert {round(value, 2): count for value, count in cost.items()} == {0.0: 2, 0.5: 2}
    losses = found.values(a_quality(), "")
    assert {round(value, 3): count for value, count in losses.items()} == {0.2: 1, 0.0: 1, 1.0: 2}
    assert found.values(a_rate(), "") == {0.0: 2, 1.0: 2}
    assert found.values(BUILT_IN[0], "") == {0.0: 4}


def test_nothing_lost_and_all_lost_are_exact() -> None:
    assert set(seen(a_fact(0.5, 10.0, 0.0), a_fact(0.5, 0.0, 0.0)).values(a_quality(), "")) == {0.0, 1.0}


@pytest.mark.parametrize("amount", [1e-12, 3.7e-5, 1.0, 812.0, 3e11])
def test_an_amount_is_kept_to_about_half_a_percent_whatever_its_unit(amount: float) -> None:
    (value,) = seen(a_fact(amount, 1.0, 0.0)).values(a_cost(), "")
    assert value == pytest.approx(amount, rel=0.0055)


@pytest.mark.parametrize("amount", [1e-300, 1e300])
def test_amounts_beyond_all_bins_are_in_the_last_one(amount: float) -> None:
    (value,) = seen(a_fact(amount, 1.0, 0.0)).values(a_cost(), "")
    assert 0 < value < math.inf


def test_what_is_refused_is_no_value() -> None:
    found = seen(a_fact(math.nan, 11.0, 0.0), a_fact(-1.0, 5.0, 0.0), a_fact(None, 5.0, 0.0))
    assert found.values(a_cost(), "") == {}
    assert found.values(a_quality(), "") == {0.5: 2}


def test_each_class_has_its_own_values_by_its_name() -> None:
    found = profile_of(SPEC, [(a_fact(1.0, 1.0, 0.0), 0), (a_fact(4.0, 1.0, 0.0), 1), (a_fact(4.0, 1.0, 0.0), 1)])
    assert [sum(found.values(a_cost(), name).values()) for name in ("", "chat", "code")] == [1, 2, 0]
    renamed = a_spec(a_cost(), classes=("code", "chat"))
    assert sum(profile_of(renamed, [(a_fact(4.0), 2)]).values(a_cost(), "chat").values()) == 1


def test_a_metric_declared_otherwise_starts_from_nothing() -> None:
    found = seen(a_fact(0.5, 8.0, 0.0))
    for other in (a_cost(name="price"), a_cost(source="header:x-price"), a_quality(cap=5.0), a_rate(better=Better.HIGHER)):
        assert found.values(other, "") == {}
    for same in (a_cost(cap=3.0), a_cost(rollback_rho=1.5, share=0.0), a_quality(promote_delta=0.9)):
        assert found.values(same, "")


def test_kinds_differ_between_metrics_and_classes() -> None:
    kinds = {kind_of(spec, name) for spec in (a_cost(), a_quality(), a_rate(), *BUILT_IN) for name in ("", "chat")}
    assert len(kinds) == 10


def test_a_lost_answer_says_nothing_of_values() -> None:
    assert value_profile_cells(SPEC.measures, a_fact(1.0, 1.0, 0.0, lost=True)) == ()


def test_a_class_that_is_not_known_any_more_counts_as_no_class() -> None:
    assert value_profile_cells(SPEC.measures, a_fact(1.0, 1.0, 0.0), 9) == value_profile_cells(
        SPEC.measures, a_fact(1.0, 1.0, 0.0), 0
    )


def test_cells_of_other_kinds_are_passed_over_and_sums_are_kept() -> None:
    cells = {1 << KIND_SHIFT | 5: 9, 4 << KIND_SHIFT | 5: 9}
    for key in value_profile_cells(SPEC.measures, a_fact(0.5, 8.0, 0.0)):
        cells[key] = 3
    found = ValueProfile.of(cells)
    assert len(found.histograms) == 5
    assert found.values(a_rate(), "") == {0.0: 3}
    assert msgspec.json.decode(msgspec.json.encode(found), type=ValueProfile) == found
