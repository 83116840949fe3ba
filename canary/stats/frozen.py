"""The frozen scoring of one rollout: all that its cells, and what they mean, depend on."""

from functools import lru_cache

from canary.stats.contrast import Contrast, Metric
from canary.stats.spec import ScoringSpec
from canary.stats.value_plan import ValuePlan
from canary.terms import Frozen


class Scoring(Frozen, frozen=True, kw_only=True, cache_hash=True):
    """The frozen scoring of one rollout; all that an outcome's cells and their meaning depend on."""

    spec: ScoringSpec
    profile_n: int
    ages_us: tuple[int, ...]  # all ages of the canary lane's contrasts, ascending
    candidate_us: tuple[int, ...]  # all thresholds of each arm, ascending
    stable_us: tuple[int, ...]
    pair_age_us: int  # the age of every pair contrast
    pair_candidate_us: tuple[int, ...]
    pair_stable_us: tuple[int, ...]
    pair_later: float  # 1 + d of the pairs' sign table
    contrasts: tuple[Contrast, ...]
    metrics: tuple[Metric, ...]
    first_candidate_us: tuple[int, ...] = ()  # thresholds of the time to the first byte; empty: not guarded
    first_stable_us: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()  # names of strata 1, 2, ...; stratum 0 is every other request
    gated: tuple[int, ...] = ()  # strata that must pass each promote gate by themselves too
    values: ValuePlan = ValuePlan()

    @property
    def strata(self) -> int:
        """Number of strata."""
        return 1 + len(self.classes)

    @property
    def read(self) -> frozenset[int]:
        """Places of the contrasts that a metric reads; what a limit of the candidate's own counts is read by none."""
        return frozenset(place for metric in self.metrics for place in metric.contrasts)


@lru_cache(maxsize=64)
def the_same(scoring: Scoring) -> Scoring:
    """The first of all equal ones: a state is read anew at each look, and what is kept by scoring is then found at once."""
    return scoring
