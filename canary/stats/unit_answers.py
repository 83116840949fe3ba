"""One answer of each sticky unit: that to its first request of a scored segment, by the bin of its digest.

Which request that is does not depend on the arm, and the unit's arm is a coin of its own, so such answers are compared as those
of requests are: however many more a unit asks for, and whatever it asks, it counts once.
"""

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from canary.stats.diversity import BINS, AnswerCounts, bin_of_answer
from canary.stats.facts import Fact
from canary.stats.value_plan import Form, ValuePlan
from canary.terms import Arm

SAID: Final = "said:"
"""With a segment's number and a bin after it: what a unit's first request there was answered."""

SILENT: Final = BINS
"""In place of a bin: no whole answer by the age."""

Answers = dict[int, dict[int, tuple[int, int]]]
"""Units by segment and bin: candidate, stable."""


class FirstAnswer(NamedTuple):
    """What a unit was told first; ordered by start."""

    start_at_us: int
    segment: int
    arm: Arm
    bin_index: int


@lru_cache(maxsize=64)
def reads_answers(plan: ValuePlan) -> bool:
    """Whether the diversity of answers is guarded."""
    return any(metric.form is Form.DIVERSITY for metric in plan.metrics)


def said_metric(segment: int, bin_index: int) -> str:
    """Under which name a unit's first answer in a segment is kept."""
    return f"{SAID}{segment}:{bin_index}"


def said_bin(metric: str) -> int:
    """The bin of such a name; -1 where it is another's."""
    return int(metric.rpartition(":")[2]) if metric.startswith(SAID) else -1


def bin_said(plan: ValuePlan, fact: Fact) -> int:
    """The bin of an answer under the rollout's key."""
    silent = fact.lost or fact.failed or fact.left or fact.age_us > plan.age_us or not fact.answer
    return SILENT if silent else bin_of_answer(plan.key, fact.answer)


class FirstAnswers:
    """Each unit's first answer; the same whatever the order, the grouping and repetitions."""

    def __init__(self) -> None:
        self._first: dict[bytes, FirstAnswer] = {}
        self._tally: Counter[tuple[int, int, Arm]] = Counter()

    def add(self, unit_hash: bytes, answer: FirstAnswer) -> None:
        """Takes one in. Only settled ones, of segments that are scored for everything."""
        at_hand = self._first.get(unit_hash)
        if at_hand is not None and at_hand <= answer:
            return
        self._first[unit_hash] = answer
        self._tally[answer.segment, answer.bin_index, answer.arm] += 1
        if at_hand is not None:
            self._tally[at_hand.segment, at_hand.bin_index, at_hand.arm] -= 1

    def counts(self) -> Answers:
        """Units by segment and bin."""
        found: Answers = {}
        for segment, bin_index in sorted({place[:2] for place, count in self._tally.items() if count}):
            both = self._tally[segment, bin_index, Arm.CANDIDATE], self._tally[segment, bin_index, Arm.STABLE]
            found.setdefault(segment, {})[bin_index] = both
        return found


def answer_counts(answers: Answers, weights_bp: Mapping[int, int]) -> list[AnswerCounts]:
    """Those of each segment with a coin, by id: sums of logs are the same in the same order only."""
    found = []
    for segment, bins in sorted(answers.items()):
        if segment in weights_bp:
            mine, theirs = ([bins.get(place, (0, 0))[arm] for place in range(BINS)] for arm in (0, 1))
            silent = bins.get(SILENT, (0, 0))
            found.append(
                AnswerCounts(
                    weight_bp=weights_bp[segment],
                    candidate=tuple(mine),
                    stable=tuple(theirs),
                    candidate_silent=silent[0],
                    stable_silent=silent[1],
                )
            )
    return found
