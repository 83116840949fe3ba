"""Makers of means: real token counts as costs, qualities, metrics frozen from them, and whole streams counted on the grid."""

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from canary.stats.grid import QUALITY_GRID, Grid, cost_grid, spread
from canary.stats.means import COST_EFFECTS, QUALITY_EFFECTS, Margin, MeanCounts, MeanMetric, promote_effects

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

TRACES = Path(__file__).parents[3] / "shared" / "data"
PRICES = (1.0, 8.0, 40.0)
"""Of three tiers, as multiples of the cheapest; 60, 30 and 10 % of the requests."""


@lru_cache(maxsize=1)
def tokens() -> Ints:
    """In and out tokens of real requests: the whole trace where it lies beside the checkout, the shipped sample otherwise."""
    whole = TRACES / "azure_llm_2023_conv.csv.gz"
    if whole.exists():
        with gzip.open(whole, "rt", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    else:
        sample = files("canary.demo") / "data" / "azure_conv_2023.csv"
        rows = list(csv.DictReader(sample.read_text(encoding="utf-8").splitlines()))
    return np.array([[int(row["in_tok"]), int(row["out_tok"])] for row in rows], dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Costs in nano-dollars and the task class of each: its price tier."""

    value: Floats
    stratum: Ints


def costs(rng: np.random.Generator, n: int) -> Costs:
    """Real token counts, at one of three prices each."""
    drawn = tokens()[rng.integers(0, len(tokens()), n)]
    stratum = rng.choice(3, size=n, p=[0.6, 0.3, 0.1])
    price = np.array(PRICES)[stratum]
    return Costs(value=(drawn[:, 0] * 50 + drawn[:, 1] * 200) * price, stratum=stratum)


def losses(rng: np.random.Generator, n: int) -> Floats:
    """1 - quality: 6 % worth nothing, the others good."""
    return np.where(rng.random(n) < 0.06, 1.0, 1 - rng.beta(8, 2, n))


def counted(values: Floats) -> dict[float, int]:
    """How often each value occurs."""
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def cost_metric(seed: int = 5, *, n: int = 5_000, strata: int = 3) -> MeanMetric:
    """Frozen from a profile of n costs; one stratum: classes are not told apart."""
    seen = costs(np.random.default_rng(seed), n)
    grid = cost_grid(counted(seen.value))
    parts = [seen.value[seen.stratum == s] for s in range(3)] if strata > 1 else [seen.value]
    return MeanMetric(name="cost", grid=grid, profile=tuple(spread(grid, counted(part)) for part in parts))


def quality_metric(seed: int = 5, *, n: int = 5_000) -> MeanMetric:
    """Frozen from a profile of n qualities."""
    seen = losses(np.random.default_rng(seed), n)
    return MeanMetric(name="quality", grid=QUALITY_GRID, profile=(spread(QUALITY_GRID, counted(seen)),), bounded=True)


def small_metric(**changes: Any) -> MeanMetric:
    """Four points, two strata: small enough to enumerate."""
    usual = {
        "name": "small",
        "grid": Grid(points=(0.0, 1.0, 2.5, 4.0)),
        "profile": ((4.0, 3.0, 2.0, 1.0), (1.0, 2.0, 3.0, 4.0)),
    }
    return MeanMetric(**{**usual, **changes})


def rollback_margin(metric: MeanMetric, **changes: Any) -> Margin:
    """The default tolerances: costs +2 %, quality loss +.5 points."""
    usual: dict[str, Any] = {"name": f"{metric.name}.rollback"}
    usual |= {"delta": 0.005, "effects": QUALITY_EFFECTS} if metric.bounded else {"rho": 1.02, "effects": COST_EFFECTS}
    return Margin(**{**usual, **changes})


def promote_margin(metric: MeanMetric, **changes: Any) -> Margin:
    """The default margins: costs +10 %, quality loss +2 points."""
    form = {"delta": 0.02} if metric.bounded else {"rho": 1.1}
    usual: dict[str, Any] = {"name": f"{metric.name}.promote", "promote": True, **form}
    rho, delta = changes.get("rho", form.get("rho", 1.0)), changes.get("delta", form.get("delta", 0.0))
    return Margin(**{**usual, "effects": promote_effects(metric, rho=rho, delta=delta), **changes})


def bins_of(grid: Grid, values: Floats, rng: np.random.Generator) -> Ints:
    """`bin_of` of known values, with numbers drawn in place of hashes."""
    return bins_at(grid, values, rng.random(len(values)))


def bins_at(grid: Grid, values: Floats, numbers: Floats) -> Ints:
    """The same with these numbers, from 0 to 1."""
    points = np.array(grid.points)
    upper = np.clip(np.searchsorted(points, values, side="left"), 1, len(points) - 1)
    share = (values - points[upper - 1]) / (points[upper] - points[upper - 1])
    rounded = np.where(numbers < share, upper, upper - 1)
    return np.where(values > grid.cap, grid.over, rounded)


def looks(bins: Ints, *, width: int, strata: int, each: int) -> Ints:
    """Cumulative counts after each `each` requests, [looks, strata, bins]; `bins` holds stratum * width + bin."""
    whole = len(bins) // each * each
    found = np.zeros((whole // each, strata * width), dtype=np.int64)
    np.add.at(found, (np.arange(whole) // each, bins[:whole]), 1)
    return found.cumsum(axis=0).reshape(-1, strata, width)


def cells_of(metric: MeanMetric, values: Floats, candidate: Bools, stratum: Ints, *, rng: np.random.Generator) -> Ints:
    """stratum * width + bin of each request of a canary."""
    width = metric.grid.width
    return stratum * 2 * width + np.where(candidate, 0, width) + bins_of(metric.grid, values, rng)


def mean_counts(counts: Ints, *, weight_bp: int = 5_000, segment: int = 7) -> MeanCounts:
    """One segment's counts as the statistics take them."""
    return MeanCounts(segment=segment, weight_bp=weight_bp, counts=tuple(tuple(row) for row in counts.tolist()))


def no_counts(metric: MeanMetric) -> Ints:
    """Zeros of a canary's shape."""
    return np.zeros((len(metric.profile), 2 * metric.grid.width), dtype=np.int64)


def summed(parts: Sequence[Ints]) -> Ints:
    """All of them together."""
    return np.sum(np.stack(list(parts)), axis=0)
