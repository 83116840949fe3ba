"""Values of answers from end to end: planned from a profile, counted in cells, summed in columns, weighed as rows.

The one door for everything outside the values' own files.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from canary.stats.evidence import MetricEvidence
from canary.stats.facts import Fact
from canary.stats.frozen import Scoring
from canary.stats.side import Counted, Ints, Side
from canary.stats.spec import ScoringSpec
from canary.stats.value_plan import ValueMetric, ValuePlan
from canary.stats.value_profile import ValueProfile, value_profile_cells
from canary.terms import Arm

__all__ = [
    "Columns",
    "ValueMetric",
    "ValuePlan",
    "ValueProfile",
    "columns_of",
    "end_cells",
    "pair_cells",
    "plan_values",
    "rows",
    "sides",
    "value_profile_cells",
]


def plan_values(profile: ValueProfile, spec: ScoringSpec, *, age_us: int) -> ValuePlan:
    """What is counted of values and under which margins; `age_us` is the timeout's age. Shares are raw until `scaled`."""
    return ValuePlan(age_us=age_us, strata=1 + len(spec.measures.classes), key=spec.answer_key)


def end_cells(plan: ValuePlan, arm: Arm, fact: Fact, stratum: int = 0) -> tuple[int, ...]:
    """Cells of an answer's end, beside those of the contrasts; none for one that came after the age or was lost."""
    return ()


def pair_cells(plan: ValuePlan, live: Fact, shadow: Fact, stratum: int = 0) -> tuple[int, ...]:
    """Cells of a pair, beside those of the contrasts."""
    return ()


class Columns(Protocol):
    """The counts of one segment as a vector of integers; a start without a value is in the place of an unknown one."""

    @property
    def size(self) -> int:
        """Length of a vector."""
        ...

    def add(self, vector: Ints, keys: Ints, counts: Ints) -> None:
        """Adds cells of minutes that are settled for `plan.age_us`: starts, pair starts and drops, values; passes over others."""
        ...


class _NoColumns:
    @property
    def size(self) -> int:
        return 0

    def add(self, vector: Ints, keys: Ints, counts: Ints) -> None:
        return None


def columns_of(scoring: Scoring) -> Columns:
    """How values are laid out in `Counted.values`."""
    return _NoColumns()


def sides(scoring: Scoring) -> tuple[Side, ...]:
    """The rollback side of every metric that has one and adds up over minutes; diversity does not, and has no restarts."""
    return ()


def rows(
    scoring: Scoring, found: Sequence[Counted], rollback_log_e: Mapping[str, float], *, stage: int
) -> tuple[MetricEvidence, ...]:
    """Evidence of every metric: `found` holds one entry for each segment, by id, `rollback_log_e` those of `sides` by name."""
    return ()
