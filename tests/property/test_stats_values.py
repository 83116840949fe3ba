"""Values counted by any number of journals, in any order, however often: the same counts, the same log e to the last bit."""

import random
from collections.abc import Iterable, Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from canary.stats.cells import START, from_bytes, pack, to_bytes
from canary.stats.facts import Fact
from canary.stats.grid import Known, Reading, Refused, Unknown, bin_of
from canary.stats.means import Margin, pair_bin
from canary.stats.value_cells import columns_of_plan, end_cells
from canary.terms import Arm
from tests.support.value_plans import (
    Tally,
    a_cost,
    a_fact,
    a_plan,
    a_quality,
    a_rate,
    a_spec,
    counted,
    rollback_log_e,
    vector_of,
)
from tests.support.values import small_metric

SPEC = a_spec(a_cost(cap=6.0), a_quality(), a_rate(), classes=("chat",), diversity="body")
PLAN = a_plan(SPEC, [a_fact(0.1 * (i % 50), 0.2 * (i % 50), float(i % 9 == 0)) for i in range(200)])

RAW = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.floats(0, 12))
FACTS = st.builds(
    a_fact,
    RAW,
    RAW,
    RAW,
    age_us=st.sampled_from([0, 1_000, 61_000_000, 61_000_001]),
    failed=st.booleans(),
    left=st.booleans(),
    lost=st.booleans(),
    client_error=st.booleans(),
    exchange_id=st.binary(min_size=16, max_size=16),
    answer=st.binary(max_size=2),
)
REQUESTS = st.lists(
    st.tuples(st.sampled_from(list(Arm)), st.integers(0, 1), FACTS, st.integers(0, 3), st.booleans()), max_size=30
)
Request = tuple[Arm, int, Fact, int, bool]  # arm, stratum, fact, minute, whether the answer ever ended


def cells_of(index: int, request: Request) -> list[int]:
    arm, stratum, fact, _, ended = request
    start = pack(metric=START, stratum=stratum, arm=int(arm is Arm.CANDIDATE), second=index % 60, bin_index=0)
    return [start, *(end_cells(PLAN, arm, fact, stratum) if ended else ())]


def added(rows: Iterable[Mapping[int, int]]) -> dict[int, int]:
    total: dict[int, int] = {}
    for row in rows:
        for key, count in row.items():
            total[key] = total.get(key, 0) + count
    return total


def evidence(cells: dict[int, int]) -> tuple[list[int], dict[str, float]]:
    vector = vector_of(PLAN, cells)
    return vector.tolist(), rollback_log_e(PLAN, [counted(vector)])


@settings(max_examples=40, deadline=None)
@given(requests=REQUESTS, journals=st.integers(1, 64), chance=st.randoms(use_true_random=False))
def test_any_split_over_journals_in_any_order_with_duplicates_is_the_whole(
    requests: list[Request], journals: int, chance: random.Random
) -> None:
    whole = added([{key: 1} for index, request in enumerate(requests) for key in cells_of(index, request)])
    rows: dict[tuple[int, int], dict[int, int]] = {}
    revisions: list[tuple[tuple[int, int], int, bytes]] = []
    for index, request in enumerate(requests):
        place = (chance.randrange(journals), request[3])
        rows[place] = added([rows.get(place, {}), *({key: 1} for key in cells_of(index, request))])
        revisions.append((place, index, to_bytes(rows[place])))
    delivered = revisions + chance.sample(revisions, len(revisions) // 2)
    chance.shuffle(delivered)
    newest: dict[tuple[int, int], tuple[int, bytes]] = {}
    for place, revision, row in delivered:
        newest[place] = max(newest.get(place, (-1, b"")), (revision, row))
    assert evidence(added(from_bytes(row) for _, row in newest.values())) == evidence(whole)


@settings(max_examples=40, deadline=None)
@given(requests=REQUESTS)
def test_every_start_has_exactly_one_bin_of_every_metric_whatever_was_read(requests: list[Request]) -> None:
    vector = vector_of(PLAN, added([{key: 1} for index, request in enumerate(requests) for key in cells_of(index, request)]))
    assert vector.min() >= 0
    for block in columns_of_plan(PLAN).blocks:
        found = block.of(vector).reshape(block.strata, block.arms, block.width)
        if block.arms == 1:
            assert not found.any()
            continue
        for place, arm in enumerate((Arm.CANDIDATE, Arm.STABLE)):
            assert found[:, place].sum() == sum(request[0] is arm for request in requests)


@settings(max_examples=40, deadline=None)
@given(facts=st.lists(st.tuples(FACTS, FACTS, st.booleans(), st.booleans()), max_size=20))
def test_every_copy_that_was_sent_has_exactly_one_bin_of_every_margin(facts: list[tuple[Fact, Fact, bool, bool]]) -> None:
    tally = Tally(PLAN)
    for live, shadow, came, dropped in facts:
        tally.pair(live, shadow if came else None, dropped=dropped)
    vector = tally.vector()
    assert vector.min() >= 0
    sent = sum(not dropped for _, _, _, dropped in facts)
    blocks = [block for block in columns_of_plan(PLAN).blocks if block.arms == 1]
    assert blocks
    assert all(block.of(vector).sum() == sent for block in blocks)


@settings(max_examples=200, deadline=None)
@given(value=st.floats(0, 6), number=st.integers(0, 2**64 - 1))
def test_a_value_is_rounded_to_a_point_beside_it_and_its_mean_over_all_numbers_is_the_value(value: float, number: int) -> None:
    grid = small_metric().grid
    place = bin_of(grid, Known(value=value), number)
    if value > grid.cap:
        assert place == grid.over
        return
    lower, upper = bin_of(grid, Known(value=value), 2**64 - 1), bin_of(grid, Known(value=value), 0)
    assert place in {lower, upper}
    assert grid.points[lower] <= value <= grid.points[upper]
    assert upper - lower <= 1
    share = (value - grid.points[lower]) / (grid.points[upper] - grid.points[lower]) if upper > lower else 0.0
    at = min(int(share * 2**64), 2**64 - 1)
    if 2**12 < at < 2**64 - 2**12:  # the chance of going up is that share: numbers below it, and none above
        assert bin_of(grid, Known(value=value), at - 2**12) == upper
        assert bin_of(grid, Known(value=value), at + 2**12) == lower


READINGS: st.SearchStrategy[Reading] = st.one_of(
    st.floats(0, 6).map(lambda value: Known(value=value)), st.just(Unknown()), st.just(Refused(reason="no price is known"))
)


@settings(max_examples=100, deadline=None)
@given(mine=READINGS, theirs=READINGS, exchange_id=st.binary(min_size=16, max_size=16))
def test_a_pair_of_a_replay_falls_where_it_fell(mine: Reading, theirs: Reading, exchange_id: bytes) -> None:
    metric, margin = small_metric(), Margin(name="small.rollback.pairs", rho=1.1, pairs=True)
    first = pair_bin(metric, margin, mine, theirs, exchange_id=exchange_id)
    assert first == pair_bin(metric, margin, mine, theirs, exchange_id=exchange_id)
