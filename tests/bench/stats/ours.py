"""Our own engine on whole runs at once: cells are counted for each look and multiplied with the product's own tables.

What a cell means is asked of the product's counters, one request of each kind through starts, ends and the ledger. What a
count is worth is asked of `bets.factors_of` and `means.log_factors`. Nothing of the statistics is written here a second time;
`tests/simulation/test_goals_engine.py` holds this against `weigh` itself.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from canary.stats.bets import mixed
from canary.stats.counts import Ledger
from canary.stats.facts import Fact
from canary.stats.family import factors_of, family_of
from canary.stats.freezing import freeze
from canary.stats.frozen import Scoring
from canary.stats.grid import QUALITY_GRID, cost_grid, spread
from canary.stats.means import Margin, MeanMetric, combined
from canary.stats.means import log_factors as mean_factors
from canary.stats.profile import Profile
from canary.stats.spec import ErrorMargin, LatencyMargin, ScoringSpec, Shares
from canary.terms import Arm
from tests.bench.stats.draws import CONNECT_US, ERRORS, TIMEOUT_S, Bools, Floats, Ints, Run, costs, latencies, losses
from tests.support.plain_scores import Request
from tests.support.scorings import a_horizon, rows_of_requests
from tests.support.streams import EPOCH_US, Answers, profile_of
from tests.support.values import bins_of, counted, promote_margin, rollback_margin

PROFILE: Final = 5_000
PROFILES: Final = 8
"""Runs take turns with this many profiles, each drawn anew: thresholds and bets carry the noise that they have in service."""

ALPHA: Final = 0.05
RARE_GUARDS: Final = 4
"""Throughput, client errors, clients that leave, costs over the cap: they share what there is for rare ones."""

SHARES: Final = {
    "error_fast": Shares().error_fast,
    "error": Shares().error,
    "error_timeout": Shares().error_timeout,
    "latency": Shares().latency,
    "throughput": Shares().rare / RARE_GUARDS,
    "cost": 0.10,
    "quality": 0.10,
}
"""Of the rollback error budget, in a plan that guards these."""
WHOLE: Final = sum(SHARES.values()) + Shares().rare * (1 - 1 / RARE_GUARDS)
"""What the shares of all guards add up to; those that are not simulated here have their part of the budget all the same."""

LATENCIES: Final = ("p50", "p95", "p99")
GATES: Final = ("errors", *LATENCIES, "cost", "quality")
MIN_EVENTS: Final = ScoringSpec(answer_timeout_s=1, connect_timeout_s=1).min_candidate_events
_LATE_US: Final = 10**15


def need(name: str, *, alpha: float = ALPHA) -> float:
    """What a metric's log e-value must reach for a rollback when all four kinds share one budget."""
    return -math.log(alpha * SHARES[name] / WHOLE)


NEED_ALONE: Final = -math.log(ALPHA)
NEED_PROMOTE: Final = -math.log(ALPHA)


def looks_of(n: int) -> Ints:
    """After how many requests one looks: after each of the first 100, then by tens, hundreds, two hundreds, and at the end."""
    steps = [np.arange(1, 101), np.arange(110, 1_001, 10), np.arange(1_100, 20_001, 100), np.arange(20_200, n + 1, 200)]
    looks = np.concatenate(steps)
    return np.unique(np.append(looks[looks < n], n))


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """The looks of a run, and at which one each request is seen first."""

    after: Ints
    place: Ints

    @classmethod
    def at(cls, after: Ints) -> "Looks":
        return cls(after=after, place=np.searchsorted(after, np.arange(int(after[-1])), side="right"))


@lru_cache(maxsize=16)
def looks(n: int, each: int = 0) -> Looks:
    """The usual looks of n requests, or one after every `each`."""
    return Looks.at(np.arange(each, n + 1, each) if each else looks_of(n))


def _counts(place: Ints, bins: Ints, width: int, size: int) -> Floats:
    """Cumulative counts at each look, [looks, bins]."""
    flat = np.bincount(place * width + bins, minlength=size * width)
    return np.asarray(flat.reshape(size, width).cumsum(axis=0), dtype=np.float64)


class Rates:
    """Errors and latency under one scoring."""

    def __init__(self, scoring: Scoring) -> None:
        self.scoring = scoring
        self.log_prior = family_of(scoring).log_prior[:, 0]  # [contrasts, bets]
        self.index = {contrast.name: place for place, contrast in enumerate(scoring.contrasts)}
        ages = [age - CONNECT_US for age in scoring.ages_us]
        self.edges = np.array(sorted({*scoring.candidate_us, *scoring.stable_us, *ages}), dtype=np.int64)
        self.kinds = 2 * 2 * (len(self.edges) + 1)  # arm, failed, class of latency
        self.meaning = np.stack([self._meaning(kind) for kind in range(self.kinds)])  # [kinds, contrasts, 4]

    def _meaning(self, kind: int) -> Floats:
        """The four counts of every contrast that one request of this kind adds up to, by the product's own counters."""
        rest, level = divmod(kind, len(self.edges) + 1)
        stable, failed = divmod(rest, 2)
        latency = int(self.edges[level]) if level < len(self.edges) else int(self.edges[-1]) + 1
        fact = Fact(age_us=latency + CONNECT_US, latency_us=latency, failed=bool(failed), left=False)
        request = Request(start_us=EPOCH_US, arm=Arm.STABLE if stable else Arm.CANDIDATE, fact=fact)
        ledger = Ledger()
        ledger.add(rows_of_requests(self.scoring, [request]))
        totals = ledger.settled([a_horizon(EPOCH_US + _LATE_US)], self.scoring)
        return np.array(totals.segments[7].counts, dtype=np.float64).reshape(len(self.scoring.contrasts), -1)

    def kinds_of(self, candidate: Bools, failed: Bools, latency_us: Ints) -> Ints:
        """The kind of each request."""
        level = np.searchsorted(self.edges, latency_us, side="left")
        return np.asarray((~candidate * 2 + failed) * (len(self.edges) + 1) + level)

    def paths(self, run: Run, at: Looks) -> tuple[Floats, Floats]:
        """Log e of every contrast's bets, [looks, contrasts, bets], and its candidate events, [looks, contrasts]."""
        latency = run.latency_us if len(run.latency_us) else np.zeros(run.n, dtype=np.int64)
        kinds = self.kinds_of(run.candidate, run.failed, latency)
        size, shape = len(at.after), (len(at.after), *self.log_prior.shape)
        parts, events = np.zeros(shape), np.zeros(shape[:2])
        for weight_bp, part in run.schedule.parts():
            counts = _counts(at.place[part], kinds[part], self.kinds, size)
            worth = np.einsum("kcf,cbf->kcb", self.meaning, self.factors(weight_bp))
            parts += (counts @ worth.reshape(self.kinds, -1)).reshape(shape)
            events += counts @ self.meaning[:, :, 0]
        return parts, events

    def factors(self, weight_bp: int) -> Floats:
        """Log factors, [contrasts, bets, 4]; there are no task classes here, so all requests are one stratum."""
        return factors_of(self.scoring, weight_bp)[0][:, :, 0]

    def one(self, parts: Floats, name: str) -> Floats:
        """Log e of one contrast at every look."""
        column = self.index[name]
        return mixed(self.log_prior[column], parts[:, column])

    def side(self, parts: Floats, names: Iterable[str]) -> tuple[Floats, Callable[[Floats], Floats]]:
        """The components of a rollback side's contrasts, side by side, and what combines them: the mean over thresholds."""
        columns = [self.index[name] for name in names]
        prior = self.log_prior[columns]
        share = np.full(len(columns), -math.log(len(columns)))

        def combine(found: Floats) -> Floats:
            return mixed(share, mixed(prior, found.reshape(*found.shape[:-1], *prior.shape)))

        return parts[:, columns].reshape(len(parts), -1), combine


class Means:
    """Cost or quality: both sides of one metric."""

    def __init__(self, metric: MeanMetric) -> None:
        self.metric = metric
        self.width = 2 * metric.grid.width

    def bins(self, run: Run, rng: np.random.Generator) -> Ints:
        """stratum * width + bin of each request."""
        values, stratum = (
            (run.loss, 0) if self.metric.bounded else (run.cost, run.stratum if len(self.metric.profile) > 1 else 0)
        )
        return np.asarray(stratum * self.width + np.where(run.candidate, 0, self.width // 2) + self._points(values, rng))

    def _points(self, values: Floats, rng: np.random.Generator) -> Ints:
        return bins_of(self.metric.grid, values, rng)

    def paths(self, run: Run, at: Looks, margins: Iterable[Margin], *, seed: int) -> list[Floats]:
        """The components of each margin at every look, [looks, pools * alternatives]; `combine` makes log e of them."""
        bins, size = self.bins(run, np.random.default_rng([seed, 99])), len(at.after)
        margins, totals = list(margins), {}
        for weight_bp, part in run.schedule.parts():
            counts = _counts(at.place[part], bins[part], len(self.metric.profile) * self.width, size)
            for margin in margins:
                factors = mean_factors(self.metric, margin, weight_bp)
                found = counts @ factors.reshape(-1, factors.shape[2] * factors.shape[3]).T
                totals[margin] = totals.get(margin, 0.0) + found
        return [totals[margin] for margin in margins]

    def combine(self, margin: Margin) -> Callable[[Floats], Floats]:
        """What makes one log e-value of a margin's components."""
        return lambda parts: combined(self.metric, margin, parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """All that is frozen before a rollout starts: as shipped, and with nothing tolerated for comparing methods.

    As shipped the route tells no classes apart; of the price tiers only `cost_by_class` knows.
    """

    shipped: Rates
    strict: Rates
    cost: Means
    cost_by_class: Means
    quality: Means

    def margins(self, kind: str) -> tuple[Margin, Margin, Margin]:
        """Rollback as shipped, rollback with nothing tolerated, promotion."""
        metric = self.cost.metric if kind == "cost" else self.quality.metric
        shipped = rollback_margin(metric)
        return shipped, Margin(name=f"{kind}.strict", effects=shipped.effects), promote_margin(metric)


def spec(**changes: object) -> ScoringSpec:
    """One stage, no shadow, a timeout of 60 s; else the product's defaults."""
    usual = {"answer_timeout_s": TIMEOUT_S, "connect_timeout_s": 3.0, "shadow_lane_weight": 0.0, "stage_factors": (1.0,)}
    return ScoringSpec(**{**usual, **changes})  # type: ignore[arg-type]


STRICT: Final[Mapping[str, object]] = {
    "error": ErrorMargin(rollback_rho=1.0, rollback_delta=0.0),
    "latency": tuple(
        LatencyMargin(quantile=q, rollback_d=0.0, promote_d=d) for q, d in ((0.5, 0.1), (0.95, 0.15), (0.99, 0.25))
    ),
}


def profile(seed: int) -> Profile:
    """Of 5,000 requests of stable."""
    rng = np.random.default_rng([7, seed])
    latency = (latencies(rng, PROFILE) * 1e6).astype(np.int64)
    return profile_of(Answers.of(age_us=latency + CONNECT_US, latency_us=latency, failed=rng.random(PROFILE) < ERRORS))


@lru_cache(maxsize=PROFILES)
def engine(seed: int) -> Engine:
    """Frozen from a profile of its own."""
    rng, seen_rates = np.random.default_rng([8, seed]), profile(seed)
    value, stratum = costs(rng, PROFILE)
    seen, grid = losses(rng, PROFILE), cost_grid(counted(value))
    told = tuple(spread(grid, counted(value[stratum == place])) for place in range(3))
    quality = MeanMetric(name="quality", grid=QUALITY_GRID, profile=(spread(QUALITY_GRID, counted(seen)),), bounded=True)
    return Engine(
        shipped=Rates(freeze(seen_rates, spec())),
        strict=Rates(freeze(seen_rates, spec(**STRICT))),
        cost=Means(MeanMetric(name="cost", grid=grid, profile=(spread(grid, counted(value)),))),
        cost_by_class=Means(MeanMetric(name="cost", grid=grid, profile=told)),
        quality=Means(quality),
    )


def engine_of(seed: int) -> Engine:
    """The engine whose turn it is."""
    return engine(seed % PROFILES)
