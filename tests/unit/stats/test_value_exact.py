"""Exact means over every sample, through facts, cells, columns and sides: 1 on the edge of a null, at most 1 with unknowns.

Values are the grid's points, so that nothing is left to rounding.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest

from canary.stats.evidence import MetricEvidence
from canary.stats.facts import Fact
from canary.stats.spec import ScoringSpec
from canary.stats.value_plan import ValuePlan
from canary.terms import Arm, MetricSpec
from tests.support.value_plans import (
    Tally,
    a_cost,
    a_fact,
    a_plan,
    a_preference,
    a_quality,
    a_rate,
    a_spec,
    evidence_of,
    metric_of,
)

WEIGHT = 0.3


class Chance(NamedTuple):
    """What one request can be: its probability, and what it adds."""

    p: float
    add: Callable[[Tally], None]


def answer(arm: Arm, fact: Fact | None, *, stratum: int = 0) -> Callable[[Tally], None]:
    """None: it never ended."""
    if fact is None:
        return lambda tally: tally.start(arm, stratum=stratum)
    return lambda tally: tally.answer(arm, fact, stratum=stratum)


def pair(live: Fact, shadow: Fact | None) -> Callable[[Tally], None]:
    return lambda tally: tally.pair(live, shadow)


def mean_e(
    plan: ValuePlan, spec: ScoringSpec, chances: Sequence[Chance], log_e: Callable[[MetricEvidence], float | None], *, name: str
) -> float:
    """Sum of P * e over all sequences of three requests."""
    assert sum(chance.p for chance in chances) == pytest.approx(1.0)
    total = 0.0
    for sample in itertools.product(chances, repeat=3):
        tally = Tally(plan)
        for chance in sample:
            chance.add(tally)
        found = log_e(evidence_of(plan, spec, tally.counted(round(WEIGHT * 10_000)), stage=3)[name])
        assert found is not None
        total += math.prod(chance.p for chance in sample) * math.exp(found)
    return total


def rollback(row: MetricEvidence) -> float | None:
    return row.log_e_rollback


def promote(row: MetricEvidence) -> float | None:
    return row.log_e_promote


def coin(candidate: Sequence[tuple[float, Fact | None]], stable: Sequence[tuple[float, Fact | None]]) -> list[Chance]:
    """Each arm's outcomes with their chances, under the coin."""
    return [
        *(Chance(WEIGHT * p, answer(Arm.CANDIDATE, fact)) for p, fact in candidate),
        *(Chance((1 - WEIGHT) * p, answer(Arm.STABLE, fact)) for p, fact in stable),
    ]


def yes_no(p: float, *, unknown: float = 0.0) -> list[tuple[float, Fact | None]]:
    """Bad in p of the requests; of these and of the others a share stays unknown."""
    known: list[tuple[float, Fact | None]] = [(p * (1 - unknown), a_fact(1.0)), ((1 - p) * (1 - unknown), a_fact(0.0))]
    return [*known, (unknown, None)] if unknown else known


RATE = a_spec(a_rate(), shadow_lane_weight=0.0)
RATE_PLAN = a_plan(RATE, [a_fact(float(i % 10 == 0)) for i in range(500)])
BARE_PLAN = a_plan(RATE)


@pytest.mark.parametrize("plan", [RATE_PLAN, BARE_PLAN])
@pytest.mark.parametrize("p", [0.01, 0.1, 0.6])
def test_rates_on_the_edge_of_the_tolerance(plan: ValuePlan, p: float) -> None:
    assert mean_e(plan, RATE, coin(yes_no(1.1 * p + 0.002), yes_no(p)), rollback, name="invalid") == pytest.approx(1.0)


@pytest.mark.parametrize("p", [0.01, 0.1, 0.6])
def test_rates_on_the_edge_of_the_margin(p: float) -> None:
    chances = coin(yes_no(1.5 * p + 0.005), yes_no(p))
    assert mean_e(RATE_PLAN, RATE, chances, promote, name="invalid") == pytest.approx(1.0)


@pytest.mark.parametrize(("mine", "theirs"), [(0.2, 0.0), (0.0, 0.2), (0.2, 0.2), (0.2, 0.6)])
def test_rates_of_which_some_stay_unknown(mine: float, theirs: float) -> None:
    edge = coin(yes_no(1.1 * 0.1 + 0.002, unknown=mine), yes_no(0.1, unknown=theirs))
    assert mean_e(RATE_PLAN, RATE, edge, rollback, name="invalid") < 1
    edge = coin(yes_no(1.5 * 0.1 + 0.005, unknown=mine), yes_no(0.1, unknown=theirs))
    assert mean_e(RATE_PLAN, RATE, edge, promote, name="invalid") < 1


def test_client_errors_on_the_edge_of_the_tolerance() -> None:
    facts = [a_fact(client_error=True), a_fact()]
    chances = coin(list(zip((0.112, 0.888), facts, strict=True)), list(zip((0.1, 0.9), facts, strict=True)))
    assert mean_e(RATE_PLAN, RATE, chances, rollback, name="client_error") == pytest.approx(1.0)


AMOUNT = a_spec(a_cost(rollback_delta=0.1, promote_delta=0.1, cap=4.0), shadow_lane_weight=0.0)
AMOUNT_PLAN = a_plan(AMOUNT, [a_fact(0.5 + i / 500) for i in range(500)])


def point(near: float) -> float:
    mean = metric_of(AMOUNT_PLAN, "cost").mean
    assert mean is not None
    return min(mean.grid.points, key=lambda point: abs(point - near))


def all_or_nothing(mean: float, cap: float) -> list[tuple[float, Fact | None]]:
    """As far apart as values can be, with a given mean."""
    return [(mean / cap, a_fact(cap)), (1 - mean / cap, a_fact(0.0))]


@pytest.mark.parametrize("theirs", [0.0, 0.6, 2.5])
def test_amounts_on_the_edge_of_the_tolerance(theirs: float) -> None:
    value = point(theirs)
    chances = coin(all_or_nothing(1.02 * value + 0.1, 4.0), [(1.0, a_fact(value))])
    assert mean_e(AMOUNT_PLAN, AMOUNT, chances, rollback, name="cost") == pytest.approx(1.0)


@pytest.mark.parametrize("theirs", [0.0, 0.6, 2.5])
def test_amounts_on_the_edge_of_the_margin(theirs: float) -> None:
    value = point(theirs)
    chances = coin(all_or_nothing(1.1 * value + 0.1, 4.0), [(1.0, a_fact(value))])
    assert mean_e(AMOUNT_PLAN, AMOUNT, chances, promote, name="cost") == pytest.approx(1.0)


def test_amounts_above_the_cap_cannot_help_the_candidate() -> None:
    """It costs the margin more on average; much of it lies above the cap, in both arms."""
    value = point(3.9)
    chances = coin([(1.0, a_fact(1.1 * value + 0.1))], [(1.0, a_fact(value))])
    assert mean_e(AMOUNT_PLAN, AMOUNT, chances, promote, name="cost") <= 1 + 1e-12


def test_the_share_above_the_cap_on_the_edge_of_its_tolerance() -> None:
    over, within = a_fact(9.0), a_fact(1.0)
    chances = coin([(0.112, over), (0.888, within)], [(0.1, over), (0.9, within)])
    assert mean_e(AMOUNT_PLAN, AMOUNT, chances, rollback, name="cost_over_cap") == pytest.approx(1.0)


QUALITY = a_spec(a_quality(cap=1.0, rollback_delta=0.05, promote_delta=0.1), shadow_lane_weight=0.0, classes=("chat",))
QUALITY_PLAN = a_plan(QUALITY, [a_fact(0.75 if i % 3 else 0.25) for i in range(500)], stratum=1)


def test_qualities_on_both_edges_with_a_class_that_fails_and_one_that_was_never_seen() -> None:
    """Losses of stable: 1/4 in one class, 1/2 in the other."""
    for delta, log_e in ((0.05, rollback), (0.1, promote)):
        chances = []
        for stratum, share, loss in ((0, 0.4, 0.25), (1, 0.6, 0.5)):
            worst = loss + delta
            chances += [
                Chance(share * WEIGHT * worst, answer(Arm.CANDIDATE, a_fact(None, failed=True), stratum=stratum)),
                Chance(share * WEIGHT * (1 - worst), answer(Arm.CANDIDATE, a_fact(1.0), stratum=stratum)),
                Chance(share * (1 - WEIGHT), answer(Arm.STABLE, a_fact(1 - loss), stratum=stratum)),
            ]
        assert mean_e(QUALITY_PLAN, QUALITY, chances, log_e, name="score") == pytest.approx(1.0)


def paired(metric: MetricSpec) -> tuple[ScoringSpec, ValuePlan]:
    """A shadow alone."""
    spec = a_spec(metric, stage_factors=(), shadow_factor=1.0)
    return spec, a_plan(spec, [a_fact(float(i % 10 == 0)) for i in range(500)])


def by_pairs(plan: ValuePlan, spec: ScoringSpec, chances: Sequence[Chance], name: str, *, wins: bool) -> float:
    total = 0.0
    for sample in itertools.product(chances, repeat=3):
        tally = Tally(plan)
        for chance in sample:
            chance.add(tally)
        row = evidence_of(plan, spec, tally.counted(0), stage=-1)[name]
        found = row.log_e_promote if wins else row.log_e_rollback
        assert found is not None
        total += math.prod(chance.p for chance in sample) * math.exp(found)
    return total


@pytest.mark.parametrize("unknown", [0.0, 0.3])
def test_pairs_of_rates_on_both_edges(unknown: float) -> None:
    spec, plan = paired(a_rate())
    bad, good = a_fact(1.0), a_fact(0.0)
    for rho, delta, wins in ((1.1, 0.002, False), (1.5, 0.005, True)):
        both, theirs = 0.05, 0.15
        mine = rho * (both + theirs) + delta - both
        chances = [
            Chance(both * (1 - unknown), pair(bad, bad)),
            Chance(theirs * (1 - unknown), pair(bad, good)),
            Chance(mine * (1 - unknown), pair(good, bad)),
            Chance((1 - both - theirs - mine) * (1 - unknown), pair(good, good)),
            Chance(unknown, pair(good, None)),
        ]
        found = by_pairs(plan, spec, chances, "invalid", wins=wins)
        assert found < 1 if unknown else found == pytest.approx(1.0)


@pytest.mark.parametrize("unknown", [0.0, 0.3])
def test_preferences_on_both_edges(unknown: float) -> None:
    spec, plan = paired(a_preference())
    more, less = a_fact(2.0), a_fact(1.0)
    for net, wins in ((0.01, False), (0.05, True)):
        chances = [
            Chance((0.3 + net) * (1 - unknown), pair(more, less)),
            Chance(0.3 * (1 - unknown), pair(less, more)),
            Chance((0.4 - net) * (1 - unknown), pair(more, more)),
            Chance(unknown, pair(more, None)),
        ]
        found = by_pairs(plan, spec, chances, "preference", wins=wins)
        assert found < 1 if unknown else found == pytest.approx(1.0)


def test_pairs_of_qualities_on_both_edges() -> None:
    """Differences of exactly one point of the stretched grid, its lowest, 0 and its highest: nothing is rounded."""
    spec, plan = paired(a_quality(cap=1.0, rollback_delta=0.25, promote_delta=0.25))
    mean = metric_of(plan, "score").mean
    assert mean is not None
    best, failed, three_quarters = a_fact(1.0), a_fact(None, failed=True), a_fact(0.75)
    # differences of losses beyond the margin: -1.25 (lowest), .75 (highest), 0
    chances = [Chance(0.3, pair(failed, best)), Chance(0.5, pair(best, failed)), Chance(0.2, pair(best, three_quarters))]
    assert 0.3 * -1.25 + 0.5 * 0.75 == 0
    for wins in (False, True):
        assert by_pairs(plan, spec, chances, "score", wins=wins) == pytest.approx(1.0)
