"""Settled counts of a sticky rollout become evidence: users are compared, by their first events and in clusters of them.

The rows are those of any other rollout, so that whatever decides needs to know nothing of this. Errors have one row, at the
timeout's age, with the shares of all ages: a minute is the finest time that clusters know.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

import numpy as np

from canary.stats.bets import mixed
from canary.stats.clustered import (
    LEAST_CLUSTERS,
    LEAST_EVENTS,
    LEAST_REQUESTS,
    TOO_FEW_REQUESTS,
    UNDERPOWERED,
    ClusterEvidence,
    evidence_of,
)
from canary.stats.clusters import CLUSTERS, Ints
from canary.stats.comparisons import comparisons_of
from canary.stats.contrast import CELLS, Metric, Rule
from canary.stats.diversity import AnswerCounts
from canary.stats.evidence import Alert, Evidence, MetricEvidence
from canary.stats.first_event import FirstEventEvidence, evidence_of_users, lower_rate, pair_evidence
from canary.stats.frozen import Scoring
from canary.stats.moments import Moments
from canary.stats.ratio import BROKEN_LOG_E, sample_ratio_log_e
from canary.stats.side import SegmentWeight
from canary.stats.sticky import abstention, restarted_log_e, rollback_log_e, starts_of
from canary.stats.sticky_totals import StickyTotals
from canary.stats.sticky_values import value_rows
from canary.stats.unit_answers import answer_counts
from canary.stats.unit_events import BLOCK_US, ERROR, pair_metric
from canary.terms import BUCKETS, Scored

_MINUTE_US: Final = 60_000_000

REMEDY: Final = "split by request or by conversation instead"

THROUGHPUT: Final = Alert(
    name="throughput",
    because="completed requests are not compared where users keep their arm: how much they ask for says little of a version;"
    " failures, slow answers and abandoned ones are compared",
)

HANDOVER: Final = "first_events"
"""Name of the alert that first events are used up."""


def weigh_sticky(
    totals: StickyTotals,
    scoring: Scoring,
    segments: Sequence[SegmentWeight],
    *,
    stage: int,
    newest_tick_age_s: float | None = None,
) -> Evidence:
    """The evidence of all scored segments since the rollout's start, under the promote margins of the present stage."""
    look = Look(totals, scoring, segments, stage)
    units = [(segment, totals.units[segment.id]) for segment in look.coins if segment.id in totals.units]
    ratio = max((sample_ratio_log_e(segment.weight_bp / BUCKETS, *found) for segment, found in units), default=0.0)
    metrics = (*look.rows(), *value_rows(look))
    return Evidence(
        metrics=metrics,
        sample_ratio_log_e=ratio,
        sample_ratio_broken=ratio >= BROKEN_LOG_E,
        assigned_candidate=sum(found[0] for _, found in units),
        assigned_stable=sum(found[1] for _, found in units),
        pairs=look.pairs,
        stage_settled_s=look.settled_s,
        newest_tick_age_s=newest_tick_age_s,
        as_of_us=totals.as_of_us,
        alerts=look.alerts(metrics),
    )


def sentence_of(found: ClusterEvidence) -> str:
    """Why clusters say nothing yet, with what would help; empty where they speak."""
    if found.abstains == UNDERPOWERED:
        arms = min(found.clusters_candidate, found.clusters_stable)
        seen = f"users in {arms} of {CLUSTERS} groups, at least {LEAST_CLUSTERS} needed in each arm"
        if arms >= LEAST_CLUSTERS:
            seen = f"few users send most of the requests, as if there were {found.effective_candidate:.0f} groups of them"
        return f"{UNDERPOWERED}: {seen}; wait for more users, or {REMEDY}"
    if found.abstains == TOO_FEW_REQUESTS:
        return f"{found.abstains}: {found.n_candidate:,} of the candidate's requests, {LEAST_REQUESTS:,} needed"
    if found.abstains:
        return f"{found.abstains}: about {LEAST_EVENTS:.0f} would be expected of a candidate on its margin"
    return ""


class Look:
    """What rows are made of at one look."""

    def __init__(self, totals: StickyTotals, scoring: Scoring, segments: Sequence[SegmentWeight], stage: int) -> None:
        self.scoring = scoring
        self.spec = scoring.spec
        self.stage = stage
        self.totals = totals
        self._all = segments
        ordered = sorted((segment for segment in segments if segment.scored is not Scored.NONE), key=lambda one: one.id)
        self.segments = [segment for segment in ordered if segment.id in totals.segments]
        self.coins = [segment for segment in ordered if 0 < segment.weight_bp < BUCKETS]
        self._comparisons = comparisons_of(scoring)
        self._moments = Moments.of(totals.summed(scoring))
        self._weights_bp = {segment.id: segment.weight_bp for segment in self.coins}

    def moments(self, name: str) -> Moments:
        """The sums of one comparison."""
        return self._moments.at(self._comparisons.place[name])

    def said(self, name: str) -> ClusterEvidence:
        """What clusters say in one comparison."""
        return self._said[self._comparisons.place[name]]

    @cached_property
    def _said(self) -> list[ClusterEvidence]:
        """What they say in all of them: those of other stages too, as that is cheaper than to ask for one after the other."""
        return evidence_of(self._moments, [comparison.test for comparison in self._comparisons.all])

    def sentence(self, found: ClusterEvidence) -> str:
        """Why clusters say nothing yet."""
        return sentence_of(found)

    @cached_property
    def answers(self) -> list[AnswerCounts]:
        """One answer of each user, by segment."""
        return answer_counts(self.totals.answers, self._weights_bp)

    @cached_property
    def counts(self) -> Ints:
        """Plain counts of the scored segments, [contrasts, 4]: for people."""
        total = np.zeros((len(self.scoring.contrasts), CELLS), dtype=np.int64)
        for segment in self.segments:
            found = np.array(self.totals.segments[segment.id].counts, dtype=np.int64).reshape(-1, *total.shape).sum(axis=0)
            for index, contrast in enumerate(self.scoring.contrasts):
                warm_up = segment.scored is Scored.FAILURES and contrast.rule not in {Rule.BAD, Rule.UNWELL}
                if not warm_up and (contrast.pairs or 0 < segment.weight_bp < BUCKETS):
                    total[index] += found[index]
        return total

    @property
    def pairs(self) -> int:
        """Settled pairs."""
        return max((int(self.counts[i].sum()) for i, one in enumerate(self.scoring.contrasts) if one.pairs), default=0)

    @property
    def settled_s(self) -> float:
        """Span of the stage's own starts, without its warm-up, that is settled for the longest age its promotion reads."""
        read = [metric.promote[self._stage] for metric in self.scoring.metrics if metric.promote]
        ages = sorted({contrast.age_us for contrast in self.scoring.contrasts})
        place = ages.index(max((self.scoring.contrasts[index].age_us for index in read), default=ages[-1]))
        own = [segment for segment in self.segments if segment.stage == self.stage and segment.scored is Scored.ALL]
        return float(sum(self.totals.segments[segment.id].settled_s[place] for segment in own))

    @property
    def _stage(self) -> int:
        return max(0, min(self.stage, len(self.spec.stage_factors) - 1))

    def rows(self) -> list[MetricEvidence]:
        """One for each metric of contrasts."""
        errors = [metric for metric in self.scoring.metrics if self._rule(metric) is Rule.BAD]
        rows = []
        for metric in self.scoring.metrics:
            if self._rule(metric) is Rule.GONE:
                continue
            if metric not in errors:
                rows.append(self._row(metric))
            elif metric is errors[-1]:
                rows.append(self._error_row(metric, share=sum(one.share for one in errors)))
        return rows

    def alerts(self, metrics: Sequence[MetricEvidence]) -> tuple[Alert, ...]:
        """What people should know of the methods."""
        found = [THROUGHPUT] if self.coins else []
        if self._first.handover or self.totals.full:
            because = (
                "more than a tenth of the users had a failure: who has had one is not counted again, so clusters of users"
                " say more from here on"
            )
            found.append(Alert(name=HANDOVER, because=because))
        silent = [row.abstains or row.promote_abstains for row in metrics if row.n_candidate]
        because = next((reason for reason in silent if reason.startswith(UNDERPOWERED)), "")
        if because:
            found.append(Alert(name=UNDERPOWERED, because=because.partition(": ")[2]))
        return tuple(found)

    def _rule(self, metric: Metric) -> Rule | None:
        return self.scoring.contrasts[metric.canary[0]].rule if metric.canary else None

    @cached_property
    def _timeout(self) -> Metric:
        """The errors' metric at the timeout's age."""
        return [metric for metric in self.scoring.metrics if self._rule(metric) is Rule.BAD][-1]

    @cached_property
    def _lowest_rate(self) -> float:
        """The lower limit of stable's error rate in the profile."""
        n = self.scoring.profile_n
        center = self.scoring.contrasts[self._timeout.canary[0]].center
        return lower_rate(min(max(round(center * (n + 1) - 0.5), 0), n), n)

    @cached_property
    def _first(self) -> FirstEventEvidence:
        return self._firsts(self.totals.events.get(ERROR, {})).marked(ERROR in self.totals.full)

    def _firsts(self, counts: Mapping[int, tuple[int, int]]) -> FirstEventEvidence:
        contrast = self.scoring.contrasts[self._timeout.canary[0]]
        return evidence_of_users(
            counts,
            self._weights_bp,
            rho=contrast.rho,
            delta=contrast.delta,
            lowest_stable_rate=self._lowest_rate,
            users=self.totals.users,
        )

    def _restarted(self, log_e: float) -> float:
        """With the bets of first events that began later; a decision that was made before there were any has none."""
        if self.totals.late is None:
            return log_e
        opened = [segment.opened_minute for segment in self._all if segment.opened_minute]
        first = min(opened, default=self.totals.first_minute) * _MINUTE_US // BLOCK_US
        places = starts_of(self.totals.late, first=first)
        return restarted_log_e(log_e, {place: self._firsts(self.totals.late[block]).log_e for block, place in places.items()})

    def _first_pairs(self, index: int) -> FirstEventEvidence:
        contrast = self.scoring.contrasts[index]
        counts = self.totals.events.get(pair_metric(contrast), {})
        known = {segment.id: counts[segment.id] for segment in self.segments if segment.id in counts}
        return pair_evidence(known, rho=contrast.rho, delta=contrast.delta, lowest_stable_rate=self._lowest_rate)

    def _error_row(self, metric: Metric, *, share: float) -> MetricEvidence:
        first, clustered = self._first, self.said(self._name(metric.canary[0]))
        pairs = self._error_pairs(metric)
        lanes = [rollback_log_e(first, clustered), *(found[0] for found in (pairs,) if found)]
        silent = abstention(first, clustered)
        events = first.users_candidate + (pairs[1] if pairs else 0)
        return self._row_of(
            metric,
            log_e=self._restarted(self._over_lanes(metric, lanes)),
            share=share,
            silent="" if pairs and not pairs[2] else sentence_of(clustered) or silent if silent else "",
            events=events,
        )

    def _error_pairs(self, metric: Metric) -> tuple[float, int, bool] | None:
        """The shadow lane's log e, users for whom the candidate alone failed, and whether it says nothing."""
        if not metric.shadow:
            return None
        first, clustered = self._first_pairs(metric.shadow[0]), self.said(self._name(metric.shadow[0]))
        return rollback_log_e(first, clustered), first.users_candidate, bool(first.abstains and clustered.abstains)

    def _row(self, metric: Metric) -> MetricEvidence:
        said = [self.said(self._name(index)) for index in metric.canary]
        pairs = [self._first_pairs(index) for index in metric.shadow]
        lanes = [_average([one.log_e for one in found]) for found in (said, pairs) if found]
        silent = next((sentence_of(one) for one in said if one.abstains), "") if all(one.abstains for one in said) else ""
        events = sum(one.users_candidate for one in pairs)
        return self._row_of(
            metric, log_e=self._over_lanes(metric, lanes), share=metric.share, silent="" if pairs else silent, events=events
        )

    def _over_lanes(self, metric: Metric, lanes: Sequence[float]) -> float:
        """Canary and shadow spend one share of the budget; a lane that a metric does not have weighs nothing."""
        if len(lanes) < 2:
            return lanes[0] if lanes else 0.0
        weight = metric.shadow_weight
        if weight >= 1:
            return lanes[1]
        return float(np.logaddexp(math.log1p(-weight) + lanes[0], math.log(weight) + lanes[1]))

    def _row_of(self, metric: Metric, *, log_e: float, share: float, silent: str, events: int) -> MetricEvidence:
        index = metric.promote[self._stage] if metric.promote else metric.promote_pairs
        promote = None if index is None else self.said(self._name(index))
        shown = self._shown(metric)
        pairs, worse, better = self._shown_pairs(metric)
        rolls_back = bool(share and (metric.canary or metric.shadow))
        reason = sentence_of(promote) if promote is not None else ""
        return MetricEvidence(
            metric=metric.name,
            n_candidate=shown[0] + shown[1],
            n_stable=shown[2] + shown[3],
            bad_candidate=shown[0],
            bad_stable=shown[2],
            pairs=pairs,
            pairs_worse=worse,
            pairs_better=better,
            log_e_rollback=log_e if rolls_back else None,
            need_rollback=-math.log(self.spec.alpha_rollback * share) if rolls_back else None,
            log_e_promote=None if promote is None else promote.log_e,
            need_promote=None if promote is None else -math.log(self.spec.alpha_promote),
            candidate_events=events,
            min_events=self.spec.min_candidate_events if metric.counts_failures else 0,
            abstains=silent if rolls_back else reason,
            promote_abstains=reason if rolls_back else "",
        )

    def _shown(self, metric: Metric) -> list[int]:
        """Requests by arm and score; of a failure's first minute, which is not settled yet, users."""
        four = self._four(metric.canary or metric.promote[self._stage : self._stage + 1])
        if any(four) or not metric.counts_failures:
            return four
        units = [self.totals.units.get(segment.id, (0, 0)) for segment in self.coins]
        bad = self._first.users_candidate, self._first.users_stable
        return [bad[0], sum(one[0] for one in units) - bad[0], bad[1], sum(one[1] for one in units) - bad[1]]

    def _shown_pairs(self, metric: Metric) -> tuple[int, int, int]:
        """Settled pairs, and those in which the candidate was worse, or better: of each user the first where it differed."""
        if not metric.shadow:
            both, worse, better, neither = self._four(() if metric.promote_pairs is None else (metric.promote_pairs,))
            return both + worse + better + neither, worse, better
        loudest = max((self._first_pairs(index) for index in metric.shadow), key=lambda one: one.log_e)
        worse, better = loudest.users_candidate, loudest.users_stable
        return max(self.pairs, worse + better), worse, better

    def _name(self, index: int) -> str:
        return self.scoring.contrasts[index].name

    def _four(self, indices: Sequence[int]) -> list[int]:
        """Counts of the contrast in which the arms differ most: people are shown one threshold."""
        if not indices:
            return [0] * CELLS
        return max((self.counts[index].tolist() for index in indices), key=_apart)


def _apart(four: list[int]) -> float:
    candidate, stable = four[0] + four[1], four[2] + four[3]
    return four[0] / max(1, candidate) - four[2] / max(1, stable)


def _average(log_e: Sequence[float]) -> float:
    return float(mixed(np.full(len(log_e), -math.log(len(log_e))), np.array(log_e)))
