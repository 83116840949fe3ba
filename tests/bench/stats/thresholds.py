"""Rules that hold the candidate, or the difference of two point estimates, against a fixed number.

Flagger (fluxcd.io/flagger/usage/metrics and how-it-works): each interval, 60 s by default, the candidate's success rate in that
interval must be at least 99 % and its p99 at most a threshold, the examples of its documentation; a check that does not pass,
or that finds no value, adds one to a count that only a new revision resets, and the rollout is undone at `threshold` of them.

Argo Rollouts (argo-rollouts.readthedocs.io, features/analysis): each interval a query gives a measurement; it fails below the
condition (success rate >= 95 % in the documentation's example), and more than `failureLimit` failures (0 by default, 3 in
that example, at an interval of 5 minutes) fail the analysis. A measurement without a value is an error, and more than
`consecutiveErrorLimit` (4 by default) of them in a row fail it too.

arbr (project-arbr/arbr-control-plane, features "Canary rollout & auto-rollback" and the defaults of its monitor): every 5
minutes, over the last hour, from 20 candidate requests on, point estimates are compared: error rate +2 points, p95 of the
successes +25 %, mean cost. Its default asks the candidate to save 10 % of the cost, which rolls every equal candidate back;
here it may cost 10 % more.
"""

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from tests.bench.stats.draws import Run

SUCCESS: Final = 0.99
ARGO_SUCCESS: Final = 0.95
CONSECUTIVE_ERRORS: Final = 4
ARBR_ERRORS: Final = 0.02
ARBR_P95: Final = 0.25
ARBR_COST: Final = 0.10
ARBR_LEAST: Final = 20
ARBR_WINDOW_S: Final = 3_600


def windows(n: int, seconds: float, per_s: float) -> Iterator[slice]:
    """Whole intervals of time."""
    each = max(1, round(seconds * per_s))
    return (slice(at, at + each) for at in range(0, n - each + 1, each))


def flagger(run: Run, metric: str, *, failed_checks: int, p99_us: float, per_s: float) -> float:
    """After how many requests the count of failed checks is reached; for errors or for latency, each alone."""
    failures = 0
    for window in windows(run.n, 60, per_s):
        mine = run.candidate[window]
        if not mine.any():
            passes = False
        elif metric == "errors":
            passes = float(run.failed[window][mine].mean()) <= 1 - SUCCESS
        else:
            passes = float(np.quantile(run.latency_us[window][mine], 0.99)) <= p99_us
        failures += not passes
        if failures >= failed_checks:
            return float(window.stop)
    return math.inf


def argo(run: Run, *, success: float, interval_s: float, failure_limit: int, per_s: float) -> float:
    """After how many requests the analysis of the success rate fails."""
    failures, errors = 0, 0
    for window in windows(run.n, interval_s, per_s):
        mine = run.candidate[window]
        if not mine.any():
            errors += 1
        else:
            errors = 0
            failures += float(run.failed[window][mine].mean()) > 1 - success
        if failures > failure_limit or errors > CONSECUTIVE_ERRORS:
            return float(window.stop)
    return math.inf


def point_estimates(run: Run, metric: str, *, interval_s: float, per_s: float) -> float:
    """After how many requests one estimate of the last hour lies beyond its limit."""
    least = round(ARBR_WINDOW_S * per_s)
    for window in windows(run.n, interval_s, per_s):
        part = slice(max(0, window.stop - least), window.stop)
        mine = run.candidate[part]
        if mine.sum() >= ARBR_LEAST and not mine.all() and _is_beyond(run, metric, part):
            return float(window.stop)
    return math.inf


def _is_beyond(run: Run, metric: str, part: slice) -> bool:
    mine, failed = run.candidate[part], run.failed[part]
    if metric == "errors":
        return float(failed[mine].mean() - failed[~mine].mean()) > ARBR_ERRORS
    candidate, stable = mine & ~failed, ~mine & ~failed
    if not candidate.any() or not stable.any():
        return False
    if metric == "latency":
        latency = run.latency_us[part]
        return float(np.quantile(latency[candidate], 0.95)) > (1 + ARBR_P95) * float(np.quantile(latency[stable], 0.95))
    cost = run.cost[part]
    return float(cost[candidate].mean()) > (1 + ARBR_COST) * float(cost[stable].mean())
