"""Task classes: exact means, damage in one of them is seen, and none carries another one through a gate."""

import itertools
import math
from functools import lru_cache

import msgspec
import numpy as np
import pytest

from canary.stats.bets import even, log_factors, mixed, pooled_factors, scores
from canary.stats.contrast import Contrast, Metric, Rule, Stratum
from canary.stats.scoring import Scoring, freeze
from canary.stats.value_plan import ValuePlan
from canary.stats.weigh import weigh
from tests.support.scorings import MEASURES, a_profile_of_classes, a_scoring_of_classes, a_segment, a_spec
from tests.support.weighing import contrast_of, row_of, totals_of

RATES = (0.1, 0.4)
MINUTE = 28_000_000


@lru_cache(maxsize=8)
def small_scoring(*, promote: bool, gated: tuple[int, ...] = (), rho: float = 1.5, delta: float = 0.05) -> Scoring:
    """One contrast, two strata with rates and profiles of their own, one metric."""
    parts = tuple(
        Stratum(share=share, center=center, effects=(0.9 * rate, rate) if promote else (1.6 * rate + delta, 0.95))
        for share, center, rate in ((0.7, 0.12, RATES[0]), (0.3, 0.35, RATES[1]))
    )
    contrast = Contrast(
        name="x",
        rule=Rule.UNWELL if promote else Rule.BAD,
        age_us=11_000_000,
        promote=promote,
        rho=rho,
        delta=delta,
        center=0.2,
        effects=parts[0].effects,
        strata=parts,
    )
    metric = Metric(name="x", promote=(0,)) if promote else Metric(name="x", share=1.0, canary=(0,))
    return msgspec.structs.replace(
        a_scoring_of_classes(stage_factors=(1.0,)),
        contrasts=(contrast,),
        metrics=(metric,),
        values=ValuePlan(),
        classes=("chat",),
        gated=gated,
    )


def mean_e(scoring: Scoring, weight_bp: int, candidate: tuple[float, float], strata: tuple[int, ...]) -> float:
    """Sum of P * e over every sample of requests of these strata, each in a minute of its own, weighed as in earnest."""
    weight, total = weight_bp / 10_000, 0.0
    for sample in itertools.product(range(4), repeat=len(strata)):
        chance, minutes = 1.0, {}
        for place, (cell, stratum) in enumerate(zip(sample, strata, strict=True)):
            rate = candidate[stratum] if cell < 2 else RATES[stratum]
            chance *= (weight if cell < 2 else 1 - weight) * (rate if cell % 2 == 0 else 1 - rate)
            minutes[MINUTE + place] = {("x", stratum): [int(cell == index) for index in range(4)]}
        evidence = weigh(totals_of(scoring, {7: minutes}), scoring, [a_segment(weight_bp=weight_bp)], stage=0)
        row = row_of(evidence, "x")
        log_e = row.log_e_promote if row.log_e_rollback is None else row.log_e_rollback
        assert log_e is not None
        total += chance * math.exp(log_e)
    return total


@pytest.mark.parametrize("weight_bp", [500, 5_000])
@pytest.mark.parametrize("strata", [(0, 1, 1, 0), (1, 1, 1)])
def test_the_mean_of_pooled_bets_strata_and_restarts_is_one_on_the_edge_of_the_null(
    weight_bp: int, strata: tuple[int, ...]
) -> None:
    scoring = small_scoring(promote=False)
    edge = tuple(1.5 * rate + 0.05 for rate in RATES)
    assert mean_e(scoring, weight_bp, edge, strata) == pytest.approx(1.0, abs=1e-12)
    assert mean_e(scoring, weight_bp, RATES, strata) < 1


@pytest.mark.parametrize("gated", [(), (1,), (0, 1)])
def test_the_mean_of_the_promote_side_is_at_most_one_and_a_gate_only_lowers_it(gated: tuple[int, ...]) -> None:
    edge = tuple(1.5 * rate + 0.05 for rate in RATES)
    found = mean_e(small_scoring(promote=True, gated=gated), 2_500, edge, (0, 1, 0))
    if gated:
        assert found < 1 - 1e-6
    else:
        assert found == pytest.approx(1.0, abs=1e-12)


def test_the_largest_pooled_bet_is_that_of_the_worst_stratum() -> None:
    scoring = small_scoring(promote=False)
    for weight in (0.01, 0.5, 0.95):
        assert np.isfinite(pooled_factors(scoring.contrasts[0], weight, strata=2)).all()


def test_a_stratum_bets_by_its_own_profile() -> None:
    (contrast,) = small_scoring(promote=False).contrasts
    one = msgspec.structs.replace(contrast, center=0.35, effects=contrast.strata[1].effects, strata=())
    four = (7, 3, 5, 15)
    evidence = weigh(
        totals_of(small_scoring(promote=False), {7: {MINUTE: {("x", 1): four}}}),
        small_scoring(promote=False),
        [a_segment(weight_bp=2_500)],
        stage=0,
    )
    alone = float(mixed(np.full(2, -math.log(2)), log_factors(one, 0.25) @ np.array(four)))
    named = {found.name: found for found in row_of(evidence, "x").classes}
    assert named["chat"].log_e_rollback == pytest.approx(alone)
    assert (named["chat"].n_candidate, named["chat"].bad_candidate, named["chat"].bad_stable) == (10, 7, 5)
    assert named[""].log_e_rollback == pytest.approx(0.0)


def four(n: int, rate: float, *, weight: float = 0.5, times: float = 1.0) -> tuple[int, int, int, int]:
    """Expected counts of n requests."""
    mine, theirs = round(n * weight), round(n * (1 - weight))
    bad, other = round(mine * rate * times), round(theirs * rate)
    return bad, mine - bad, other, theirs - other


def promoted(scoring: Scoring, times: tuple[float, float, float], *, n: int = 120_000) -> bool:
    """Whether the errors' last gate opens to a candidate with so many times stable's errors in each class."""
    parts = {("error.promote.1", s): four(round(n * share), rate, times=times[s]) for s, share, rate in CLASSES}
    segments = [a_segment(weight_bp=5_000, stage=3)]
    return row_of(weigh(totals_of(scoring, {7: {MINUTE: parts}}), scoring, segments, stage=3), "error_timeout").cleared


CLASSES = ((0, 0.6, 0.005), (1, 0.3, 0.02), (2, 0.1, 0.1))


def test_a_good_class_carries_no_bad_one_through_a_gate() -> None:
    """Of 2.9 times the errors in two classes a third, by far the largest, knows nothing."""
    scoring = a_scoring_of_classes()
    assert promoted(scoring, (1.0, 1.0, 1.0))
    assert not promoted(scoring, (1.0, 2.9, 2.9))
    segments = [a_segment(weight_bp=5_000, stage=3)]
    parts = {
        ("error.promote.1", s): four(round(120_000 * share), rate, times=1.0 if s == 0 else 2.9) for s, share, rate in CLASSES
    }
    components = log_factors(_alone(contrast_of(scoring, "error.promote.1"), 0), 0.5) @ np.array(parts["error.promote.1", 0])
    good = float(mixed(even(len(components)), components))
    row = row_of(weigh(totals_of(scoring, {7: {MINUTE: parts}}), scoring, segments, stage=3), "error_timeout")
    assert row.need_promote is not None
    assert good > row.need_promote + math.log(8)  # an average over classes would have opened


def _alone(contrast: Contrast, stratum: int) -> Contrast:
    part = contrast.strata[stratum]
    return msgspec.structs.replace(contrast, center=part.center, effects=part.effects, strata=())


def test_a_gate_for_each_class_is_a_minimum_and_has_to_be_asked_for() -> None:
    """Twice the errors in a tenth of the requests, fewer in all others: together not worse, that class is."""
    times = (0.5, 0.5, 1.9)
    assert promoted(a_scoring_of_classes(), times, n=400_000)
    gated = a_scoring_of_classes(class_gates=True)
    assert gated.gated == (0, 1, 2)
    assert not promoted(gated, times, n=400_000)
    assert promoted(gated, (1.0, 1.0, 1.0), n=4_000_000)


def test_a_class_with_little_traffic_has_no_gate() -> None:
    profile = a_profile_of_classes(900)  # some 90 of them code
    scoring = freeze(profile, a_spec(measures=MEASURES, class_gates=True))
    assert profile.stratum(2).n < 100 <= profile.stratum(1).n
    assert scoring.gated == (0, 1)


def test_damage_in_one_class_is_found_though_all_together_look_well() -> None:
    scoring = a_scoring_of_classes(shadow_lane_weight=0.0)
    harmed = {("error.rollback", 0): four(30_000, 0.005), ("error.rollback", 1): four(1_500, 0.02, times=5.0)}
    evidence = weigh(totals_of(scoring, {7: {MINUTE: harmed}}), scoring, [a_segment(weight_bp=5_000)], stage=0)
    row = row_of(evidence, "error")
    (contrast,) = [scoring.contrasts[index] for index in (next(m for m in scoring.metrics if m.name == "error").canary)]
    pooled = pooled_factors(contrast, 0.5, strata=3)
    counts = np.array([harmed["error.rollback", 0], harmed["error.rollback", 1], (0, 0, 0, 0)])
    together = float(mixed(np.full(8, -math.log(8)), np.einsum("bsk,sk->b", pooled, counts)))
    alone = {found.name: found.log_e_rollback for found in row.classes}
    assert row.breached
    assert alone["chat"] > row.log_e_rollback > together  # type: ignore[operator]
    from_start = math.exp(together) / 2 + sum(map(math.exp, alone.values())) / 6
    assert row.log_e_rollback == pytest.approx(math.log(0.75 * from_start + 0.25))  # of the late half, half began here


def test_a_class_that_the_profile_has_not_seen_is_taken_for_the_average_one() -> None:
    measures = msgspec.structs.replace(MEASURES, classes=("chat", "code", "new"))
    scoring = freeze(a_profile_of_classes(), a_spec(measures=measures))
    contrast = contrast_of(scoring, "error_timeout.rollback")
    assert contrast.strata[3].share == 0
    assert contrast.strata[3].center == pytest.approx(contrast.center)
    assert contrast.strata[3].effects == pytest.approx(contrast.effects)
    assert contrast.strata[0].center < contrast.strata[1].center < contrast.strata[2].center


def test_a_rare_class_is_not_called_bad_for_want_of_numbers() -> None:
    """Half an event in three requests would be a rate of an eighth, and its bet the largest that all others may place."""
    measures = msgspec.structs.replace(MEASURES, classes=("chat", "code"))
    cells = a_profile_of_classes(1_200, errors=(0.002, 0.002, 0.002))
    few = msgspec.structs.replace(
        cells, strata=(*cells.strata[:2], msgspec.structs.replace(cells.strata[2], well_age=((700, 3),)))
    )
    scoring = freeze(few, a_spec(measures=measures))
    assert contrast_of(scoring, "error_fast.rollback").strata[2].center < 0.02


def test_one_class_alone_is_the_plain_bet() -> None:
    plain, strata = a_scoring_of_classes(measures=msgspec.structs.replace(MEASURES, classes=())), a_scoring_of_classes()
    assert plain.strata == 1
    assert contrast_of(plain, "error.rollback").strata == ()
    contrast = contrast_of(plain, "error.rollback")
    assert pooled_factors(contrast, 0.05, strata=1)[:, 0] == pytest.approx(log_factors(contrast, 0.05))
    assert scores(contrast, 0.05) == pytest.approx(scores(contrast_of(strata, "error.rollback"), 0.05))
