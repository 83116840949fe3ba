"""Evidence from clusters of users: the difference of the arms by a normal mixture, with a variance that knows the clusters.

In layers s (segment, stratum, block of time), with n requests and outcome sum Y of each arm, the difference is
D = sum om_s (YC_s / nC_s - rho YS_s / nS_s - delta) / W with om_s = nC_s nS_s / (nC_s + nS_s). Its variance V is the jackknife
one: how far D moves when a cluster is left out, squared, summed over clusters, (B - 1) / B times; made larger for its own few
degrees of freedom. Information 1 / V is the clock: sums over users that stay have positively correlated steps, which only
lowers the highest that such a process climbs (Slepian). It is asymptotic, so it abstains until there are clusters enough.
"""

from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from canary.stats.bets import even, mixed_apart
from canary.stats.contrast import Vector
from canary.stats.mixture import one_sided_log_e
from canary.stats.moments import Moments
from canary.terms import Frozen

UNDERPOWERED: Final = "underpowered_clusters"
"""Too few users carry the traffic to tell a user's ways from the candidate's: split by request or conversation."""

TOO_FEW_EVENTS: Final = "too_few_events"
TOO_FEW_REQUESTS: Final = "too_few_requests"

SCALES: Final = (0.3, 1.0, 5.0, 25.0)
"""Times the expected effect. With one scale alone a cost of 20 times stable's was missed in 89 % of runs at 5 %."""

LEAST_CLUSTERS: Final = 20
LEAST_FREEDOM: Final = 8.0
LEAST_EFFECTIVE: Final = 16.0
LEAST_EVENTS: Final = 30.0
LEAST_REQUESTS: Final = 2_000
"""Burn-ins. The last three guard the promote side: without them a candidate on its margin passed in .46 to .62 of runs."""


class Outcomes(StrEnum):
    """What Y sums."""

    BINARY = "binary"  # 0 or 1
    MEAN = "mean"  # any whole numbers: money, rounded quality


class ClusterTest(Frozen, frozen=True, kw_only=True):
    """One side of one metric. Its null is mu_C <= rho * mu_S + delta; on the promote side mu_C >= rho * mu_S + delta."""

    effect: float  # expected size, in units of the outcome: 10 % of a mean, a rare rate itself, .02 of quality
    outcomes: Outcomes = Outcomes.BINARY
    rho: float = 1.0
    delta: float = 0.0
    promote: bool = False
    stable_rate: float = 0.0  # p0 of the profile; read for binary outcomes


class ClusterEvidence(Frozen, frozen=True, kw_only=True):
    """What the clusters say at one look."""

    log_e: float = 0.0  # 0 where it abstains
    abstains: str = ""
    n_candidate: int = 0  # in layers where both arms can be compared
    n_stable: int = 0
    difference: float = 0.0  # D: mu_C - rho * mu_S - delta
    variance: float = 0.0  # V of D, with its correction; 0: not known
    freedom: float = 0.0  # nu
    clusters_candidate: int = 0  # occupied
    clusters_stable: int = 0
    effective_candidate: float = 0.0  # clusters, had all of them the same number of requests


def evidence_of(moments: Moments, tests: Sequence[ClusterTest]) -> list[ClusterEvidence]:
    """The evidence of one side of each comparison, of the moments of all beside each other.

    To the last bit what each says alone. Raises ValueError where no effect is expected of a test.
    """
    if any(test.effect <= 0 for test in tests):
        raise ValueError(f"expected effects above 0 wanted, found {[test.effect for test in tests]}")
    found = [_Compared(sums, test) for sums, test in zip(_sums(moments), tests, strict=True)]
    silent = [compared.abstains() for compared in found]
    betting = [place for place, reason in enumerate(silent) if not reason]
    log_e = dict(zip(betting, _log_e([found[place] for place in betting]), strict=True))
    return [one.evidence(log_e.get(place, 0.0), silent[place]) for place, one in enumerate(found)]


def _log_e(found: Sequence["_Compared"]) -> list[float]:
    if not found:
        return []
    information = np.array([1 / one.variance for one in found])
    sums = np.array([-one.difference if one.test.promote else one.difference for one in found]) * information
    precisions = np.stack([_precisions(one.test.effect) for one in found])
    log_e = one_sided_log_e(sums[:, None], information[:, None], precisions)
    return [*map(float, mixed_apart(even(len(SCALES)), log_e))]


@lru_cache(maxsize=1_024)
def _precisions(effect: float) -> Vector:
    return np.asarray((np.array(SCALES) * effect) ** -2.0)


class _Sums(NamedTuple):
    """What is read of one comparison's moments; lists hold the candidate's and stable's."""

    weight: float
    means: list[float]
    moved: list[float]  # squares of all moves
    n: list[float]
    squares: float  # of the candidate's requests by cluster
    occupied: list[int]
    outcomes: list[float]


def _sums(of: Moments) -> list[_Sums]:
    """Of all comparisons at once: fewer calls than of one after the other."""
    columns = (
        of.weight,
        of.means,
        np.add.reduce(of.moved * of.moved, axis=2),
        np.add.reduce(of.n, axis=2),
        np.add.reduce(of.n[:, 0] * of.n[:, 0], axis=1),
        np.count_nonzero(of.n > 0, axis=2),
        of.outcomes,
    )
    return [_Sums(*numbers) for numbers in zip(*(column.tolist() for column in columns), strict=True)]


class _Compared:
    """Difference, variance and its degrees of freedom."""

    def __init__(self, sums: _Sums, test: ClusterTest) -> None:
        self.test = test
        self._sums = sums
        self.n_candidate, self.n_stable = sums.n
        self.difference = 0.0
        self.freedom = 0.0
        self._plain = 0.0
        if sums.weight > 0:
            self._compare(sums, test)

    def _compare(self, sums: _Sums, test: ClusterTest) -> None:
        self.difference = sums.means[0] - test.rho * sums.means[1] - test.delta
        (mine, theirs), (own, other) = sums.moved, sums.occupied
        mine, theirs = mine * (own - 1) / own, theirs * (other - 1) / other
        mine = max(mine, self._least_variance(theirs, sums.outcomes[1]))
        theirs *= test.rho * test.rho
        self._plain = mine + theirs
        below = mine * mine / (own - 1) + theirs * theirs / (other - 1)
        self.freedom = self._plain * self._plain / below if below > 0 else 0.0

    @property
    def variance(self) -> float:
        """V, made larger as a t distribution is wider than the normal one; 0 where its freedom, which is at least that of
        the arm with fewer clusters, is too small to say."""
        return self._plain * self.freedom / (self.freedom - 2) if self.freedom > LEAST_FREEDOM else 0.0

    @property
    def effective(self) -> float:
        """Clusters of the candidate, had all of them the same number of requests."""
        return self.n_candidate**2 / self._sums.squares

    def _margin_rate(self) -> float:
        """The candidate's rate on the edge of the null, as far as the profile knows it."""
        return min(self.test.rho * self.test.stable_rate + self.test.delta, 1.0)

    def _least_variance(self, of_stable: float, stable_sum: float) -> float:
        """The candidate's variance, were it on the edge of the null.

        Promoting, with users as different from each other as stable's: without this, a candidate that has few of the
        failing users by luck would be called certain: with 250 users of whom 2 % fail often, 13 % of runs promoted it on
        its margin. A service without any failure, which has no variance to read, is taken for one whose requests fail
        independently; and so it is rolling back, or a candidate that fails always beside a stable version that never does
        would have no variance, and say nothing.
        """
        if self.test.outcomes is Outcomes.MEAN:
            return of_stable * self.n_stable / self.n_candidate * self.test.rho * self.test.rho if self.test.promote else 0.0
        rate = self._margin_rate()
        independent = rate * (1 - rate) / self.n_candidate
        return self._alike(of_stable, stable_sum) * independent if self.test.promote else independent

    def _alike(self, of_stable: float, stable_sum: float) -> float:
        """How much less stable's requests tell for being of the same users; at least 1."""
        rate = stable_sum / self.n_stable
        independent = rate * (1 - rate) / self.n_stable
        return max(1.0, of_stable / independent) if independent > 0 else 1.0

    def abstains(self) -> str:
        """Why it may say nothing yet."""
        if self._sums.weight <= 0 or min(self._sums.occupied) < LEAST_CLUSTERS:
            return UNDERPOWERED
        if self._plain <= 0:
            return TOO_FEW_EVENTS
        return self._abstains_from_promoting() if self.test.promote else ""

    def _abstains_from_promoting(self) -> str:
        if self.test.outcomes is Outcomes.BINARY and self.n_candidate * self._margin_rate() < LEAST_EVENTS:
            return TOO_FEW_EVENTS
        if self.test.outcomes is Outcomes.MEAN and self.n_candidate < LEAST_REQUESTS:
            return TOO_FEW_REQUESTS
        return UNDERPOWERED if self.effective < LEAST_EFFECTIVE else ""

    def evidence(self, log_e: float, abstains: str) -> ClusterEvidence:
        """All of it; nothing where no layer could be compared."""
        if self._sums.weight <= 0:
            return ClusterEvidence(abstains=abstains)
        return ClusterEvidence(
            log_e=log_e,
            abstains=abstains,
            n_candidate=round(self.n_candidate),
            n_stable=round(self.n_stable),
            difference=self.difference,
            variance=self.variance,
            freedom=self.freedom,
            clusters_candidate=self._sums.occupied[0],
            clusters_stable=self._sums.occupied[1],
            effective_candidate=self.effective,
        )
