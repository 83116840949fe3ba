"""Promotion is by the weakest guardrail: what is equal never carries what is worse. Beside each rule stands its average."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from canary.stats.bets import mixed
from tests.bench.stats.draws import ERRORS, Floats, draw, fixed
from tests.bench.stats.margins import latency_tail
from tests.bench.stats.ours import LATENCIES, NEED_PROMOTE, engine_of, looks_of
from tests.bench.stats.rules import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted:
    """In how many runs a candidate passes by the weakest, and by the average of the same e-values."""

    runs: int
    weakest: int
    averaged: int


def doubled_p99(runs: int, *, n: int, weight_bp: int = 5_000) -> Promoted:
    """Answers beyond the p97 take twice as long: p50 and p95 are equal, the p99 doubles."""
    change = latency_tail(2.0, 0.03)
    weakest, averaged = 0, 0
    for seed in range(runs):
        case = Case(run=draw(seed, fixed(weight_bp, n), change, metrics=("latency",)), seed=seed)
        paths = np.stack([case.gate_path(name) for name in LATENCIES], axis=1)
        weakest += _passes(paths.min(axis=1))
        averaged += _passes(mixed(np.full(3, -math.log(3)), paths))
    return Promoted(runs=runs, weakest=weakest, averaged=averaged)


RATES: Final = (0.0001, 0.0118, 0.0118, 0.0118)
"""Of the candidate in four classes of equal size: 1.78 times stable's .5 % over all."""


def one_good_class(runs: int, *, n: int, weight_bp: int = 5_000) -> Promoted:
    """Errors of four classes, of which one got better and three got worse; a gate for each class, or their average."""
    after = looks_of(n)
    steps, weight = np.diff(after, prepend=0), weight_bp / 1e4
    weakest, averaged = 0, 0
    for seed in range(runs):
        rng = np.random.default_rng([41, seed])
        shares = np.array([[weight * rate, weight * (1 - rate)] for rate in RATES])
        stable = np.tile([(1 - weight) * ERRORS, (1 - weight) * (1 - ERRORS)], (4, 1))
        chances = np.concatenate([shares, stable], axis=1) / 4
        counts = rng.multinomial(steps, chances.ravel()).reshape(len(after), 4, 4).cumsum(axis=0)
        paths = _error_gates(seed, counts, weight_bp)
        pooled = _error_gates(seed, counts.sum(axis=1, keepdims=True), weight_bp)[:, 0]
        weakest += _passes(np.minimum(paths.min(axis=1), pooled))
        averaged += _passes(mixed(np.full(4, -math.log(4)), paths))
    return Promoted(runs=runs, weakest=weakest, averaged=averaged)


def _error_gates(seed: int, counts: Floats, weight_bp: int) -> Floats:
    """Log e of the errors' promote side, [looks, classes]."""
    rates = engine_of(seed).shipped
    column = rates.index["error.promote.1"]
    parts = counts @ rates.factors(weight_bp)[column].T
    return mixed(rates.log_prior[column], parts)


def _passes(path: Floats) -> bool:
    return bool((path >= NEED_PROMOTE).any())
