"""What the product's ledger would have settled of a run of users at each of its looks, counted by whole arrays.

What a request of each kind adds to each count is asked of the product's own cells, `comparisons.meaning` and the first events'
own rules; how counts become moments of `moments.moments_of`. `tests/simulation/test_goals_users.py` holds it against the
ledger fed request by request, to the last bit.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import numpy as np

from canary.stats.cells import METRIC_SHIFT, SECOND_SHIFT, WHOLE_MINUTE
from canary.stats.clusters import CLUSTERS
from canary.stats.comparisons import NUMBERS, comparisons_of
from canary.stats.facts import Fact
from canary.stats.frozen import Scoring
from canary.stats.moments import moments_of, no_moments
from canary.stats.scoring import ends, starts
from canary.stats.side import SegmentWeight
from canary.stats.sticky_cells import plain
from canary.stats.sticky_ledger import BLOCK_MIN, LEAST_IN_LAYER
from canary.stats.sticky_totals import StickyTotals
from canary.stats.totals import SegmentTotals
from canary.stats.unit_events import BLOCK_US, ERROR
from canary.stats.unit_late import Counts
from canary.stats.value_cells import FIRST_VALUE, value_cell
from canary.terms import Arm, Scored
from tests.bench.stats.crowds import FAILED, LEFT, MINUTES, REFUSED, START_US, Visits, Weights, hash_of, stages_of
from tests.bench.stats.draws import CONNECT_US, Floats, Ints
from tests.support.values import bins_at

SEGMENT: Final = 7
MINUTE_US: Final = 60_000_000
LOOKS: Final = 50
EACH_US: Final = 147_000_000
"""Between two looks: after the last one everything is settled."""

_ENDINGS: Final = 4
_ARMS: Final = (Arm.CANDIDATE, Arm.STABLE)
_SECONDS: Final = WHOLE_MINUTE << SECOND_SHIFT


def ticks() -> range:
    """When one looks."""
    return range(START_US + EACH_US, START_US + LOOKS * EACH_US + 1, EACH_US)


class Meaning:
    """What a request of each kind adds under one scoring: (arm, ending, class of latency), cost and quality."""

    def __init__(self, scoring: Scoring) -> None:
        self.scoring = scoring
        self.comparisons = comparisons_of(scoring)
        ages = [age - CONNECT_US for age in scoring.ages_us]
        self.edges = np.array(sorted({*scoring.candidate_us, *scoring.stable_us, *ages}), dtype=np.int64)
        self._values = [metric for metric in scoring.values.metrics if metric.in_canary and metric.index >= 0]
        self._numbers = {FIRST_VALUE + metric.number for metric in self._values}
        self.kinds = len(_ARMS) * _ENDINGS * len(self.edges)
        whole = np.stack([self._kind(kind) for kind in range(self.kinds)])
        self.plain, self.rates = self._apart(whole, np.arange(self.kinds) >= self.kinds // 2)
        self.values = [self._of_bins(metric.number, metric.mean.grid.width) for metric in self._values if metric.mean]

    def _kind(self, kind: int) -> Ints:
        rest, level = divmod(kind, len(self.edges))
        stable, ending = divmod(rest, _ENDINGS)
        latency = int(self.edges[level]) - (ending == LEFT)
        fact = Fact(
            age_us=latency + CONNECT_US,
            latency_us=latency,
            failed=ending == FAILED,
            left=ending == LEFT,
            client_error=ending == REFUSED,
            unit_hash=hash_of(0),
            values=(0.0, 0.0),
        )
        arm = _ARMS[stable]
        keys = starts(self.scoring, arm, 0, unit_hash=fact.unit_hash) + ends(self.scoring, arm, 0, fact)
        _, codes = plain(np.array(keys, dtype=np.int64))
        rates = [code & ~_SECONDS for code in codes.tolist() if code >> METRIC_SHIFT not in self._numbers]
        return np.sum([self.comparisons.meaning(code) for code in rates], axis=0)

    def _of_bins(self, number: int, width: int) -> Ints:
        """Outcomes by (arm, bin) and comparison."""
        codes = [
            value_cell(number, index, candidate=arm == Arm.CANDIDATE) & ~_SECONDS for arm in _ARMS for index in range(width)
        ]
        stable = np.repeat([False, True], width)
        return self._apart(np.stack([self.comparisons.meaning(code) for code in codes]), stable)[1]

    def _apart(self, numbers: Ints, stable: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[Ints, Ints]:
        """Plain numbers, and each comparison's outcome in the arm of the request."""
        mine = numbers[:, self.comparisons.plain :].reshape(len(numbers), -1, NUMBERS)
        outcomes = np.where(stable[:, None], mine[:, :, 3], mine[:, :, 1])
        return numbers[:, : self.comparisons.plain], outcomes

    def kinds_of(self, world: Visits) -> Ints:
        """The kind of each request. Who leaves after T has waited longer than it, whose answer comes after T has not.

        Raises ValueError where an answer is open at the last age: it would be an event of stable's user.
        """
        if world.latency_us.max() > self.edges[-1]:
            raise ValueError(f"answers within {self.edges[-1]} us expected, found {world.latency_us.max()}")
        level = np.searchsorted(self.edges, world.latency_us, side="left")
        left = np.flatnonzero(world.ending == LEFT)
        level[left] = np.searchsorted(self.edges, world.latency_us[left], side="right")
        return np.asarray((~world.candidate * _ENDINGS + world.ending) * len(self.edges) + level)

    def outcomes(self, world: Visits, kinds: Ints) -> Iterator[Ints | None]:
        """Of each comparison, one number a request; None where all of them are 0."""
        readings = (world.cost, np.where(world.ending == FAILED, 1.0, 1 - world.quality))
        bins = []
        for metric, values, numbers in zip(self._values, readings, world.rounding, strict=True):
            assert metric.mean is not None, "its cells were counted"
            grid = metric.mean.grid
            bins.append(bins_at(grid, values, numbers) + np.where(world.candidate, 0, grid.width))
        for place in range(len(self.comparisons.all)):
            columns = [(table[:, place], at) for table, at in zip((self.rates, *self.values), (kinds, *bins), strict=True)]
            parts = [column[at] for column, at in columns if column.any()]
            yield sum(parts[1:], parts[0]) if parts else None


@lru_cache(maxsize=16)
def meaning(scoring: Scoring) -> Meaning:
    """Of a scoring, asked once."""
    return Meaning(scoring)


class Stages:
    """The segments of a run, one for each weight."""

    def __init__(self, weights: Weights) -> None:
        """Raises ValueError where a stage begins within a layer."""
        self.weights = weights
        self.minutes, rest = divmod(MINUTES, len(weights))
        if rest or self.minutes % BLOCK_MIN:
            raise ValueError(f"stages of whole {BLOCK_MIN} minutes expected, found {len(weights)} in {MINUTES}")

    def present(self, tick: int) -> int:
        """The newest stage at a tick."""
        return min((tick - START_US) // (self.minutes * MINUTE_US), len(self.weights) - 1)

    def segments(self, tick: int) -> list[SegmentWeight]:
        """All that are open by then."""
        return [
            SegmentWeight(
                id=SEGMENT + stage,
                stage=stage,
                weight_bp=round(1e4 * self.weights[stage]),
                scored=Scored.ALL,
                opened_minute=START_US // MINUTE_US + stage * self.minutes,
            )
            for stage in range(self.present(tick) + 1)
        ]

    def span(self, stage: int) -> tuple[int, int]:
        """Its first minute and the one after its last."""
        return stage * self.minutes, (stage + 1) * self.minutes if stage + 1 < len(self.weights) else MINUTES + BLOCK_MIN


def settled(world: Visits, scoring: Scoring, weights: Weights) -> Iterator[StickyTotals]:
    """At each of the looks. Raises ValueError where a layer is so small that the ledger would join it to the next one."""
    stages = Stages(weights)
    counts, units = _Counts(world, meaning(scoring), stages), _Units(world, scoring, stages)
    for tick in ticks():
        users = units.seen(tick)
        yield StickyTotals(
            segments=counts.plain_at(tick, users),
            first_minute=START_US // MINUTE_US,
            as_of_us=tick,
            moments=counts.moments_at(tick).astype("<f8").tobytes(),
            events={ERROR: found} if (found := units.failed(tick)) else {},
            units=users,
            late=units.late(tick),
            users=units.everybody(tick),
        )


class _Counts:
    """Requests and outcomes by minute, summed up within each layer."""

    def __init__(self, world: Visits, means: Meaning, stages: Stages) -> None:
        self._stages = stages
        self._ages_us = means.comparisons.ages_us
        contrasts = [contrast.age_us for contrast in means.scoring.contrasts]
        self._plain_ages_us = np.repeat(contrasts, NUMBERS)
        self._spans_us = np.array(sorted(set(contrasts)))
        minute, kinds = (world.start_us - START_US) // MINUTE_US, means.kinds_of(world)
        self._minutes = int(minute[-1]) + 1
        found = np.bincount(minute * means.kinds + kinds, minlength=self._minutes * means.kinds)
        by_minute = found.reshape(self._minutes, means.kinds) @ means.plain
        self._plain = np.concatenate([np.zeros_like(by_minute[:1]), by_minute.cumsum(axis=0)])
        place = minute * 2 * CLUSTERS + np.where(world.candidate, 0, CLUSTERS) + world.cluster[world.user]
        # [layers, minutes of it that are settled, arm and cluster], outcomes by comparison
        shape = (-(-self._minutes // BLOCK_MIN), BLOCK_MIN + 1, 2 * CLUSTERS)
        self._n, self._y = np.zeros(shape), np.zeros((len(self._ages_us), *shape))
        _sum(self._n, place, np.ones(world.n))
        for into, outcome in zip(self._y, means.outcomes(world, kinds), strict=True):
            if outcome is not None and outcome.any():
                rare = np.count_nonzero(outcome) < world.n // 4
                bad = np.flatnonzero(outcome) if rare else slice(None)
                _sum(into, place[bad], outcome[bad])
        self._whole: dict[int, Floats] = {}
        """Of each layer that is settled for all ages the moments of its segment up to it."""

    def _until(self, tick: int, ages_us: Ints) -> Ints:
        """How many minutes are settled for each age."""
        return np.asarray(np.clip((tick - ages_us - START_US) // MINUTE_US, 0, self._minutes))

    def moments_at(self, tick: int) -> Floats:
        """Of all segments, and within each of all layers, the oldest first, as the ledger adds them."""
        until, total = self._until(tick, self._ages_us), no_moments(len(self._ages_us))
        for stage in range(self._stages.present(tick) + 1):
            begin, end = (minute // BLOCK_MIN for minute in self._stages.span(stage))
            found = no_moments(len(until))
            for layer in range(begin, min(end, -(-int(until.max()) // BLOCK_MIN))):
                found = self._whole[layer] if layer in self._whole else self._with(found, layer, until)
            total += found
        return total

    def _with(self, before: Floats, layer: int, until: Ints) -> Floats:
        """With one more layer; remembered where it will stay as it is."""
        minutes = np.clip(until - layer * BLOCK_MIN, 0, BLOCK_MIN)
        cells = np.empty((len(minutes), 2, CLUSTERS, 2))
        cells[..., 0] = self._n[layer, minutes].reshape(-1, 2, CLUSTERS)
        cells[..., 1] = self._y[np.arange(len(minutes)), layer, minutes].reshape(-1, 2, CLUSTERS)
        found = before + moments_of(cells)
        if minutes.min() == BLOCK_MIN:
            if self._n[layer, -1].reshape(2, -1).sum(axis=1).min() < LEAST_IN_LAYER:
                raise ValueError(f"at least {LEAST_IN_LAYER} requests of each arm expected in layer {layer}")
            self._whole[layer] = found
        return found

    def plain_at(self, tick: int, units: Counts) -> dict[int, SegmentTotals]:
        """What people are shown of each segment."""
        until, columns = self._until(tick, self._plain_ages_us), np.arange(len(self._plain_ages_us))
        spans, found = self._until(tick, self._spans_us), {}
        for stage in range(len(self._stages.weights)):
            begin, end = self._stages.span(stage)
            if tick < START_US + (begin + 1) * MINUTE_US:
                break
            counts = self._plain[np.clip(until, begin, end), columns] - self._plain[begin]
            settled_s = np.maximum(np.minimum(spans, end) - begin - 1, 0) * 60
            users = units.get(SEGMENT + stage, (0, 0))
            found[SEGMENT + stage] = SegmentTotals(
                counts=tuple(counts.tolist()),
                assigned_candidate=users[0],
                assigned_stable=users[1],
                settled_s=tuple(settled_s.tolist()),
            )
        return found


def _sum(into: Floats, place: Ints, weights: Ints | Floats) -> None:
    """Weights by minute, summed up within each layer."""
    layers, minutes, width = into.shape
    by_minute = np.bincount(place, weights=weights, minlength=layers * (minutes - 1) * width)
    into[:, 1:] = by_minute.reshape(layers, minutes - 1, width)
    for minute in range(1, minutes):  # row by row: `cumsum` along a middle axis takes several times as long
        into[:, minute] += into[:, minute - 1]


class _Firsts:
    """From which segments and arms the first of some events of each user came, in the order of their starts."""

    def __init__(self, world: Visits, events: Ints, weights: Weights) -> None:
        first = np.full(len(world.cluster), world.n)
        np.minimum.at(first, world.user[events], events)
        self._at = np.sort(first[first < world.n])
        places = 2 * stages_of(world.start_us[self._at], weights) + ~world.candidate[self._at]
        self._counts = np.zeros((len(self._at) + 1, 2 * len(weights)), dtype=np.int64)
        self._counts[np.arange(1, len(self._at) + 1), places] = 1
        np.cumsum(self._counts, axis=0, out=self._counts)

    def before(self, request: int) -> Counts:
        """Users with an event before that request."""
        found = self._counts[np.searchsorted(self._at, request)].reshape(-1, 2).tolist()
        return {SEGMENT + stage: (mine, theirs) for stage, (mine, theirs) in enumerate(found) if mine or theirs}


class _Units:
    """Distinct users, and those with a failure: since the start, and since each block that has one."""

    def __init__(self, world: Visits, scoring: Scoring, stages: Stages) -> None:
        self._age_us = scoring.pair_age_us
        self._start_us = world.start_us
        weights = stages.weights
        failures, everything = np.flatnonzero(world.ending == FAILED), np.arange(world.n)
        of = stages_of(world.start_us, weights)
        self._everybody = _Firsts(world, everything, weights)
        self._seen = [_Firsts(world, everything[of == stage], weights) for stage in range(len(weights))]
        self._failed = _Firsts(world, failures, weights)
        heads, first = np.unique(world.start_us[failures] // BLOCK_US, return_index=True)
        self._since = [
            (int(head), int(failures[at]), _Firsts(world, failures[at:], weights))
            for head, at in zip(heads, first, strict=True)
        ]

    def _settled(self, tick: int) -> int:
        """Requests whose second of start has been over for the age."""
        return int(np.searchsorted(self._start_us, (tick - self._age_us) // 1_000_000 * 1_000_000))

    def failed(self, tick: int) -> Counts:
        """Users with a settled failure."""
        return self._failed.before(self._settled(tick))

    def late(self, tick: int) -> dict[int, Counts]:
        """The same since each block that has one."""
        settled = self._settled(tick)
        return {block: firsts.before(settled) for block, at, firsts in self._since if at < settled}

    def seen(self, tick: int) -> Counts:
        """Users of each segment."""
        request = int(np.searchsorted(self._start_us, tick))
        return {segment: found for firsts in self._seen for segment, found in firsts.before(request).items()}

    def everybody(self, tick: int) -> int:
        """Users of all segments."""
        return sum(map(sum, self._everybody.before(int(np.searchsorted(self._start_us, tick))).values()))
