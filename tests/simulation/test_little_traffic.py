"""Routes with little traffic, leaning on pairs or on the canary: what is found, how soon, and that equal ones are left alone.

`python -m tests.support.little_traffic RUNS` plays as many as one likes; here a few of them guard it.
"""

import statistics

import pytest

from canary.rollout.lean import leaning
from tests.support.little_traffic import LEAN, Case, minutes

RUNS = 20


@pytest.mark.parametrize(("per_min", "weight_bp"), [(6.0, 500), (60.0, 100)])
@pytest.mark.parametrize("world", ["errors 2 -> 10 %", "slowest tenth x2"])
def test_pairs_find_it_sooner_when_they_are_leaned_on(world: str, per_min: float, weight_bp: int) -> None:
    """The same requests and pairs either way: nobody is found later, and half of all sooner."""
    case = Case(world=world, per_min=per_min, weight_bp=weight_bp, hours=144 / per_min)
    took = {lean_on: minutes([case.play(lab, n) for n in range(RUNS)]) for lean_on in LEAN for lab in [case.lab(lean_on)]}
    assert max(took["pairs"]) < float("inf"), "found in every run"
    assert statistics.median(took["pairs"]) < statistics.median(took["canary"])
    assert all(leaned <= other for leaned, other in zip(took["pairs"], took["canary"], strict=True))


def test_so_little_traffic_leans_on_pairs_by_itself() -> None:
    for per_min, weight_bp in ((6.0, 500), (60.0, 100)):
        lab = Case(world="equal", per_min=per_min, weight_bp=weight_bp).lab("auto")
        assert leaning(lab.state).startswith("leans on pairs at ")
        assert lab.scoring == Case(world="equal", per_min=per_min, weight_bp=weight_bp).lab("pairs").scoring


def test_an_equal_candidate_is_seldom_rolled_back() -> None:
    """At most .05 of all: more than 4 of 24 would come in .006 of such tests, were all of it used up."""
    case = Case(world="equal", hours=8.0)
    lab = case.lab("pairs")
    ended = [case.play(lab, number) for number in range(24)]
    assert sum(one.word == "rolled back" for one in ended) <= 4
    assert {one.word for one in ended} <= {"rolled back", "undecided"}
    assert {one.reason for one in ended if one.word == "undecided"} <= {"inconclusive"}
