"""Rollouts of routes with little traffic on imagined time: the real counters, weighing and deciding, a look each 60 requests.

`python -m tests.support.little_traffic RUNS` prints how often and how soon each candidate is found, leaning on either lane.
"""

import statistics
import sys
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
import numpy as np

from canary.rollout.decide import decide
from canary.rollout.plan import Plan, ShadowStage, Stage
from canary.rollout.simulate import Ending, Lab, Question, _Run
from canary.rollout.state import Decision
from canary.rollout.weighing import evidence_of
from canary.rollout.worlds import EQUAL, Answer, Effect, pair_kinds, request_kinds
from canary.stats.counts import Horizon
from canary.stats.facts import Fact
from canary.stats.profile import Profile
from canary.terms import Arm
from tests.support.streams import lognormal_answers, profile_of

EACH: Final = 60
"""Requests between two looks."""

HOUR_S: Final = 3_600.0
WORLDS: Final = ("equal", "errors 2 -> 10 %", "slowest tenth x2", "errors, live alone", "slowest tenth, live alone")
LeanOn = Literal["auto", "pairs", "canary"]
LEAN: Final[tuple[LeanOn, ...]] = ("pairs", "canary")


def a_plan(lean_on: LeanOn, *, weight_bp: int, hours: float, min_pairs: int) -> Plan:
    """One stage that nobody passes in so little time, so that a run ends with a rollback or with its hours."""
    return Plan(
        name="little",
        shadow=ShadowStage(min_pairs=min_pairs),
        stages=(Stage(weight_bp=weight_bp),),
        max_duration_s=hours * HOUR_S,
        warm_up_s=0.0,
        lean_on=lean_on,
    )


def a_profile() -> Profile:
    """2 % failures; a median of .1 s and a 95 % quantile of .4 s."""
    return profile_of(lognormal_answers(np.random.default_rng(11), 5_000, median_s=0.1, error_rate=0.02))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One world under one plan."""

    world: str
    per_min: float = 6.0
    weight_bp: int = 500
    hours: float = 24.0
    min_pairs: int = 60

    def lab(self, lean_on: LeanOn) -> Lab:
        """The same answers and chances, whichever lane is leaned on."""
        plan = a_plan(lean_on, weight_bp=self.weight_bp, hours=self.hours, min_pairs=self.min_pairs)
        errors = Effect(name="errors", errors=5.0) if self.world.startswith("errors") else EQUAL
        lab = Lab(Question(plan=plan, profile=a_profile(), rate_per_s=self.per_min / 60), errors)
        candidate, stable = lab.answers
        if self.world.startswith("slowest"):
            candidate = _slow_tail(candidate)
            lab.candidate = request_kinds(lab.scoring, Arm.CANDIDATE, candidate)
        copies = stable if self.world.endswith("live alone") else candidate
        lab.pairs = pair_kinds(lab.scoring, stable, copies, np.random.default_rng(3))
        return lab

    def play(self, lab: Lab, number: int) -> Ending:
        """One rollout."""
        return _Played(lab, np.random.default_rng([7, number]), each_s=EACH / self.per_min * 60).to_the_end()


class _Played(_Run):
    """Looks as often however long a stage lasts."""

    def __init__(self, lab: Lab, rng: np.random.Generator, *, each_s: float) -> None:
        super().__init__(lab, rng)
        self._each_s = each_s

    def _step_s(self) -> float:
        return self._each_s

    def _look(self) -> Decision:
        """The decision alone, without harm, alerts and what else people are shown."""
        tick = Horizon(journal="j", tick_at_us=round(self._now().timestamp() * 1e6), dead=False)
        evidence = evidence_of(self._ledger.settled([tick], self._lab.scoring), self._state, newest_tick_age_s=0.0)
        return decide(self._state, evidence, self._now(), profile_n=0)


def _slow_tail(found: list[Answer]) -> list[Answer]:
    """The slowest tenth of the good answers takes twice as long."""
    good = sorted((one.fact.latency_us, one.chance) for one in found if not one.fact.failed)
    until = np.cumsum([chance for _, chance in good])
    slow_us = good[int(np.searchsorted(until, 0.9 * until[-1]))][0]
    return [msgspec.structs.replace(one, fact=_twice(one.fact)) if one.fact.latency_us >= slow_us else one for one in found]


def _twice(fact: Fact) -> Fact:
    return fact if fact.failed else msgspec.structs.replace(fact, age_us=2 * fact.age_us, latency_us=2 * fact.latency_us)


def minutes(found: list[Ending]) -> list[float]:
    """Until each rollback, in order; infinite where there was none."""
    return sorted(one.seconds / 60 if one.word == "rolled back" else float("inf") for one in found)


def main(runs: int) -> None:
    """Prints the table."""
    print("per minute, weight, world: leaning on pairs | on the canary: rolled back, median and 90 % in minutes, live requests")
    for per_min, weight_bp, hours in ((6.0, 500, 24.0), (60.0, 100, 2.4)):
        for world in WORLDS:
            case = Case(world=world, per_min=per_min, weight_bp=weight_bp, hours=hours)
            told = []
            for lean_on in LEAN:
                lab = case.lab(lean_on)
                found = [case.play(lab, number) for number in range(runs)]
                took = minutes(found)
                back = sum(one.word == "rolled back" for one in found)
                served = statistics.median(one.served for one in found)
                told.append(f"{back} of {runs}, {statistics.median(took):.0f}, {took[int(0.9 * runs)]:.0f}, {served:.0f}")
            print(f"{per_min:g}, {weight_bp / 100:g} %, {world}: {' | '.join(told)}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
