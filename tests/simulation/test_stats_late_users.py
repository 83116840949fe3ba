"""A sticky candidate that breaks after most of an hour, and equal ones over as long, through the real ledger and evidence.

Seeds are fixed and never chosen.
"""

import math

import msgspec
import numpy as np
import pytest

from canary.stats.freezing import freeze
from canary.stats.sticky_ledger import StickyLedger
from canary.stats.sticky_weigh import weigh_sticky
from tests.support.scorings import a_horizon, a_segment, a_spec
from tests.support.sticky_streams import UserStream, a_users_profile, first_rows, some_users, ticks_of
from tests.support.streams import EPOCH_US, MINUTE_US

pytestmark = pytest.mark.timeout(600)

SCORING = freeze(a_users_profile(1), a_spec(sticky=True))
RUNS = 40
N = 10_000
"""Requests, at two a second: 83 minutes, of which the candidate is good for 50."""


def minutes_to_rollback(stream: UserStream, weight: float) -> tuple[float, float]:
    """After how many minutes errors breach: with bets that begin later, and with that since the start alone; inf: never."""
    segments = [a_segment(weight_bp=round(1e4 * weight), stage=3, opened_minute=EPOCH_US // MINUTE_US)]
    ledger = StickyLedger()
    ledger.add_first(first_rows(SCORING, stream))
    found = [math.inf, math.inf]
    for tick_us in ticks_of(stream, SCORING):
        totals = ledger.settled([a_horizon(tick_us)], SCORING, segments)
        for place, one in enumerate((totals, msgspec.structs.replace(totals, late=None))):
            rows = weigh_sticky(one, SCORING, segments, stage=3).metrics
            if any(row.breached for row in rows if row.metric == "error_timeout"):
                found[place] = min(found[place], (tick_us - EPOCH_US) / MINUTE_US)
    return found[0], found[1]


def breaking(seed: int, *, weight: float, errors: float) -> UserStream:
    """Users whose candidate is good for 50 minutes; after that its share of failures is so many times as large."""
    return some_users(seed, users=5_000, weight=weight, n=N, per_s=2.0, errors=errors, good_us=50 * MINUTE_US)


@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_equal_candidates_are_rolled_back_for_errors_in_5_percent_of_runs_at_most(weight: float) -> None:
    streams = (some_users(seed, users=800, weight=weight, n=N, per_s=2.0) for seed in range(RUNS))
    assert sum(minutes_to_rollback(stream, weight)[0] < math.inf for stream in streams) <= 0.05 * RUNS


def test_what_breaks_late_is_found_sooner_than_by_the_bet_since_the_start() -> None:
    found = [minutes_to_rollback(breaking(seed, weight=0.5, errors=20.0), 0.5) for seed in range(RUNS // 2)]
    late, plain = (np.array(times) for times in zip(*found, strict=True))
    assert (late >= 50).mean() >= 0.95  # before that it is a good candidate
    assert (late < math.inf).sum() > (plain < math.inf).sum()
    assert np.median(late) < np.median(plain)
