"""From a plan to its decision: one bad class of four is never promoted where classes have gates, and else it would be."""

from functools import lru_cache

import msgspec
import numpy as np

from canary.rollout.decide import decide
from canary.rollout.scoring_of import scoring_spec
from canary.rollout.state import Decision
from canary.stats.contrast import Contrast
from canary.stats.facts import Fact
from canary.stats.freezing import freeze
from canary.stats.profile import Profile, profile_cells
from canary.stats.scoring import Scoring
from canary.stats.weigh import weigh
from canary.terms import Action, Measures, Phase
from tests.support.rollouts import a_plan, a_state, at
from tests.support.scorings import a_segment
from tests.support.weighing import Counts, totals_of

MEASURES = Measures(classes=("chat", "code", "math"))
LAST = 1
STRATA = range(4)
MINUTE = 28_000_000
FAIR = (0.8, 0.8, 0.8, 0.8)
BAD = (0.8, 0.8, 0.8, 3.0)
"""Times stable's errors; 3.0 lies far beyond the margin of 1.5 times and .1 points."""


@lru_cache(maxsize=2)
def scoring_with(*, class_gates: bool) -> Scoring:
    """As a controller freezes it: a profile of four classes alike, with 2 % of errors."""
    cells: dict[int, int] = {}
    for at_ms in range(4_000):
        fact = Fact(
            age_us=1_000 * (at_ms % 400 + 20), latency_us=1_000 * (at_ms % 400 + 19), failed=at_ms % 50 == 0, left=False
        )
        for key in profile_cells(fact, stratum=at_ms // 1_000):
            cells[key] = cells.get(key, 0) + 1
    state = a_state(plan=a_plan(class_gates=class_gates), measures=MEASURES)
    return freeze(Profile.of(cells), scoring_spec(state))


def counted(contrast: Contrast, n: int, times: tuple[float, ...], chance: np.random.Generator | None) -> Counts:
    """Half of n requests for each arm and class; errors differ by `times`, all else is far better."""
    found = {}
    for stratum in STRATA:
        rate = contrast.strata[stratum].center
        worse = times[stratum] if contrast.name.startswith("error") else 0.1
        mean = (rate * worse * n / 2, rate * n / 2)
        bad = [round(m) if chance is None else min(int(chance.poisson(m)), n // 2) for m in mean]
        found[contrast.name, stratum] = (bad[0], n // 2 - bad[0], bad[1], n // 2 - bad[1])
    return found


def decided(n: int, times: tuple[float, ...], *, class_gates: bool, chance: np.random.Generator | None = None) -> Decision:
    """The decision in the last stage, every dwell over."""
    scoring, plan = scoring_with(class_gates=class_gates), a_plan(class_gates=class_gates)
    plan = msgspec.structs.replace(plan, stages=tuple(msgspec.structs.replace(stage, dwell_s=0.0) for stage in plan.stages))
    state = a_state(Phase.CANARYING, stage=LAST, plan=plan, scoring=scoring, measures=MEASURES)
    counts: Counts = {}
    for contrast in scoring.contrasts:
        if contrast.promote and not contrast.pairs:
            counts = {**counts, **counted(contrast, n, times, chance)}
    segments = [a_segment(weight_bp=5_000, stage=LAST)]
    totals = totals_of(scoring, {7: {MINUTE: counts}})
    return decide(state, weigh(totals, scoring, segments, stage=LAST, newest_tick_age_s=0.5), at(90), profile_n=4_000)


def test_the_plan_asks_for_gates_of_every_class() -> None:
    assert scoring_with(class_gates=True).gated == (0, 1, 2, 3)
    assert scoring_with(class_gates=False).gated == ()


def test_one_bad_class_of_four_is_never_promoted_though_all_together_would_be() -> None:
    promoted = [decided(n, BAD, class_gates=False).action is Action.PROMOTE for n in (2_000, 20_000, 200_000)]
    assert promoted[-1]  # 1.35 times the errors over all: within the margin
    for n in (200, 2_000, 20_000, 200_000, 2_000_000):
        found = decided(n, BAD, class_gates=True)
        assert found.action is not Action.PROMOTE
        assert "errors" in found.because
    chance = np.random.default_rng(11)
    looks = [decided(n, BAD, class_gates=True, chance=chance) for n in (500, 5_000, 50_000) for _ in range(30)]
    assert not any(look.action is Action.PROMOTE for look in looks)


def test_four_fair_classes_are_promoted_by_their_own_gates_later() -> None:
    assert decided(20_000, FAIR, class_gates=True).action is Action.PROMOTE
    small = next(n for n in range(500, 20_000, 500) if decided(n, FAIR, class_gates=False).action is Action.PROMOTE)
    assert decided(small, FAIR, class_gates=True).action is not Action.PROMOTE
