"""A typical service, where nobody's own profile is known: stated figures, never taken for measured ones."""

from typing import Final

import numpy as np
from scipy.special import ndtri

from canary.stats.facts import Fact
from canary.stats.profile import Profile, profile_cells
from canary.terms import Frozen, RouteKind

OUTCOMES: Final = 5_000


class Figures(Frozen, frozen=True, kw_only=True):
    """Log-normal latencies with their median and 95 % quantile, and a rate of failures."""

    median_s: float
    p95_s: float
    errors: float


FIGURES: Final = {
    RouteKind.HTTP: Figures(median_s=0.1, p95_s=0.4, errors=0.005),
    RouteKind.LLM: Figures(median_s=0.9, p95_s=3.9, errors=0.005),
}


def typical_profile(kind: RouteKind, *, first_byte: bool = False) -> Profile:
    """The profile of `FIGURES`, by evenly spaced quantiles: no chance is in it."""
    figures = FIGURES[kind]
    failed = round(OUTCOMES * figures.errors)
    spread = np.log(figures.p95_s / figures.median_s) / float(ndtri(0.95))
    shares = (np.arange(OUTCOMES - failed) + 0.5) / (OUTCOMES - failed)
    latencies = figures.median_s * np.exp(spread * ndtri(shares)) * 1e6
    cells: dict[int, int] = {}
    for at, latency in enumerate([*latencies.tolist(), *([figures.median_s * 1e6] * failed)]):
        us = round(latency)
        fact = Fact(age_us=us, latency_us=us, failed=at >= len(latencies), left=False, ttfb_us=us // 2)
        for key in profile_cells(fact, first_byte=first_byte):
            cells[key] = cells.get(key, 0) + 1
    return Profile.of(cells)


def told(kind: RouteKind) -> str:
    """The figures in a sentence."""
    f = FIGURES[kind]
    return f"typical figures of kind {kind}: median {f.median_s:g} s, p95 {f.p95_s:g} s, {f.errors:.1%} errors"
