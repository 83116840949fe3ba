"""The demonstration without its processes: the same models' chance, the same counters, weighing and deciding, no wall clock.

`python -m tests.support.demo_world RUNS` prints how often each verdict is right, and how long each takes.
"""

import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import cycle

import msgspec

from canary.demo import plan as demo
from canary.demo.behaviour import BAD, BROKEN, GOOD, Behaviour, draw
from canary.demo.sample import Sample
from canary.rollout.apply import apply
from canary.rollout.decide import decide
from canary.rollout.plan import Plan
from canary.rollout.scoring_of import scoring_spec
from canary.rollout.state import RolloutState
from canary.rollout.traffic import segments_for
from canary.stats.counts import CounterRow, Horizon, Ledger, to_bytes
from canary.stats.evidence import Evidence
from canary.stats.facts import Fact
from canary.stats.freezing import freeze
from canary.stats.profile import Profile, profile_cells
from canary.stats.scoring import ends, pair_ends, pair_starts, starts
from canary.stats.weigh import SegmentWeight, weigh
from canary.terms import Action, Arm, Phase

T0 = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
SECOND_US = 1_000_000
SAMPLE = Sample.load()
OVERHEAD_US = 2_000
"""What the proxy and a busy machine add to each answer, about."""


@dataclass(frozen=True, kw_only=True)
class Lag:
    """Seconds from an event to what follows from it: a committed tick to its decision, a decision to its traffic."""

    decide_s: int = 1
    follow_s: int = 1


@dataclass(kw_only=True)
class Result:
    """How one simulated rollout ended."""

    phase: Phase
    because: str
    took_s: int
    pairs: int = 0
    stage: int = -1
    broke_s: int | None = None
    advanced_s: list[int] = field(default_factory=list)


class World:
    """One rollout, second by second."""

    def __init__(self, candidate: Behaviour, *, breaks: bool = False, seed: int = 0, plan: Plan = demo.PLAN) -> None:
        self.chance = random.Random(seed)
        self.candidate = candidate
        self.breaks = breaks
        self.broke_s: int | None = None
        self.state = RolloutState(
            id="r",
            route="chat",
            stable="v1",
            candidate="v2",
            stable_hash="a",
            candidate_hash="b",
            plan=plan,
            plan_hash=plan.hash,
            salt=b"0" * 16,
            phase=Phase.PENDING,
            revision=1,
            plan_revision=0,
            created_at=T0,
            created_by="simulation",
            answer_timeout_s=demo.ANSWER_S,
            connect_timeout_s=demo.CONNECT_S,
        )
        self.profile: dict[int, int] = {}
        self.ledger = Ledger()
        self.rows: dict[tuple[int, int], Counter[int]] = {}
        self.calls = cycle(SAMPLE.calls)
        for _ in range(self.chance.randrange(len(SAMPLE.calls))):
            next(self.calls)

    def run(self, *, lag: Lag | None = None, within_s: int = 120) -> Result:
        """Plays until the rollout ends."""
        lag = lag or Lag()
        following = self.state  # the state that traffic follows, some seconds behind
        coming: list[tuple[int, RolloutState]] = []
        result = Result(phase=Phase.PENDING, because="", took_s=0)
        for now_s in range(within_s):
            while coming and coming[0][0] <= now_s:
                following = coming.pop(0)[1]
            self.second(following, now_s)
            if self.breaks and self.broke_s is None and following.stage == 0:
                self.broke_s = now_s + int(demo.BREAKS_AFTER_S)
            evidence = self.evidence(now_s - lag.decide_s + 1) if self.state.scoring is not None else None
            at = T0 + timedelta(seconds=now_s + 1)
            profile = Profile.of(self.profile) if self.state.phase is Phase.PENDING else Profile()
            decision = decide(self.state, evidence, at, profile_n=profile.n)
            if decision.action is Action.KEEP:
                continue
            ids = [len(self.state.segments) + 1 + i for i in range(len(segments_for(self.state, decision.action)))]
            scoring = freeze(profile, scoring_spec(self.state)) if decision.action is Action.START else None
            self.state = apply(self.state, decision, at, segment_ids=ids, scoring=scoring)
            result.advanced_s.append(now_s + 1)
            if self.state.phase.is_final:
                result.because, result.took_s = decision.because, now_s + 1
                result.pairs = evidence.pairs if evidence else 0
                break
            self.state = _acked(self.state, at + timedelta(seconds=lag.follow_s))
            coming.append((now_s + 1 + lag.follow_s, self.state))
        result.phase, result.stage = self.state.phase, self.state.stage if self.state.stage is not None else -2
        result.broke_s, result.because = self.broke_s, result.because or self.state.because
        return result

    def second(self, state: RolloutState, now_s: int) -> None:
        """One second of traffic under the state that the sidecars follow."""
        segment = state.segment
        broken = self.broke_s is not None and now_s >= self.broke_s
        behaviour = self.candidate.with_errors(BROKEN.error_rate) if broken else self.candidate
        for _ in range(round(self.chance.gauss(demo.RATE, 8))):
            tokens = next(self.calls).out_tok
            if segment is None or state.scoring is None:
                for key in profile_cells(self.fact(GOOD, tokens)):
                    self.profile[key] = self.profile.get(key, 0) + 1
                continue
            row = self.rows.setdefault((segment.id, now_s // 60), Counter())
            at_us = now_s * SECOND_US
            arm = Arm.CANDIDATE if self.chance.random() * 10_000 < segment.weight_bp else Arm.STABLE
            live = self.fact(behaviour if arm is Arm.CANDIDATE else GOOD, tokens)
            if segment.weight_bp:
                row.update(starts(state.scoring, arm, at_us))
                row.update(ends(state.scoring, arm, at_us, live))
            if arm is Arm.STABLE and self.chance.random() * 10_000 < segment.shadow_bp:
                row.update(pair_starts(state.scoring, at_us))
                row.update(pair_ends(state.scoring, at_us, live, self.fact(behaviour, tokens)))

    def fact(self, behaviour: Behaviour, tokens: int) -> Fact:
        """One answer as the courier observes it: past the deadline it is a timeout."""
        answer = draw(behaviour, SAMPLE, tokens, self.chance)
        us = int(answer.latency_s * SECOND_US) + OVERHEAD_US
        deadline_us = int(demo.ANSWER_S * SECOND_US)
        if us >= deadline_us:
            us = deadline_us + int(self.chance.random() * 100_000)
            return Fact(age_us=us, latency_us=us - 200, failed=True, left=False)
        return Fact(age_us=us, latency_us=us - 200, failed=answer.failed, left=False)

    def evidence(self, tick_s: int) -> Evidence:
        """What the controller sees once the journal's tick at that second is committed.

        Ends are counted with their starts here; what is not settled is not read, so that changes nothing.
        """
        assert self.state.scoring is not None
        self.ledger.add(
            CounterRow(rollout="r", segment=s, journal="j", minute=m, cells=to_bytes(dict(cells)), revision=tick_s * 10 + 1)
            for (s, m), cells in self.rows.items()
        )
        totals = self.ledger.settled([Horizon(journal="j", tick_at_us=tick_s * SECOND_US, dead=False)], self.state.scoring)
        segments = [SegmentWeight(id=s.id, stage=s.stage, weight_bp=s.weight_bp, scored=s.scored) for s in self.state.segments]
        stage = self.state.stage if self.state.stage is not None else -1
        return weigh(totals, self.state.scoring, segments, stage=stage, newest_tick_age_s=0.5)


def _acked(state: RolloutState, at: datetime) -> RolloutState:
    return msgspec.structs.replace(state, stage_acked_at=at)


WORLDS = {"good": (GOOD, False), "bad": (BAD, False), "breaking": (GOOD, True)}


def play(name: str, seed: int) -> Result:
    """One run of one of the three worlds."""
    behaviour, breaks = WORLDS[name]
    return World(behaviour, breaks=breaks, seed=seed).run()


def is_right(name: str, result: Result) -> bool:
    """Whether the verdict is what the story promises."""
    if name == "good":
        return result.phase is Phase.DONE
    if name == "bad":
        return result.phase is Phase.ROLLED_BACK and result.stage == -1
    return result.phase is Phase.ROLLED_BACK and result.broke_s is not None and result.stage >= 0


def main(runs: int) -> None:
    """Prints the distribution of each world."""
    for name in WORLDS:
        results = [play(name, seed) for seed in range(runs)]
        right = [is_right(name, r) for r in results]
        took = sorted(r.took_s - (r.broke_s or 0) if name == "breaking" else r.took_s for r in results)
        pairs = sorted(r.pairs for r in results)
        tenths = [took[min(len(took) - 1, int(len(took) * q))] for q in (0.1, 0.5, 0.9, 0.99)]
        print(
            f"{name:9} right {sum(right)}/{runs}; seconds p10/p50/p90/p99 {tenths}, pairs p50 {pairs[len(pairs) // 2]}, "
            f"stages at the end {dict(Counter(r.stage for r in results))}"
        )
        for result in [r for r, ok in zip(results, right, strict=True) if not ok][:5]:
            print("   wrong:", result.phase, result.took_s, result.because)


if __name__ == "__main__":
    main(int(sys.argv[1]))
