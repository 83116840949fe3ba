"""Goal 1 for users who stay, small: the product's own evidence rolls an equal candidate back in 5 % of runs at most.

Seeds are fixed and never chosen; the bound is the promise itself. Counting requests as if each had a coin of its own must break
it. The full version: `python -m tests.bench stats --goals --only "goal 1 users"`.
"""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from canary.stats.counts import CounterRow, to_bytes
from canary.stats.first_event import FirstEventRow
from canary.stats.frozen import Scoring
from canary.stats.grid import rounding_number
from canary.stats.scoring import ends, starts
from canary.stats.sticky_ledger import StickyLedger
from canary.stats.sticky_weigh import weigh_sticky
from canary.stats.unit_events import ERROR, fails, late_metric, unit_metric
from canary.terms import Arm
from tests.bench.stats.bounds import lower
from tests.bench.stats.crowds import MEASURES, Visits, Weights, scoring_of, stages_of, visits
from tests.bench.stats.draws import EQUAL, Change
from tests.bench.stats.family import sticky_false_rollbacks, sticky_rolled_back
from tests.bench.stats.kept import Kept, seconds_of
from tests.bench.stats.settled import MINUTE_US, SEGMENT, Stages, settled, ticks
from tests.support.scorings import a_horizon

pytestmark = pytest.mark.timeout(300)

ALPHA = 0.05
WORLDS = [(5_000, (0.05,)), (5_000, (0.5,)), (800, (0.5,)), (5_000, (0.05, 0.25, 0.5))]


def exchange(index: int) -> bytes:
    return index.to_bytes(16, "big")


def rounded_as_the_product_does(world: Visits) -> Visits:
    """With the numbers of the product's hashes in place of drawn ones."""
    numbers = [[rounding_number(exchange(index), spec.name) / 2**64 for index in range(world.n)] for spec in MEASURES.metrics]
    return dataclasses.replace(world, rounding=np.array(numbers))


def rows_of(world: Visits, scoring: Scoring, weights: Weights) -> Iterator[CounterRow]:
    """As couriers count them, request by request."""
    minutes: dict[tuple[int, int], dict[int, int]] = {}
    segments = SEGMENT + stages_of(world.start_us, weights)
    for index in range(world.n):
        at_us, arm = int(world.start_us[index]), Arm.CANDIDATE if world.candidate[index] else Arm.STABLE
        fact = world.fact(index, exchange_id=exchange(index))
        cells = minutes.setdefault((int(segments[index]), at_us // MINUTE_US), {})
        for key in (*starts(scoring, arm, at_us, unit_hash=fact.unit_hash), *ends(scoring, arm, at_us, fact)):
            cells[key] = cells.get(key, 0) + 1
    for (segment, minute), cells in minutes.items():
        yield CounterRow(rollout="r", segment=segment, journal="j0", minute=minute, cells=to_bytes(cells), revision=1)


def firsts_of(world: Visits, scoring: Scoring, weights: Weights, index: int) -> Iterator[FirstEventRow]:
    """What one request tells of its user; to tell it twice changes nothing."""
    at_us, arm = int(world.start_us[index]), Arm.CANDIDATE if world.candidate[index] else Arm.STABLE
    fact = world.fact(index)
    failed = [ERROR, late_metric(at_us)] if fails(arm, fact, scoring.pair_age_us) else []
    segment = SEGMENT + int(stages_of(world.start_us[index : index + 1], weights)[0])
    for metric in (unit_metric(segment), *failed):
        yield FirstEventRow("r", metric, fact.unit_hash, at_us, segment, arm, "j0", 1)


@pytest.mark.parametrize(
    ("change", "weights"),
    [(EQUAL, (0.4,)), (Change(name="worse", errors=0.03, slower=1.1, dearer=1.2, loss=0.02), (0.1, 0.5))],
    ids=["equal", "worse, on a ramp"],
)
def test_whole_arrays_are_settled_as_the_ledger_settles_each_request(change: Change, weights: Weights) -> None:
    """At each look, over two hours: the totals to the last bit, and so the evidence."""
    world = rounded_as_the_product_does(visits(3, users=300, weights=weights, n=6_000, change=change))
    scoring, stages, ledger = scoring_of(3), Stages(weights), StickyLedger()
    ledger.add(rows_of(world, scoring, weights))
    told, said = 0, []
    for tick, seen in zip(ticks(), settled(world, scoring, weights), strict=True):
        segments, stage = stages.segments(tick), stages.present(tick)
        until = int(np.searchsorted(world.start_us, tick))
        ledger.add_first(row for index in range(told, until) for row in firsts_of(world, scoring, weights, index))
        told = until
        expected = ledger.settled([a_horizon(tick)], scoring, segments)
        assert seen == expected
        said.append(weigh_sticky(seen, scoring, segments, stage=stage))
        assert said[-1] == weigh_sticky(expected, scoring, segments, stage=stage)
    assert sum(said[-1].metrics[0].log_e_rollback != one.metrics[0].log_e_rollback for one in said) > 20
    assert len(expected.late or {}) > 6  # bets that began later
    assert {row.metric for row in said[-1].metrics if row.need_rollback is not None and not row.abstains} == {
        "error_timeout",
        "latency",
        "client_error",
        "abandoned",
        "cost",
        "cost_over_cap",
        "quality",
    }


@pytest.mark.parametrize(("users", "weights"), WORLDS)
def test_an_equal_candidate_is_rolled_back_in_5_percent_of_runs_at_most(users: int, weights: Weights) -> None:
    assert sticky_false_rollbacks(20, users=users, weights=weights, n=30_000) / 20 <= ALPHA


@pytest.mark.parametrize(
    "change",
    [
        Change(name="fails", errors=0.1),
        Change(name="slow", slower=1.5),
        Change(name="dear", dearer=4.0),
        Change(name="poor", loss=0.2),
    ],
    ids=lambda change: change.name,
)
def test_a_broken_candidate_is_found(change: Change) -> None:
    found = [sticky_rolled_back(seed, users=5_000, weights=(0.05,), n=30_000, change=change) for seed in range(4)]
    assert all(map(math.isfinite, found))


def test_requests_that_are_counted_as_if_each_had_a_coin_break_the_promise() -> None:
    hits = sticky_false_rollbacks(20, users=800, weights=(0.5,), n=60_000, each_a_coin=True)
    assert lower(hits, 20) > ALPHA


def test_a_long_run_that_is_cut_goes_on_where_it_was(tmp_path: Path) -> None:
    asked: list[int] = []

    def hit(seed: int) -> bool:
        asked.append(seed)
        return seed % 3 == 0

    path = tmp_path / "world.json"
    assert Kept(path).hits(250, hit, step=lambda: None) == 84
    assert Kept(path).hits(300, hit, step=lambda: None) == 100
    assert Kept(path).hits(100, hit, step=lambda: None) == 34  # of a shorter run the same seeds
    assert asked == [*range(300)]
    assert seconds_of(tmp_path) >= 0 == seconds_of(None)
