"""Seeded streams of requests: every rule is shown the same arrays, whatever else is measured on them.

Errors: .5 % of all requests. Latency: a mixture of three lognormals with p50 .88 s, p95 3.9 s, p99 10.6 s. Cost: token counts
of real conversations (the sample that ships with the package, so that anybody gets the same figures) at one of three prices.
Quality: 6 % of the answers are worth nothing, the others Beta(8, 2).
"""

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

METRICS: Final = ("errors", "latency", "cost", "quality")

ERRORS: Final = 0.005
MIXTURE: Final = ((0.85, 0.80, 0.44), (0.12, 2.6, 0.45), (0.03, 8.2, 0.57))
"""Share, median in seconds and sigma of each lognormal."""

TIMEOUT_S: Final = 60.0
CONNECT_US: Final = 1_000
PRICES: Final = (1.0, 8.0, 40.0)
PRICE_SHARES: Final = (0.6, 0.3, 0.1)
WORTHLESS: Final = 0.06
PER_S: Final = 100
"""Requests a second, where a rule asks for time."""

_POOL: Final = 1 << 18
_ARM, _FAILED, _LATENCY, _COST, _QUALITY = range(5)
"""Chance of each kind has a generator of its own: what is not asked for changes nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The candidate's weight, stage by stage: (weight in basis points, requests)."""

    name: str
    stages: tuple[tuple[int, int], ...]

    @property
    def n(self) -> int:
        """Requests of the whole run."""
        return sum(requests for _, requests in self.stages)

    def parts(self) -> list[tuple[int, slice]]:
        """Weight and place of each stage."""
        found, at = [], 0
        for weight_bp, requests in self.stages:
            found.append((weight_bp, slice(at, at + requests)))
            at += requests
        return found


def fixed(weight_bp: int, n: int) -> Schedule:
    """One weight for the whole run."""
    return Schedule(name=f"{weight_bp / 100:g} %", stages=((weight_bp, n),))


def ramp(n: int) -> Schedule:
    """1, 5, 25 and 50 %, a quarter of the requests each."""
    return Schedule(name="1-5-25-50 %", stages=tuple((weight_bp, n // 4) for weight_bp in (100, 500, 2_500, 5_000)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """In what the candidate differs from stable; a change in nothing is an equal candidate."""

    name: str
    metric: str = ""  # the one that it shows in
    errors: float = ERRORS  # the candidate's rate
    slower: float = 1.0  # times all of its latencies
    tail: float = 1.0  # times its slowest answers
    tail_share: float = 0.10  # how many these are
    dearer: float = 1.0
    loss: float = 0.0  # of mean quality, by answers that are worth nothing


EQUAL: Final = Change(name="equal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run; arrays hold one entry a request, in order, and are empty where their metric was not asked for."""

    schedule: Schedule
    candidate: Bools
    failed: Bools
    latency_us: Ints
    cost: Floats
    stratum: Ints
    loss: Floats

    @property
    def n(self) -> int:
        """Requests."""
        return len(self.candidate)

    def bad(self, metric: str) -> Floats:
        """The metric as one number a request, larger is worse."""
        if metric == "errors":
            return self.failed.astype(np.float64)
        return {"latency": self.latency_us.astype(np.float64), "cost": self.cost, "quality": self.loss}[metric]


def draw(seed: int, schedule: Schedule, change: Change, *, metrics: tuple[str, ...] = METRICS, drift: bool = False) -> Run:
    """One run. `drift`: errors grow from .2 to 1.6 % with a wave, and the wave is in latency, cost and quality of both arms."""
    n = schedule.n
    weights = np.repeat([weight_bp / 1e4 for weight_bp, _ in schedule.stages], [requests for _, requests in schedule.stages])
    candidate = _rng(seed, _ARM).random(n) < weights
    wave = np.sin(np.arange(n) * (2 * np.pi * 5 / n)) if drift else np.zeros(1)
    stable_errors = np.linspace(0.002, 0.016, n) * (1 + 0.3 * wave) if drift else ERRORS
    none, no_ints = np.zeros(0), np.zeros(0, dtype=np.int64)
    latency, cost, stratum, loss = no_ints, none, no_ints, none
    rate = np.where(candidate, change.errors if change.errors != ERRORS else stable_errors, stable_errors)
    failed = _rng(seed, _FAILED).random(n) < rate
    if "latency" in metrics:
        seconds = changed_latency(latencies(_rng(seed, _LATENCY), n), candidate, change) * (1 + 0.3 * wave)
        latency = (np.minimum(seconds, TIMEOUT_S - 1) * 1e6).astype(np.int64)
    if "cost" in metrics:
        cost, stratum = costs(_rng(seed, _COST), n)
        cost = cost * np.where(candidate, change.dearer, 1.0) * (1 + 0.3 * wave)
    if "quality" in metrics:
        rng = _rng(seed, _QUALITY)
        worthless = change.loss / (1 - mean_loss())
        loss = np.where(candidate & (rng.random(n) < worthless), 1.0, losses(rng, n))
        loss = np.where(rng.random(n) < 0.05 * (1 + wave), 1.0, loss) if drift else loss
    return Run(schedule=schedule, candidate=candidate, failed=failed, latency_us=latency, cost=cost, stratum=stratum, loss=loss)


def _rng(seed: int, kind: int) -> np.random.Generator:
    return np.random.default_rng([seed, kind])


def latencies(rng: np.random.Generator, n: int) -> Floats:
    """Seconds from the written request to the answer's end."""
    part = np.searchsorted(np.cumsum([share for share, _, _ in MIXTURE])[:-1], rng.random(n))
    medians, sigmas = (np.array(column) for column in list(zip(*MIXTURE, strict=True))[1:])
    return np.asarray(medians[part] * np.exp(sigmas[part] * rng.standard_normal(n)))


@lru_cache(maxsize=4)
def slowest_from_s(share: float) -> float:
    """Where the slowest answers begin."""
    return float(np.quantile(latencies(np.random.default_rng(1), 1 << 20), 1 - share))


def changed_latency(seconds: Floats, candidate: Bools, change: Change) -> Floats:
    """The candidate's latencies made longer."""
    if change.tail != 1:
        seconds = np.where(candidate & (seconds > slowest_from_s(change.tail_share)), seconds * change.tail, seconds)
    return seconds * np.where(candidate, change.slower, 1.0)


@lru_cache(maxsize=1)
def token_costs() -> Floats:
    """Costs of real requests at the cheapest price, in nano-dollars: 50 for a token in, 200 for one out."""
    text = (files("canary.demo") / "data" / "azure_conv_2023.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    return np.array([int(row["in_tok"]) * 50 + int(row["out_tok"]) * 200 for row in rows], dtype=np.float64)


def costs(rng: np.random.Generator, n: int) -> tuple[Floats, Ints]:
    """Costs and the price tier of each, which is its task class."""
    base = token_costs()[rng.integers(0, len(token_costs()), n)]
    stratum = np.searchsorted(np.cumsum(PRICE_SHARES)[:-1], rng.random(n)).astype(np.int64)
    return base * np.array(PRICES)[stratum], stratum


@lru_cache(maxsize=1)
def _losses() -> Floats:
    rng = np.random.default_rng(2)
    return np.where(rng.random(_POOL) < WORTHLESS, 1.0, 1 - rng.beta(8, 2, _POOL))


def mean_loss() -> float:
    """Stable's 1 - quality."""
    return float(_losses().mean())


def losses(rng: np.random.Generator, n: int) -> Floats:
    """1 - quality of each answer, from a pool drawn once."""
    return _losses()[rng.integers(0, _POOL, n)]
