"""Values of answers from end to end: planned from a profile, counted in cells, summed in columns, weighed as rows.

The one door for everything outside the values' own files.
"""

from collections.abc import Mapping, Sequence

from canary.stats.evidence import MetricEvidence
from canary.stats.frozen import Scoring
from canary.stats.side import Counted, Side
from canary.stats.value_cells import FIRST_VALUE, Columns, columns_of_plan, end_cells, pair_cells
from canary.stats.value_plan import ValueMetric, ValuePlan
from canary.stats.value_planning import plan_values
from canary.stats.value_profile import ValueProfile, value_profile_cells
from canary.stats.value_rows import Look
from canary.stats.value_sides import sides_of_plan

__all__ = [
    "FIRST_VALUE",
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


def columns_of(scoring: Scoring) -> Columns:
    """How values are laid out in `Counted.values`."""
    return columns_of_plan(scoring.values)


def sides(scoring: Scoring) -> tuple[Side, ...]:
    """The rollback side of every metric that has one and adds up over minutes; diversity does not, and has no restarts."""
    return sides_of_plan(scoring.values)


def rows(
    scoring: Scoring, found: Sequence[Counted], rollback_log_e: Mapping[str, float], *, stage: int
) -> tuple[MetricEvidence, ...]:
    """Evidence of every metric: `found` holds one entry for each segment, by id, `rollback_log_e` those of `sides` by name.

    Promote margins are those of the stage (-1: the shadow's; beyond the last: the last's).
    """
    look = Look(scoring.values, scoring.spec, found, rollback=rollback_log_e, stage=stage, gated=scoring.gated)
    return tuple(look.rows())
