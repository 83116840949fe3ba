"""Values by canary and pairs together: false rollbacks and promotions of a whole family of value metrics, and its power.

Counts are drawn and laid into the columns as cells would be; a look each 1,000 requests.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from canary.stats.grid import Known, bin_of, rounding_number
from canary.stats.side import Ints
from canary.stats.spec import ScoringSpec
from canary.stats.value_cells import columns_of_plan
from canary.stats.value_plan import ValuePlan
from canary.stats.value_rows import Look
from canary.stats.value_sides import sides_of_plan
from tests.support.value_plans import a_fact, a_plan, a_preference, a_quality, a_rate, a_spec, counted, metric_of

P0 = 0.02
LOSS = 0.2
SPEC = a_spec(a_quality(cap=1.0, rollback_delta=0.005, promote_delta=0.02), a_rate(), a_preference())
RNG = np.random.default_rng(7)


def scores(rng: np.random.Generator, n: int, lower: float = 0.0) -> npt.NDArray[np.float64]:
    """6 % worth nothing, the others good; `lower` by so much on average."""
    return np.where(rng.random(n) < 0.06 + lower / 0.85, 0.0, rng.beta(8, 2, n) * 0.85 / 0.8)


PLAN = a_plan(
    SPEC,
    (
        a_fact(float(min(1.0, score)), float(bad), 1.0)
        for score, bad in zip(scores(RNG, 4_000), RNG.random(4_000) < P0, strict=True)
    ),
)


class World:
    """One run's columns, one look after another."""

    def __init__(
        self, plan: ValuePlan, seed: int, *, weight: float, times: float = 1.0, lower: float = 0.0, net: float = 0.0
    ) -> None:
        self.plan, self.weight, self.times, self.lower, self.net = plan, weight, times, lower, net
        self.rng = np.random.default_rng(seed)
        self.vector = np.zeros(columns_of_plan(plan).size, dtype=np.int64)

    def block(self, name: str, offset: int = 0) -> Ints:
        return columns_of_plan(self.plan).blocks[metric_of(self.plan, name).number + offset].of(self.vector)[0]

    def step(self, requests: int, pairs: int) -> None:
        mine = int(self.rng.binomial(requests, self.weight))
        for place, n, times, lower in ((0, mine, self.times, self.lower), (1, requests - mine, 1.0, 0.0)):
            bad = int(self.rng.binomial(n, min(1.0, P0 * times)))
            width = 5
            self.block("invalid")[place * width : place * width + 2] += [n - bad, bad]
            for name in ("client_error", "abandoned"):
                rare = int(self.rng.binomial(n, 0.005))
                self.block(name)[place * width : place * width + 2] += [n - rare, rare]
            self._losses(self.block("score"), place, np.clip(1 - scores(self.rng, n, lower), 0, 1))
        if pairs:
            both = np.array([0.01, P0 * self.times - 0.01, P0 - 0.01])
            self.block("invalid", 1)[:4] += self.rng.multinomial(pairs, [*both, 1 - both.sum()])
            wins = (1 - self.net) / 2 - 0.1
            self.block("preference")[1:4] += self.rng.multinomial(pairs, [wins + self.net, wins, 1 - 2 * wins - self.net])

    def _losses(self, block: Ints, place: int, losses: npt.NDArray[np.float64]) -> None:
        at = losses * 32
        bins = np.floor(at).astype(np.int64)
        bins += self.rng.random(len(at)) < at - bins
        width = len(block) // 2
        block[place * width : (place + 1) * width] += np.bincount(bins, minlength=width)

    def breached(self, spec: ScoringSpec) -> list[str]:
        found = counted(self.vector, round(self.weight * 10_000))
        log_e = {side.name: float(side.combine(side.components(found))) for side in sides_of_plan(self.plan)}
        return [row.metric for row in Look(self.plan, spec, [found], rollback=log_e, stage=3).rows() if row.breached]


def first_breach(world: World, looks: int) -> tuple[int, Sequence[str]]:
    for look in range(1, looks + 1):
        world.step(1_000, 250)
        names = world.breached(SPEC)
        if names:
            return look, names
    return 0, ()


@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_an_equal_candidate_is_seldom_rolled_back_for_any_value(weight: float) -> None:
    """This family's share of the budget is about a third of .05; 100 runs, 15 looks."""
    breaches = [first_breach(World(PLAN, seed, weight=weight), 15)[0] for seed in range(100)]
    assert sum(map(bool, breaches)) <= 5


def test_a_worse_candidate_is_found_for_what_is_worse() -> None:
    for changes, name in (({"times": 4.0}, "invalid"), ({"lower": 0.1}, "score"), ({"net": 0.3}, "preference")):
        found = [first_breach(World(PLAN, seed, weight=0.5, **changes), 15) for seed in range(8)]  # type: ignore[arg-type]
        assert all(look and name in names for look, names in found)


def test_a_candidate_on_its_margin_is_seldom_promoted() -> None:
    """Quality two points worse, the rate 1.5x + .5 pp: each at most .05 at any look; 100 runs, 15 looks."""
    promoted = 0
    for seed in range(100):
        world = World(PLAN, seed, weight=0.5, times=(1.5 * P0 + 0.005) / P0, lower=0.02)
        for _ in range(15):
            world.step(1_000, 0)
            found = counted(world.vector, 5_000)
            log_e = {side.name: 0.0 for side in sides_of_plan(PLAN)}
            rows = {row.metric: row for row in Look(PLAN, SPEC, [found], rollback=log_e, stage=3).rows()}
            if rows["score"].cleared or rows["invalid"].cleared:
                promoted += 1
                break
    assert promoted <= 100 * 2 * 0.05


def test_hashes_round_without_bias() -> None:
    grid = metric_of(PLAN, "score").mean.grid  # type: ignore[union-attr]
    ids = [index.to_bytes(16, "big") for index in range(20_000)]
    for value in (0.01, 0.333, 0.999):
        rounded = [grid.points[bin_of(grid, Known(value=value), rounding_number(one, "score"))] for one in ids]
        assert float(np.mean(rounded)) == pytest.approx(value, abs=4 * (1 / 32) / 2 / len(ids) ** 0.5)
