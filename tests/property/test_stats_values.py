"""Values counted by any number of journals, in any order, however often: the same counts, the same log e to the last bit."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from canary.stats.cells import SECOND_SHIFT, START, from_bytes, pack, to_bytes
from canary.stats.grid import Known, Reading, Refused, Unknown
from canary.stats.means import Margin, canary_bin, log_e, pair_bin, pair_grid
from canary.stats.value_cells import added, canary_counts, pair_counts, value_cell
from tests.support.values import mean_counts, small_metric

METRIC = small_metric()
MARGIN = Margin(name="small.rollback", rho=1.1)
PAIRS = Margin(name="small.rollback.pairs", rho=1.1, pairs=True)

READINGS = st.one_of(
    st.floats(0, 6).map(lambda value: Known(value=value)), st.just(Unknown()), st.just(Refused(reason="no price is known"))
)
REQUESTS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 1), READINGS, st.integers(0, 3), st.booleans()), min_size=1, max_size=40
)
Request = tuple[bool, int, Reading, int, bool]  # candidate, stratum, value, minute, whether the value ever came


def cells_of(index: int, request: Request) -> list[int]:
    candidate, stratum, reading, _, came = request
    start = pack(metric=START, stratum=stratum, arm=int(candidate), second=index % 60, bin_index=0)
    if not came:
        return [start]
    place = canary_bin(METRIC, reading, index.to_bytes(16, "big"))
    return [start, value_cell(0, place, candidate=candidate, stratum=stratum)]


def evidence(cells: dict[int, int]) -> tuple[list[list[int]], float]:
    counts = canary_counts(cells, 0, METRIC.grid, strata=2)
    return counts.tolist(), log_e(METRIC, MARGIN, [mean_counts(counts)])


@settings(max_examples=60, deadline=None)
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


@settings(max_examples=60, deadline=None)
@given(requests=REQUESTS)
def test_every_start_has_exactly_one_bin(requests: list[Request]) -> None:
    cells = added([{key: 1} for index, request in enumerate(requests) for key in cells_of(index, request)])
    counts = canary_counts(cells, 0, METRIC.grid, strata=2)
    width = METRIC.grid.width
    for stratum in range(2):
        for half, candidate in ((0, True), (width, False)):
            here = [request for request in requests if request[:2] == (candidate, stratum)]
            assert counts[stratum, half : half + width].sum() == len(here)
            never = sum(not came or isinstance(reading, Unknown) for _, _, reading, _, came in here)
            assert counts[stratum, half + METRIC.grid.unknown] == never


def test_values_of_one_number_are_not_anothers() -> None:
    cells = {value_cell(1, 2, candidate=True): 5, pack(metric=START, stratum=0, arm=1, second=9, bin_index=0): 7}
    assert canary_counts(cells, 0, METRIC.grid, strata=1)[0].nonzero()[0].tolist() == [METRIC.grid.unknown]
    assert canary_counts(cells, 1, METRIC.grid, strata=1)[0, [2, METRIC.grid.unknown]].tolist() == [5, 2]


def test_copies_without_a_pair_are_unknown_and_dropped_ones_are_none() -> None:
    grid = pair_grid(METRIC, PAIRS)
    place = pair_bin(METRIC, PAIRS, Known(value=4.0), Known(value=0.0), exchange_id=b"x")
    cells = {3 << 32 | 7 << SECOND_SHIFT: 10, 4 << 32 | 8 << SECOND_SHIFT: 2, value_cell(3, place): 5}
    counts = pair_counts(cells, 3, grid, strata=1)[0]
    assert (counts[place], counts[grid.unknown], counts.sum()) == (5, 3, 8)
