"""A plan tried out before it begins: imagined traffic through the real counting, weighing and deciding, on imagined time."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import numpy as np

from canary.rollout.apply import acknowledged, apply
from canary.rollout.considered import considered
from canary.rollout.crowd import Crowd, OfUsers, Place, UserKinds, user_kinds, user_pair_kinds
from canary.rollout.plan import Plan
from canary.rollout.scoring_of import scoring_spec
from canary.rollout.state import Before, Decision, RolloutState
from canary.rollout.traffic import segments_for
from canary.rollout.weighing import evidence_of, segments_of
from canary.rollout.worlds import EQUAL, Answer, Effect, Kinds, answers, failing, pair_kinds, request_kinds
from canary.stats.cells import packed
from canary.stats.clusters import Ints
from canary.stats.counts import CounterRow, Horizon, Ledger, Totals, to_bytes
from canary.stats.diversity import BINS
from canary.stats.profile import Profile
from canary.stats.scoring import Scoring, freeze
from canary.stats.sticky_ledger import StickyLedger
from canary.stats.unit_answers import reads_answers
from canary.terms import BUCKETS, Action, Arm, Frozen, Measures, Phase

T0: Final = datetime(2026, 1, 1, tzinfo=UTC)
_T0_US: Final = round(T0.timestamp() * 1e6)
_MINUTE_US: Final = 60_000_000
_COARSEST: Final = 0.2
"""A step is at most this share of the time that the stage lasts already: late looks need not be dense."""
_LARGEST_DRAW: Final = 2_000_000
"""Requests of one step."""
_NONE: Final[Ints] = np.zeros(0, dtype=np.int64)


class Question(Frozen, frozen=True, kw_only=True):
    """What is tried out."""

    plan: Plan
    profile: Profile
    rate_per_s: float
    answer_timeout_s: float = 60.0
    connect_timeout_s: float = 3.0
    measures: Measures = Measures()
    seed: int = 1
    users: int = 0  # that keep their arm; 0: units are requests


class Ending(Frozen, frozen=True, kw_only=True):
    """How one imagined rollout went."""

    word: str  # "rolled back", "promoted", "undecided"
    phase: Phase
    stage: int | None
    seconds: float  # of traffic since the rollout began, its profile not counted
    served: int  # by the candidate to clients
    harmed: float  # of these, failed beyond what stable would have failed, on average
    reason: str  # of the last decision


class Lab:
    """One candidate under one plan: what is the same in all its runs is worked out once."""

    def __init__(self, question: Question, effect: Effect) -> None:
        self.question = question
        self.effect = effect
        self.state = _begun(question)
        # The same chance for both: what no effect moves is the same in both arms to the last answer.
        stable, candidate = (
            answers(question.profile, question.measures, one, np.random.default_rng([question.seed, 1]))
            for one in (EQUAL, effect)
        )
        assert self.state.scoring is not None
        self.scoring: Scoring = self.state.scoring
        copies, rng = question.plan.has_shadow, np.random.default_rng([question.seed, 3])
        if question.users:
            mine, theirs = user_kinds(self.scoring, Arm.CANDIDATE, candidate), user_kinds(self.scoring, Arm.STABLE, stable)
            both = user_pair_kinds(self.scoring, stable, candidate, rng) if copies else UserKinds((), ())
            self.of_users = OfUsers(mine, theirs, both)
        else:
            self.stable = request_kinds(self.scoring, Arm.STABLE, stable)
            self.candidate = request_kinds(self.scoring, Arm.CANDIDATE, candidate)
            self.pairs = pair_kinds(self.scoring, stable, candidate, rng) if copies else Kinds((), ())
        self.harm_rate = max(0.0, failing(candidate) - failing(stable))
        self.answers: tuple[list[Answer], list[Answer]] = (candidate, stable)

    def run(self, number: int) -> Ending:
        """One imagined rollout, to its promotion, rollback or time limit."""
        kind = _UserRun if self.question.users else _Run
        return kind(self, np.random.default_rng([self.question.seed, 2, number])).to_the_end()


class _Run:
    """One rollout on imagined time."""

    def __init__(self, lab: Lab, rng: np.random.Generator) -> None:
        self._lab = lab
        self._rng = rng
        self._state = lab.state
        self._ledger: Ledger | StickyLedger = Ledger()
        self._cells: dict[tuple[int, int], Counter[int]] = {}
        self._now_s = 0.0
        self._stage_s = 0.0
        self._segments = len(lab.state.segments)
        self._revision = 0
        self._served = 0

    def to_the_end(self) -> Ending:
        while True:
            decision = self._look()
            if decision.action is Action.KEEP:
                self._serve(self._step_s())
                continue
            self._enact(decision)
            if self._state.phase.is_final or self._state.phase is Phase.WATCHING or self._state.paused:
                return self._ending(decision)

    def _now(self) -> datetime:
        return T0 + timedelta(seconds=self._now_s)

    def _step_s(self) -> float:
        """As long as a step may be: growing with the stage, ended by what the plan waits for."""
        since = self._now_s - self._stage_s
        plan = self._lab.question.plan
        marks = [plan.warm_up_s, plan.max_duration_s]
        step = max(1.0, 1 / self._lab.question.rate_per_s, _COARSEST * since)
        ahead = [mark - since for mark in marks if mark - since > 0]
        return float(np.ceil(min([step, *ahead])))

    def _serve(self, step_s: float) -> None:
        """So much traffic, all of it in the middle of the step."""
        segment, rng, lab = self._state.segment, self._rng, self._lab
        assert segment is not None
        n = int(rng.poisson(min(lab.question.rate_per_s * step_s, _LARGEST_DRAW)))
        mine = int(rng.binomial(n, segment.weight_bp / BUCKETS))
        copied = int(rng.binomial(n - mine, segment.shadow_bp / BUCKETS))
        at_s = int(self._now_s + step_s / 2)
        minute, second = (_T0_US // 1_000_000 + at_s) // 60, at_s % 60
        cells = self._cells.setdefault((segment.id, minute), Counter())
        for kinds, count in ((lab.candidate, mine), (lab.stable, n - mine), (lab.pairs, copied)):
            cells.update(kinds.draw(count, rng, second=second))
        self._revision += 1
        row = CounterRow(
            rollout="", segment=segment.id, journal="j", minute=minute, cells=to_bytes(dict(cells)), revision=self._revision
        )
        self._ledger.add([row])
        self._served += mine
        self._now_s += step_s

    def _look(self) -> Decision:
        tick = Horizon(journal="j", tick_at_us=_T0_US + round(self._now_s * 1e6), dead=False)
        state = self._state
        totals = self._settled(tick)
        evidence = evidence_of(totals, state, newest_tick_age_s=0.0)
        return considered(state, totals, evidence, before=Before.of(state, self._now())).decision

    def _settled(self, tick: Horizon) -> Totals:
        return self._ledger.settled([tick], self._lab.scoring)

    def _enact(self, decision: Decision) -> None:
        needs = segments_for(self._state, decision.action)
        ids = range(self._segments + 1, self._segments + 1 + len(needs))
        self._segments += len(needs)
        before = self._state.stage
        state = apply(self._state, decision, self._now(), segment_ids=list(ids))
        self._state = acknowledged(state, [state.plan_revision], self._now())
        if self._state.stage != before:
            self._stage_s = self._now_s

    def _ending(self, decision: Decision) -> Ending:
        phase = self._state.phase
        word = "rolled back" if phase is Phase.ROLLED_BACK else "undecided" if self._state.paused else "promoted"
        return Ending(
            word=word,
            phase=phase,
            stage=self._state.stage,
            seconds=self._now_s,
            served=self._served,
            harmed=self._served * self._lab.harm_rate,
            reason=decision.reason,
        )


class _UserRun(_Run):
    """The same of users that keep their arm."""

    def __init__(self, lab: Lab, rng: np.random.Generator) -> None:
        super().__init__(lab, rng)
        self._ledger = self._of_users = StickyLedger()
        self._crowd = Crowd(lab.question.users, rng)
        self._rows: dict[tuple[int, int], list[tuple[Ints, Ints]]] = {}

    def _settled(self, tick: Horizon) -> Totals:
        return self._of_users.settled([tick], self._lab.scoring, segments_of(self._state))

    def _serve(self, step_s: float) -> None:
        segment, rng, lab = self._state.segment, self._rng, self._lab
        assert segment is not None
        at_us = _T0_US + round((self._now_s + step_s / 2) * 1e6)
        place = Place(segment=segment.id, start_at_us=at_us)
        users = self._crowd.ask(int(rng.poisson(min(lab.question.rate_per_s * step_s, _LARGEST_DRAW))), rng)
        mine = self._crowd.on_candidate(users, segment.weight_bp)
        copied = users[~mine][rng.random(int((~mine).sum())) < segment.shadow_bp / BUCKETS]
        bins = rng.integers(0, BINS, lab.question.users) if reads_answers(lab.scoring.values) else _NONE
        firsts = [*self._crowd.seen(users, segment.weight_bp, place, bins)] if 0 < segment.weight_bp < BUCKETS else []
        minute = at_us // _MINUTE_US
        cells = self._rows.setdefault((segment.id, minute), [])
        for kinds, those in zip(lab.of_users, (users[mine], users[~mine], copied), strict=True):
            if kinds.any and len(those):
                found = kinds.happen(those, self._crowd, place, rng)
                cells.append((found.keys, found.counts))
                firsts += found.firsts
        self._revision += 1
        keys, counts = (np.concatenate(column) for column in zip((_NONE, _NONE), *cells, strict=True))
        row = CounterRow(
            rollout="", segment=segment.id, journal="j", minute=minute, cells=packed(keys, counts), revision=self._revision
        )
        self._of_users.add([row])
        self._of_users.add_first(firsts)
        self._served += int(mine.sum())
        self._now_s += step_s


def _begun(question: Question) -> RolloutState:
    """The rollout just after its profile was frozen."""
    plan = question.plan
    pending = RolloutState(
        id="imagined",
        route="imagined",
        stable="stable",
        candidate="candidate",
        stable_hash="",
        candidate_hash="",
        plan=plan,
        plan_hash=plan.hash,
        salt=b"imagined",
        phase=Phase.PENDING,
        revision=1,
        plan_revision=0,
        created_at=T0,
        created_by="",
        sticky=question.users > 0,
        answer_timeout_s=question.answer_timeout_s,
        connect_timeout_s=question.connect_timeout_s,
        measures=question.measures,
    )
    scoring = freeze(question.profile, scoring_spec(pending, rate_per_s=question.rate_per_s))
    start = Decision(action=Action.START, because="")
    ids = list(range(1, 1 + len(segments_for(pending, Action.START))))
    return acknowledged(apply(pending, start, T0, segment_ids=ids, scoring=scoring), [0], T0)


class Tally(Frozen, frozen=True, kw_only=True):
    """All runs of one imagined candidate."""

    effect: Effect
    endings: tuple[Ending, ...] = ()

    def share(self, word: str) -> float:
        """Of the runs that ended so."""
        return sum(one.word == word for one in self.endings) / len(self.endings) if self.endings else 0.0

    def those(self, word: str) -> list[Ending]:
        """The runs that ended so."""
        return [one for one in self.endings if one.word == word]


def simulated(
    question: Question,
    effects: tuple[Effect, ...],
    *,
    runs: int,
    keep_going: Callable[[int, int], bool] = lambda done, of: True,
) -> tuple[Tally, ...]:
    """So many runs of each candidate, turn by turn, or as many as `keep_going(done, of)` lets there be."""
    tallies = {effect.name: Tally(effect=effect) for effect in effects}
    labs: dict[str, Lab] = {}
    done = 0
    for number in range(runs):
        for effect in effects:
            if not keep_going(done, runs * len(effects)):
                return tuple(tallies.values())
            if effect.name not in labs:
                labs[effect.name] = Lab(question, effect)
            tally = tallies[effect.name]
            tallies[effect.name] = msgspec.structs.replace(tally, endings=(*tally.endings, labs[effect.name].run(number)))
            done += 1
    return tuple(tallies.values())
