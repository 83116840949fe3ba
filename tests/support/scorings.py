"""Makers of profiles, scorings and counter rows with everything usual filled in."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from canary.stats.counts import CounterRow, Horizon, to_bytes
from canary.stats.profile import Profile, profile_cells
from canary.stats.scoring import Fact, Scoring, ScoringSpec, ends, freeze, pair_drops, pair_ends, pair_starts, starts
from canary.stats.spec import LatencyMargin
from canary.stats.values import value_profile_cells
from canary.stats.weigh import SegmentWeight
from canary.terms import Measures, MetricKind, MetricSpec, Scored
from tests.support.plain_scores import Request
from tests.support.streams import MINUTE_US, lognormal_answers, profile_of


@lru_cache(maxsize=8)
def a_profile(n: int = 2_000, *, median_s: float = 0.1, error_rate: float = 0.005, seed: int = 5) -> Profile:
    """The profile of an ordinary service: most answers within a second."""
    return profile_of(lognormal_answers(np.random.default_rng(seed), n, median_s=median_s, error_rate=error_rate))


def a_spec(**changes: object) -> ScoringSpec:
    """Deadlines of 10 and 3 s, four stages, a shadow."""
    usual = {"answer_timeout_s": 10.0, "connect_timeout_s": 3.0, "stage_factors": (10.0, 2.0, 1.0, 1.0)}
    return ScoringSpec(**{**usual, **changes})  # type: ignore[arg-type]


def a_scoring(**changes: object) -> Scoring:
    """The scoring of `a_spec` under `a_profile`."""
    return freeze(a_profile(), a_spec(**changes))


FIRST_BYTE = (LatencyMargin(quantile=0.95, rollback_d=0.05, promote_d=0.15),)
MEASURES = Measures(
    metrics=(
        MetricSpec(
            name="cost", kind=MetricKind.MEAN, source="header:x-cost", rollback_rho=1.02, promote_rho=1.1, share=0.1, cap=50.0
        ),
    ),
    classes=("chat", "code"),
    first_byte=True,
)


@lru_cache(maxsize=8)
def a_profile_of_classes(n: int = 3_000, *, seed: int = 5, errors: tuple[float, ...] = (0.005, 0.02, 0.1)) -> Profile:
    """60 % of no class, 30 % chat, 10 % code: each slower, dearer and worse than the one before."""
    rng = np.random.default_rng(seed)
    cells: dict[int, int] = {}
    for stratum in rng.choice(3, size=n, p=(0.6, 0.3, 0.1)).tolist():
        latency = int(np.exp(rng.normal(np.log(0.1 * (1 + stratum)), 0.7)) * 1e6)
        fact = Fact(
            age_us=latency + 1_000,
            latency_us=latency,
            ttfb_us=latency // 4,
            failed=bool(rng.random() < errors[stratum]),
            left=False,
            exchange_id=rng.bytes(16),
            values=(float(rng.exponential(1.0 + stratum)),),
        )
        found = profile_cells(fact, stratum=stratum, first_byte=True)
        for key in (*found, *value_profile_cells(MEASURES, fact, stratum)):
            cells[key] = cells.get(key, 0) + 1
    return Profile.of(cells)


def a_scoring_of_classes(**changes: object) -> Scoring:
    """Two classes and the rest, the time to the first byte, and a cost, frozen from `a_profile_of_classes`."""
    return freeze(a_profile_of_classes(), a_spec(**{"measures": MEASURES, "first_byte": FIRST_BYTE, **changes}))


def a_segment(**changes: object) -> SegmentWeight:
    """Segment 7: 5 % in the first stage."""
    usual = {"id": 7, "stage": 0, "weight_bp": 500, "scored": Scored.ALL}
    return SegmentWeight(**{**usual, **changes})  # type: ignore[arg-type]


def a_horizon(tick_at_us: int, *, journal: str = "j0", dead: bool = False) -> Horizon:
    """A journal that is complete up to a tick."""
    return Horizon(journal=journal, tick_at_us=tick_at_us, dead=dead)


def cells_of(scoring: Scoring, request: Request, *, seen_until_us: int | None = None) -> list[tuple[int, int]]:
    """(minute, key) of every cell that a courier has counted for a request by an instant; None: by its end."""
    keys: tuple[int, ...] = ()
    unit = request.fact.unit_hash
    at_us, stratum = request.start_us, request.stratum
    happened = [name for name, at_us in request.frames.items() if seen_until_us is None or at_us <= seen_until_us]
    if "start" in happened:
        keys += starts(scoring, request.arm, at_us, stratum=stratum, unit_hash=unit)
        keys += pair_starts(scoring, at_us, stratum=stratum, unit_hash=unit) if request.mirrored else ()
    if "end" in happened:
        keys += ends(scoring, request.arm, at_us, request.fact, stratum=stratum)
        if request.mirrored and request.dropped:
            keys += pair_drops(scoring, at_us, request.fact.age_us, stratum=stratum, unit_hash=unit)
    if "pair" in happened and request.shadow is not None:
        keys += pair_ends(scoring, at_us, request.fact, request.shadow, stratum=stratum)
    return [(at_us // MINUTE_US, key) for key in keys]


def rows_of_requests(
    scoring: Scoring,
    requests: Iterable[Request],
    *,
    segment: int = 7,
    journal: str = "j0",
    revision: int = 1,
    seen_until_us: int | None = None,
) -> list[CounterRow]:
    """One journal's rows, as its courier has them at an instant."""
    minutes: dict[int, dict[int, int]] = {}
    for request in requests:
        for minute, key in cells_of(scoring, request, seen_until_us=seen_until_us):
            cells = minutes.setdefault(minute, {})
            cells[key] = cells.get(key, 0) + 1
    return [
        CounterRow(rollout="r", segment=segment, journal=journal, minute=minute, cells=to_bytes(cells), revision=revision)
        for minute, cells in minutes.items()
    ]


def split_over(requests: Sequence[Request], places: Sequence[int]) -> dict[str, list[Request]]:
    """The requests by journal."""
    found: dict[str, list[Request]] = {}
    for request, place in zip(requests, places, strict=True):
        found.setdefault(f"j{place}", []).append(request)
    return found
