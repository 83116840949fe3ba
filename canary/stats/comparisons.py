"""What is compared between clusters of users: the contrasts of a scoring and its metrics of values, each as a count and a sum.

A comparison counts requests n and sums outcomes Y of each arm, whole numbers both. A contrast's outcome is its score. A value's
is its grid point in parts of the cap; what is unknown is worth what hurts the claim most, as everywhere.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import numpy as np

from canary.stats.cells import ARM_SHIFT, METRIC_SHIFT, PAIR_DROP, PAIR_START, START
from canary.stats.clustered import ClusterTest, Outcomes
from canary.stats.clusters import Ints
from canary.stats.contrast import CELLS, FAILURE_RULES, Contrast, Rule
from canary.stats.frozen import Scoring
from canary.stats.grid import Grid
from canary.stats.mean_metric import Margin, MeanMetric
from canary.stats.means import tolerated
from canary.stats.tables import tables_of
from canary.stats.value_cells import FIRST_VALUE
from canary.stats.value_plan import Form, ValueMetric, ValuePlan
from canary.terms import Frozen

PARTS: Final = 2**20
"""Of the cap: millionths, about."""

NUMBERS: Final = 4
"""Of one comparison: the candidate's n and Y, stable's n and Y."""

QUALITY_EFFECT: Final = 0.02
MEAN_EFFECT: Final = 0.1
PREFERENCE_EFFECT: Final = 0.1
"""Expected size of a change: 2 points of quality; a tenth of a cost, of a share of slow answers, and of the pairs' net loss."""

RARE_EFFECT: Final = 0.005
"""Least size of a change for the worse of a rare rate. With scales of up to 25 times a rate of 1 in 4,000 alone, a candidate
that failed for a third of its users was not found."""

LEAST_EFFECT: Final = 1e-5

_BIN_MASK: Final = (1 << 16) - 1
_ARM_BIT: Final = 1 << ARM_SHIFT
_APART: Final = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 0]])
"""What the candidate's 1 and 0 and stable's 1 and 0 add to a comparison."""
_PAIRED: Final = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 1, 1], [1, 0, 1, 0]])
"""What a pair of two 1, of the candidate's alone, of stable's alone and of two 0 adds: both sides were asked."""


class Comparison(Frozen, frozen=True, kw_only=True):
    """One of them, with the test of its null."""

    name: str
    age_us: int
    test: ClusterTest
    failures: bool = False  # counts in a warm-up too
    contrast: int = -1  # its place among the scoring's contrasts; -1: of values
    pairs: bool = False


class Comparisons:
    """All comparisons of a scoring, and what one count of each cell adds to them."""

    def __init__(self, scoring: Scoring) -> None:
        self.scoring = scoring
        self._tables = tables_of(scoring)
        self._values: list[_ValueColumn | _PreferenceColumn] = [
            *_value_columns(scoring.values),
            *_preference_columns(scoring.values),
        ]
        rates = [_of_contrast(scoring, index) for index in range(len(scoring.contrasts)) if _is_read(scoring, index)]
        self.all: tuple[Comparison, ...] = (*rates, *(column.comparison for column in self._values))
        self.ages_us: Ints = np.array([comparison.age_us for comparison in self.all], dtype=np.int64)
        self.place = {comparison.name: place for place, comparison in enumerate(self.all)}
        self._of_contrast = [comparison.contrast for comparison in rates]
        self._forms = np.array([_PAIRED if comparison.pairs else _APART for comparison in rates])
        self._meanings: dict[int, Ints] = {}

    @property
    def plain(self) -> int:
        """Numbers of a stratum that need no clusters: four for each contrast."""
        return CELLS * len(self.scoring.contrasts)

    def meaning(self, code: int) -> Ints:
        """What one count of a plain cell (without stratum and second) adds: the plain numbers, then four of each comparison."""
        found = self._meanings.get(code)
        if found is None:
            found = self._meanings[code] = self._meaning(code)
        return found

    def _meaning(self, code: int) -> Ints:
        plain = np.zeros(self.plain, dtype=np.int64)
        if code >> METRIC_SHIFT < FIRST_VALUE:
            plain += np.rint(self._tables.vector(code)[: self.plain]).astype(np.int64)
        parts = plain.reshape(-1, CELLS)[self._of_contrast]
        rates = np.einsum("ck,ckn->cn", parts, self._forms) if len(parts) else np.zeros((0, NUMBERS), dtype=np.int64)
        values = [column.meaning(code) for column in self._values]
        return np.concatenate([plain, rates.ravel(), *values]).astype(np.int64)


@lru_cache(maxsize=64)
def comparisons_of(scoring: Scoring) -> Comparisons:
    """The comparisons of a scoring, built once."""
    return Comparisons(scoring)


def rollback_name(metric: ValueMetric) -> str:
    """The comparison of a value's rollback side."""
    return f"{metric.name}.value.rollback"


def promote_name(metric: ValueMetric, stage: int) -> str:
    """The comparison of a value under a stage's margin."""
    return f"{metric.name}.value.promote.{stage}"


def preference_name(metric: ValueMetric, margin: Margin) -> str:
    """The comparison of a preference under one of its margins."""
    return f"{metric.name}.value.{margin.name}"


def decided_name(metric: ValueMetric) -> str:
    """The comparison whose sums say how many pairs the candidate lost, and how many stable."""
    return f"{metric.name}.value.decided"


def refused_name(metric: ValueMetric) -> str:
    """The comparison whose sums say how many answers had no usable value."""
    return f"{metric.name}.value.refused"


def _is_read(scoring: Scoring, index: int) -> bool:
    """Errors are compared at the timeout's age alone, and of pairs nothing else; completions are no users' (`Rule.GONE`)."""
    contrast = scoring.contrasts[index]
    if index not in scoring.read or contrast.rule is Rule.GONE or (contrast.pairs and contrast.rule not in FAILURE_RULES):
        return False
    return contrast.promote or contrast.rule is not Rule.BAD or contrast.age_us == scoring.pair_age_us


def _of_contrast(scoring: Scoring, index: int) -> Comparison:
    contrast = scoring.contrasts[index]
    test = ClusterTest(
        effect=_effect_of(scoring, contrast),
        rho=contrast.rho,
        delta=contrast.delta,
        promote=contrast.promote,
        stable_rate=_center(scoring, contrast),
    )
    return Comparison(
        name=contrast.name,
        age_us=contrast.age_us,
        test=test,
        failures=contrast.rule in FAILURE_RULES,
        contrast=index,
        pairs=contrast.pairs,
    )


def _center(scoring: Scoring, contrast: Contrast) -> float:
    """Stable's rate in the profile; a pair contrast has none of its own and takes that of its canary twin."""
    if not contrast.pairs or contrast.center:
        return contrast.center
    name = contrast.name.removesuffix(".pairs")
    errors = (one for one in scoring.contrasts if not one.pairs and one.rule is Rule.BAD and one.age_us == scoring.pair_age_us)
    twin = next((one for one in scoring.contrasts if one.name == name), next(errors, None))
    return twin.center if twin is not None else 0.0


def _effect_of(scoring: Scoring, contrast: Contrast) -> float:
    rate = _center(scoring, contrast)
    if contrast.rule in FAILURE_RULES:
        return _rare_effect(rate, contrast.rho, contrast.delta, promote=contrast.promote)
    return max(MEAN_EFFECT * rate, LEAST_EFFECT)


def _rare_effect(rate: float, rho: float, delta: float, *, promote: bool) -> float:
    """The rate itself; promoting at least the way to the margin, rolling back at least what hurts, however rare it was."""
    return max(rate, (rho - 1) * rate + delta if promote else RARE_EFFECT, LEAST_EFFECT)


class _ValueColumn:
    """One comparison of values; worths are those of each bin, in parts of the cap, unknown first for either arm."""

    def __init__(self, comparison: Comparison, number: int, *, worths: tuple[Ints, Ints], unknown: tuple[int, int]) -> None:
        self.comparison = comparison
        self._metric = FIRST_VALUE + number
        self._worths = worths  # of the candidate's and stable's bins
        self._unknown = unknown

    def meaning(self, code: int) -> Ints:
        found = np.zeros(NUMBERS, dtype=np.int64)
        metric, arm = code >> METRIC_SHIFT, 0 if code & _ARM_BIT else 1
        if metric == START:
            found[2 * arm : 2 * arm + 2] = (1, self._unknown[arm])
        elif metric == self._metric:
            found[2 * arm + 1] = int(self._worths[arm][code & _BIN_MASK]) - self._unknown[arm]
        return found


class _PreferenceColumn:
    """A preference: what each bin of a pair is worth on the candidate's side and on stable's, and a pair without a word."""

    def __init__(self, comparison: Comparison, number: int, worths: tuple[tuple[int, int], ...]) -> None:
        self.comparison = comparison
        self._metric = FIRST_VALUE + number
        self._worths = worths  # both, the candidate's alone (it lost), stable's alone, neither, unknown

    def meaning(self, code: int) -> Ints:
        found = np.zeros(NUMBERS, dtype=np.int64)
        metric, (mine, theirs) = code >> METRIC_SHIFT, self._worths[-1]
        if metric in {PAIR_START, PAIR_DROP}:
            found += np.array([1, mine, 1, theirs]) * (1 if metric == PAIR_START else -1)
        elif metric == self._metric:
            known = self._worths[min(code & _BIN_MASK, len(self._worths) - 1)]
            found[1], found[3] = known[0] - mine, known[1] - theirs
        return found


def _preference_columns(plan: ValuePlan) -> Iterator[_PreferenceColumn]:
    """A pair is worth 2 to the candidate where it lost, 1 in a tie, 0 where it won; to stable nothing.

    So a pair's spread is counted once. A loss here is a win there, and sides that were compared as if apart would seem to
    differ less than they do.
    """
    for metric in plan.metrics:
        if metric.form is not Form.PREFERENCE or metric.mean is None or metric.abstains:
            continue
        for margin in metric.pair_margins:
            test = ClusterTest(effect=PREFERENCE_EFFECT, outcomes=Outcomes.MEAN, delta=1 + margin.delta, promote=margin.promote)
            comparison = Comparison(name=preference_name(metric, margin), age_us=plan.age_us, test=test, pairs=True)
            unknown = 2 if margin.promote else 0
            yield _PreferenceColumn(comparison, metric.number, ((1, 0), (2, 0), (0, 0), (1, 0), (unknown, 0)))
        comparison = Comparison(name=decided_name(metric), age_us=plan.age_us, test=ClusterTest(effect=1.0), pairs=True)
        yield _PreferenceColumn(comparison, metric.number, ((0, 0), (1, 0), (0, 1), (0, 0), (0, 0)))


def _value_columns(plan: ValuePlan) -> Iterator[_ValueColumn]:
    grids = {metric.number: metric.mean.grid for metric in plan.metrics if metric.in_canary and metric.mean is not None}
    for metric in plan.metrics:
        if metric.mean is None or metric.abstains or metric.form in {Form.PREFERENCE, Form.DIVERSITY}:
            continue
        source = grids[metric.number]
        if metric.rollback is not None:
            yield _column(plan, metric, metric.rollback, name=rollback_name(metric), source=source)
        for stage, margin in enumerate(metric.promote):
            yield _column(plan, metric, margin, name=promote_name(metric, stage), source=source)
        yield _refusals(plan, metric, source)


def _column(plan: ValuePlan, metric: ValueMetric, margin: Margin, *, name: str, source: Grid) -> _ValueColumn:
    mean = metric.mean
    assert mean is not None, "a metric without a grid has no cells"
    unit = 1 if mean.binary else PARTS / mean.grid.cap
    candidate = _worths(metric, source)
    cut = margin.promote and not mean.binary  # the cut is in stable's outcomes, and the test's null is plain
    stable = tolerated(mean, margin, candidate) if cut else candidate
    nothing, worst = 0, round(unit * mean.grid.cap)
    lowest, highest = round(unit * float(stable.min())), round(unit * float(stable.max()))
    test = ClusterTest(
        effect=max(_value_effect(metric, mean, margin) * unit, LEAST_EFFECT),
        outcomes=Outcomes.BINARY if mean.binary else Outcomes.MEAN,
        rho=1.0 if cut else margin.rho,
        delta=0.0 if cut else margin.delta * unit,
        promote=margin.promote,
        stable_rate=mean.mean() if mean.binary else 0.0,
    )
    return _ValueColumn(
        Comparison(name=name, age_us=plan.age_us, test=test),
        metric.number,
        worths=(np.rint(unit * candidate).astype(np.int64), np.rint(unit * stable).astype(np.int64)),
        unknown=(worst, lowest) if margin.promote else (nothing, highest),
    )


def _refusals(plan: ValuePlan, metric: ValueMetric, source: Grid) -> _ValueColumn:
    bins = np.zeros(source.width, dtype=np.int64)
    bins[source.refused] = 1
    comparison = Comparison(name=refused_name(metric), age_us=plan.age_us, test=ClusterTest(effect=1.0), failures=True)
    return _ValueColumn(comparison, metric.number, worths=(bins, bins), unknown=(0, 0))


def _worths(metric: ValueMetric, source: Grid) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """What each bin of the counted grid is worth to the metric, in its own unit; one that is refused is worth nothing."""
    if metric.form is Form.OVER_CAP:
        over = np.zeros(source.width)
        over[source.over] = 1.0
        return over
    return np.array([*source.points, source.cap, 0.0, 0.0])


def _value_effect(metric: ValueMetric, mean: MeanMetric, margin: Margin) -> float:
    if metric.form is Form.QUALITY:
        return QUALITY_EFFECT * mean.grid.cap
    if mean.binary:
        return _rare_effect(mean.mean(), margin.rho, margin.delta, promote=margin.promote)
    return MEAN_EFFECT * mean.mean()
