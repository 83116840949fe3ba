"""Makers of profiles, scorings and counter rows with everything usual filled in."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from canary.stats.counts import CounterRow, Horizon, to_bytes
from canary.stats.profile import Profile
from canary.stats.scoring import Scoring, ScoringSpec, ends, freeze, pair_drops, pair_ends, pair_starts, starts
from canary.stats.weigh import SegmentWeight
from canary.terms import Scored
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
    happened = [name for name, at_us in request.frames.items() if seen_until_us is None or at_us <= seen_until_us]
    if "start" in happened:
        keys += starts(scoring, request.arm, request.start_us)
        keys += pair_starts(scoring, request.start_us) if request.mirrored else ()
    if "end" in happened:
        keys += ends(scoring, request.arm, request.start_us, request.fact)
        if request.mirrored and request.dropped:
            keys += pair_drops(scoring, request.start_us, request.fact.age_us)
    if "pair" in happened and request.shadow is not None:
        keys += pair_ends(scoring, request.start_us, request.fact, request.shadow)
    return [(request.start_us // MINUTE_US, key) for key in keys]


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
