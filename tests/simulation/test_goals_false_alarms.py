"""Goal 1, small: an equal candidate is rolled back by errors, latency, cost or quality together in 5 % of runs at most.

Seeds are fixed and never chosen; the bound is the promise itself, and pooling the counts of a ramp must break it.
The full version: `python -m tests.bench stats --goals --only "goal 1 requests"`. Users who stay: `test_goals_users.py`.
"""

import pytest

from tests.bench.stats.bounds import lower
from tests.bench.stats.draws import Schedule, fixed, ramp
from tests.bench.stats.family import false_rollbacks, pooled_false_rollbacks

pytestmark = pytest.mark.timeout(300)

ALPHA = 0.05


@pytest.mark.parametrize("schedule", [fixed(500, 12_000), fixed(5_000, 12_000), ramp(24_000)], ids=lambda s: s.name)
def test_an_equal_candidate_is_rolled_back_in_5_percent_of_runs_at_most(schedule: Schedule) -> None:
    assert false_rollbacks(schedule, 80) / 80 <= ALPHA


def test_so_it_is_while_everything_drifts_on_a_ramp() -> None:
    assert false_rollbacks(ramp(24_000), 60, drift=True) / 60 <= ALPHA


def test_pooling_the_counts_of_that_ramp_breaks_the_promise() -> None:
    """Errors grow from .2 to 1.6 % while the candidate's share grows from 1 to 50 %: so most of them are its own."""
    runs = 20
    assert lower(pooled_false_rollbacks(ramp(80_000), runs), runs) > ALPHA
