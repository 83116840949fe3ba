"""Pairs may open an early stage's gate for errors: on either evidence, each at half the error; never the last, nor latency."""

import itertools
import math
from collections.abc import Sequence

import pytest

from canary.stats.contrast import Rule
from canary.stats.evidence import MetricEvidence
from canary.stats.scoring import Scoring
from canary.stats.weigh import weigh
from canary.terms import Scored
from tests.support.scorings import a_scoring, a_scoring_of_classes, a_segment
from tests.support.weighing import Counts, contrast_of, row_of, totals_of

SCORING = a_scoring()
LAST = 3
MINUTE = 28_000_000
EARLY = {0: "error.promote.10.pairs", 1: "error.promote.2.pairs", 2: "error.promote.1.pairs"}
SHADOW = a_segment(stage=-1, weight_bp=0)
FAIR = (2, 2, 2, 19_994)
"""Pairs of two versions that fail alike."""


def errors(counts: Counts, *, stage: int, scoring: Scoring = SCORING, scored: Scored = Scored.ALL) -> MetricEvidence:
    """The row at the timeout's age: counts of a shadow, or of a stage where they are of the canary."""
    segment = SHADOW if all(name.endswith(".pairs") for name, _ in counts) else a_segment(stage=stage, weight_bp=5_000)
    segment = a_segment(id=segment.id, stage=segment.stage, weight_bp=segment.weight_bp, scored=scored)
    return row_of(weigh(totals_of(scoring, {7: {MINUTE: counts}}), scoring, [segment], stage=stage), "error_timeout")


def pairs(four: Sequence[int] = FAIR) -> Counts:
    """The same pairs in every contrast that is a gate of them."""
    return {(name, 0): four for name in (*EARLY.values(), "error.promote.pairs")}


@pytest.mark.parametrize("stage", EARLY)
def test_an_early_gate_passes_by_pairs_alone_each_under_its_own_margin(stage: int) -> None:
    contrast = contrast_of(SCORING, EARLY[stage])
    factor = SCORING.spec.stage_factors[stage]
    assert (contrast.rule, contrast.pairs, contrast.promote) == (Rule.UNWELL, True, True)
    assert (contrast.rho, contrast.delta) == (pytest.approx(1 + 0.5 * factor), pytest.approx(0.001 * factor))
    found = errors({(EARLY[stage], 0): FAIR}, stage=stage)
    assert found.need_promote == found.need_promote_pairs == pytest.approx(math.log(2 / 0.05))
    assert found.log_e_promote == pytest.approx(0.0)
    assert found.cleared
    others = {(name, 0): FAIR for name in EARLY.values() if name != EARLY[stage]}
    assert not errors(others, stage=stage).cleared


def test_an_early_gate_passes_by_the_canary_alone_at_half_the_error_too() -> None:
    enough = next(n for n in itertools.count(100, 10) if (errors(canary(n), stage=1).log_e_promote or 0) >= math.log(20))
    found = errors(canary(enough), stage=1)
    assert found.log_e_promote_pairs == pytest.approx(0.0)
    assert not found.cleared  # between ln 20 and ln 40
    assert errors(canary(2 * enough), stage=1).cleared


def canary(n: int) -> Counts:
    """Requests of two versions without failures, half each."""
    return {("error.promote.2", 0): (0, n, 0, n)}


@pytest.mark.parametrize("stage", [-1, LAST, LAST + 1])
def test_the_shadow_the_last_stage_and_the_watch_know_no_such_gate(stage: int) -> None:
    found = errors(pairs(), stage=stage)
    assert (found.log_e_promote_pairs, found.need_promote_pairs) == (None, None)
    assert found.need_promote == pytest.approx(math.log(1 / 0.05))
    assert not found.cleared


def test_pairs_never_open_a_gate_for_latency() -> None:
    counts = {(contrast.name, 0): FAIR for contrast in SCORING.contrasts if contrast.pairs}
    rows = weigh(totals_of(SCORING, {7: {MINUTE: counts}}), SCORING, [SHADOW], stage=0).metrics
    assert [row.metric for row in rows if row.log_e_promote_pairs is not None] == ["error_timeout"]
    late = [row for row in rows if row.metric in {"p50", "p95", "p99"}]
    assert [(row.need_promote, row.cleared) for row in late] == [(pytest.approx(math.log(20)), False)] * 3


def test_a_plan_of_one_stage_has_only_a_last_one() -> None:
    scoring = a_scoring(stage_factors=(1.0,))
    assert "error.promote.1.pairs" not in {contrast.name for contrast in scoring.contrasts}
    found = errors({("error.promote.pairs", 0): FAIR}, stage=0, scoring=scoring)
    assert (found.need_promote_pairs, found.need_promote) == (None, pytest.approx(math.log(20)))


@pytest.mark.parametrize("changes", [{"shadow_lane_weight": 0.0}, {"sticky": True}])
def test_without_a_shadow_and_with_users_that_stay_the_canary_alone_is_asked(changes: dict[str, object]) -> None:
    scoring = a_scoring(**changes)
    assert not set(EARLY.values()) & {contrast.name for contrast in scoring.contrasts}
    assert not any(metric.stage_pairs for metric in scoring.metrics)
    found = errors({("error.promote.10", 0): (0, 1, 0, 1)}, stage=0, scoring=scoring)
    assert (found.need_promote_pairs, found.need_promote) == (None, pytest.approx(math.log(20)))


def test_pairs_of_a_warm_up_count_as_its_requests_do() -> None:
    counts: Counts = {(EARLY[1], 0): FAIR, ("error.promote.2", 0): (0, 5, 0, 5)}
    whole, warm_up = (errors(counts, stage=1, scored=scored) for scored in (Scored.ALL, Scored.FAILURES))
    assert whole.log_e_promote_pairs == warm_up.log_e_promote_pairs
    assert warm_up.cleared


@pytest.mark.parametrize("stage", EARLY)
@pytest.mark.parametrize(("stable", "together"), [(0.02, 0.0), (0.05, 0.03), (0.09, 0.09)])
@pytest.mark.parametrize("unknown", [0.0, 0.2])
def test_the_mean_over_every_sample_on_the_margin_is_one_and_less_with_unknown_pairs(
    stage: int, stable: float, together: float, unknown: float
) -> None:
    contrast = contrast_of(SCORING, EARLY[stage])
    candidate = contrast.rho * stable + contrast.delta
    known = (together, candidate - together, stable - together, 1 - candidate - stable + together)
    chances = [(1 - unknown) * p for p in known]
    chances[1] += unknown  # where the counters put a pair that is not known
    mean = 0.0
    for sample in itertools.product(range(4), repeat=4):
        found = errors({(contrast.name, 0): [sample.count(cell) for cell in range(4)]}, stage=stage)
        assert found.log_e_promote_pairs is not None
        mean += math.prod(chances[cell] for cell in sample) * math.exp(found.log_e_promote_pairs)
    assert mean < 1 if unknown else mean == pytest.approx(1.0)


def test_a_class_with_a_gate_of_its_own_is_a_minimum_of_pairs_as_well() -> None:
    """Pairs in which one class fails always when stable does not: all together they are within the margin."""
    counts: Counts = {(EARLY[0], 0): (0, 0, 0, 200_000), (EARLY[0], 1): FAIR, (EARLY[0], 2): (0, 400, 0, 600)}
    pooled, gated = (a_scoring_of_classes(class_gates=gates) for gates in (False, True))
    assert errors(counts, stage=0, scoring=pooled).cleared
    assert not errors(counts, stage=0, scoring=gated).cleared
    fair: Counts = {(EARLY[0], stratum): FAIR for stratum in range(3)}
    assert errors(fair, stage=0, scoring=gated).cleared
