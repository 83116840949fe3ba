"""Values of stable's traffic before a rollout: the profile cells of declared metrics, and their histograms."""

from collections.abc import Mapping

from canary.stats.facts import Fact
from canary.terms import Frozen, Measures


class ValueProfile(Frozen, frozen=True, kw_only=True):
    """Sparse histograms of values by kind, as (kind, ((bin, count), ...)), ascending."""

    histograms: tuple[tuple[int, tuple[tuple[int, int], ...]], ...] = ()

    @classmethod
    def of(cls, cells: Mapping[int, int]) -> "ValueProfile":
        """The values in a profile's cells; those of other kinds are passed over."""
        return cls()


def value_profile_cells(measures: Measures, fact: Fact, stratum: int = 0) -> tuple[int, ...]:
    """Keys that one outcome of stable increments by one, beside those of `profile.profile_cells`."""
    return ()
