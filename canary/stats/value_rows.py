"""What each metric of values says at one look: evidence of both sides, means in the metric's own unit, task classes."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec
import numpy as np

from canary.stats.contrast import Vector
from canary.stats.diversity import BINS, AnswerCounts
from canary.stats.diversity_row import diversity_row
from canary.stats.evidence import EITHER, ClassEvidence, MetricEvidence
from canary.stats.mean_metric import Margin
from canary.stats.means import combined, size_of
from canary.stats.side import Counted, Ints
from canary.stats.spec import ScoringSpec
from canary.stats.value_cells import columns_of_plan
from canary.stats.value_plan import Form, ValueMetric, ValuePlan
from canary.stats.value_sides import Place, sides_of_plan
from canary.stats.value_sums import PairCounts, arms, class_rows, means_of, pair_counts, refusals
from canary.terms import BUCKETS, Scored

_Parts: TypeAlias = Callable[[Counted, int | None], Vector]  # of one segment, of one stratum or all


class Look:
    """The rows of one look: `found` holds one entry for each segment since the rollout's start, by id."""

    def __init__(
        self,
        plan: ValuePlan,
        spec: ScoringSpec,
        found: Sequence[Counted],
        *,
        rollback: Mapping[str, float],
        stage: int,
        gated: Sequence[int] = (),
    ) -> None:
        self._plan = plan
        self._spec = spec
        self._found = [one for one in found if one.scored is Scored.ALL]
        self._coins = [one for one in self._found if 0 < one.weight_bp < BUCKETS]
        self._rollback = rollback
        self._gates = (None, *gated)  # all strata together, then each that must pass by itself
        self._stage = min(stage, len(spec.stage_factors) - 1)
        self._sides = {side.name: side for side in sides_of_plan(plan)}

    def rows(self) -> Iterator[MetricEvidence]:
        """One for each metric, in the plan's order."""
        for metric in self._plan.metrics:
            if metric.form is Form.DIVERSITY:
                yield self._diversity(metric)
            elif metric.mean is None:
                yield MetricEvidence.of_nothing(metric.name, unit=metric.spec.unit, abstains=metric.abstains)
            else:
                yield self._row(metric, Place(self._plan, metric))

    def _row(self, metric: ValueMetric, place: Place) -> MetricEvidence:
        counts = [place.canary(one.values) for one in self._coins] if metric.form is not Form.PREFERENCE else []
        pairs, (mine, theirs) = self._pairs(place), arms(place, counts)
        grid = place.mean.grid
        events = (int(mine[1]), int(theirs[1])) if place.mean.binary else (0, 0)
        means = means_of(place, counts) if metric.form in {Form.AMOUNT, Form.QUALITY} else (None, None)
        row = MetricEvidence(
            metric=metric.name,
            n_candidate=int(mine.sum()),
            n_stable=int(theirs.sum()),
            bad_candidate=events[0],
            bad_stable=events[1],
            pairs=sum(pairs),
            pairs_worse=pairs.worse,
            pairs_better=pairs.better,
            candidate_events=events[0] + pairs.worse + pairs.both,
            min_events=self._spec.min_candidate_events if metric.rare else 0,
            mean_candidate=means[0],
            mean_stable=means[1],
            unit=metric.spec.unit,
            abstains=refusals(int(mine[grid.refused]), int(theirs[grid.refused]), pairs.refused),
            promote_abstains=metric.promote_abstains,
            classes=self._classes(place, counts),
        )
        return self._with_promotion(self._with_rollback(row, metric), metric, place)

    def _with_rollback(self, row: MetricEvidence, metric: ValueMetric) -> MetricEvidence:
        if metric.name not in self._sides:
            return row
        need = -math.log(self._spec.alpha_rollback * metric.share) if metric.share else None
        return msgspec.structs.replace(row, log_e_rollback=self._rollback[metric.name], need_rollback=need)

    def _with_promotion(self, row: MetricEvidence, metric: ValueMetric, place: Place) -> MetricEvidence:
        """Canary evidence, in early stages or else that of pairs; in the shadow, and of preferences, that of pairs alone."""
        need = -math.log(self._spec.alpha_promote)
        pairs = metric.shadow_pairs if self._stage < 0 else metric.stage_pairs[self._stage] if metric.stage_pairs else -1
        by_pairs = self._by_pairs(metric, place, pairs) if pairs >= 0 else None
        if self._stage < 0 or not metric.promote:
            return row if by_pairs is None else msgspec.structs.replace(row, log_e_promote=by_pairs, need_promote=need)
        margin = metric.promote[self._stage]
        canary = self._least(place, margin, lambda one, gate: place.canary_parts(margin, one, gate), self._coins)
        if by_pairs is None:
            return msgspec.structs.replace(row, log_e_promote=canary, need_promote=need)
        need += math.log(EITHER)
        return msgspec.structs.replace(
            row, log_e_promote=canary, need_promote=need, log_e_promote_pairs=by_pairs, need_promote_pairs=need
        )

    def _by_pairs(self, metric: ValueMetric, place: Place, promote: int) -> float:
        margin = metric.promote_pairs[promote]
        first = len(metric.pair_margins) - len(metric.promote_pairs)
        return self._least(place, margin, lambda one, gate: place.pair_parts(first + promote, one, gate), self._found)

    def _least(self, place: Place, margin: Margin, parts: _Parts, found: Sequence[Counted]) -> float:
        """A class that must pass by itself is a guardrail of its own. By segment id: sums are the same in one order only."""
        nothing = np.zeros(size_of(place.mean, margin))
        gates = [sum((parts(one, gate) for one in found), nothing) for gate in self._gates]
        return min(float(combined(place.mean, margin, total)) for total in gates)

    def _pairs(self, place: Place) -> PairCounts:
        if not place.metric.pair_margins:
            return PairCounts()
        return pair_counts(place, [place.pairs(0, one.values) for one in self._found])

    def _classes(self, place: Place, counts: Sequence[Ints]) -> tuple[ClassEvidence, ...]:
        margin = place.metric.rollback
        if self._plan.strata == 1 or margin is None:
            return ()
        total = sum((place.canary_parts(margin, one) for one in self._coins), np.zeros(size_of(place.mean, margin)))
        return class_rows(place, counts, total, ("", *self._spec.measures.classes))

    def _diversity(self, metric: ValueMetric) -> MetricEvidence:
        block = columns_of_plan(self._plan).blocks[metric.number]
        found = [block.of(one.values)[0].reshape(2, BINS + 1) for one in self._coins]
        answers = [
            AnswerCounts(
                weight_bp=one.weight_bp,
                candidate=tuple(mine[:BINS].tolist()),
                stable=tuple(theirs[:BINS].tolist()),
                candidate_silent=int(mine[BINS]),
                stable_silent=int(theirs[BINS]),
            )
            for one, (mine, theirs) in zip(self._coins, found, strict=True)
        ]
        return diversity_row(metric, answers, self._spec, promotes=self._stage >= 0)
