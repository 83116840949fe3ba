"""Limits that a plan sets the candidate alone, whatever stable does: over one people are told, and nothing is rolled back.

The null of each is that every request keeps to it given the past: h = y - limit on the candidate's requests alone. An outage
that both arms share speaks against the candidate too, which is why a limit only alerts.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from canary.rollout import words
from canary.rollout.counted import Counted
from canary.rollout.plan import QUANTILE_LIMITS, Plan
from canary.stats.contrast import Rule
from canary.stats.evidence import Alert, Evidence, MetricEvidence
from canary.stats.guards import limit_log_e, mean_limit_log_e
from canary.stats.scoring import Scoring
from canary.stats.value_plan import Form, ValueMetric
from canary.stats.value_sides import Place
from canary.terms import Frozen, Scored

ALPHA: Final = 0.05
"""Chance that a limit's alert is ever wrong."""

ERROR: Final = "error"


class _Over(Frozen, frozen=True, kw_only=True):
    """Evidence that a limit is broken, and the sentence that says by what."""

    log_e: float
    said: str
    looks: int = 1  # sequences of which this is the loudest


def limit_alerts(plan: Plan, counted: Sequence[Counted], scoring: Scoring, evidence: Evidence) -> Iterable[Alert]:
    """Limits that the candidate is over, and those that guard nothing."""
    for name, limit in sorted(plan.limits.items()):
        found = _found(name, limit, counted, scoring, evidence)
        if isinstance(found, str):
            yield Alert(name=f"limit:{name}", because=f"the limit on {words.name_of(name)} guards nothing: {found}")
        elif found is not None and found.log_e >= math.log(found.looks / ALPHA):
            because = f"{words.name_of(name)} on the candidate {found.said}, {words.e_value(found.log_e)}"
            yield Alert(name=f"limit:{name}", because=because)


def _found(name: str, limit: float, counted: Sequence[Counted], scoring: Scoring, evidence: Evidence) -> _Over | str | None:
    """What is known of a limit; a text: why it guards nothing; None: its metric says nothing at present."""
    if name == ERROR:
        return _rate(limit, list(_errors(counted, scoring)))
    if name in QUANTILE_LIMITS:
        return _quantile(name, limit, counted, scoring)
    row = next((row for row in evidence.metrics if row.metric == name), None)
    if row is None:
        return "no such metric is counted"
    if row.abstains:
        return None
    metric = next((one for one in scoring.values.metrics if one.name == name), None)
    if metric is not None and metric.form in {Form.AMOUNT, Form.QUALITY}:
        return _mean(metric, limit, counted, scoring, row=row)
    return _rate(limit, [(row.n_candidate, row.bad_candidate)])


def _rate(limit: float, found: Sequence[tuple[int, int]]) -> _Over | str:
    """`found` holds (settled, bad) of the candidate by each count there is; each is a sequence of its own."""
    if limit >= 1:
        return f"a rate is never over {limit:g}"
    log_e, n, bad = max((limit_log_e(limit, n=n, bad=bad), n, bad) for n, bad in found)
    said = f"{words.share(bad, n)} ({bad:,}/{n:,}), over the limit of {limit * 100:g} %"
    return _Over(log_e=log_e, said=said, looks=len(found))


def _quantile(name: str, limit_s: float, counted: Sequence[Counted], scoring: Scoring) -> _Over | str:
    """A quantile keeps to a latency where no more than its share of the answers failed or took longer."""
    place = next((i for i, contrast in enumerate(scoring.contrasts) if contrast.name == f"{name}.limit"), None)
    if place is None:
        return f"no answer may take {words.span(limit_s)}, the route's deadline comes first"
    allowed = QUANTILE_LIMITS[name]
    fours = [one.four(place) for one in counted if one.segment.scored is Scored.ALL]
    n, bad = sum(four.candidate for four in fours), sum(four.candidate_bad for four in fours)
    limit = f"{limit_s * 1000:,.0f} ms"
    said = f"over the limit of {limit}: {words.share(bad, n)} ({bad:,}/{n:,}) failed or took longer, {allowed * 100:g} % may"
    return _Over(log_e=limit_log_e(allowed, n=n, bad=bad), said=said)


def _mean(
    metric: ValueMetric, limit: float, counted: Sequence[Counted], scoring: Scoring, *, row: MetricEvidence
) -> _Over | str | None:
    """Values cut to the grid's cap, which only makes the mean smaller; an unknown one is taken as the best."""
    if scoring.spec.sticky:
        return "where users stay on their arm means are not counted by request"
    assert metric.mean is not None, "a metric without a grid abstains"
    grid, cap = metric.mean.grid, metric.spec.cap
    if metric.form is Form.QUALITY:
        assert cap, "a quality without a cap abstains"
        scored, side = 1 - limit / cap, "under"
        if scored <= 0:
            return f"nothing is worth more than {words.amount(cap, row.unit)}"
    else:
        scored, side = limit, "over"
        if scored >= grid.cap:
            most = words.amount(grid.cap, row.unit)
            return f"values are cut to {most} before they are averaged: give it a cap above the limit"
    if row.mean_candidate is None:
        return None
    place, values = Place(scoring.values, metric), np.array([*grid.points, grid.cap, 0.0])
    rows = [place.canary(np.array(one.found.values, dtype=np.int64)) for one in _settled(counted)]
    counts = sum((row.sum(axis=0)[: len(values)] for row in rows), np.zeros(len(values)))
    mean, bound = words.amount(row.mean_candidate, row.unit), words.amount(limit, row.unit)
    said = f"{mean} on average of {int(counts.sum()):,}, {side} the limit of {bound}"
    return _Over(log_e=mean_limit_log_e(scored, values=values, counts=counts), said=said)


def _settled(counted: Sequence[Counted]) -> Iterator[Counted]:
    yield from (one for one in counted if one.found.values and one.segment.scored is Scored.ALL)


def _errors(counted: Sequence[Counted], scoring: Scoring) -> Iterator[tuple[int, int]]:
    """(settled, failed) of the candidate at each age."""
    for index, contrast in enumerate(scoring.contrasts):
        if contrast.rule is Rule.BAD and not contrast.pairs:
            fours = [one.four(index) for one in counted]
            yield sum(four.candidate for four in fours), sum(four.candidate_bad for four in fours)
