"""What a rollout compares: contrasts of the arms, and the metrics they speak for."""

from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from canary.terms import Frozen

Vector = npt.NDArray[np.float64]

CELLS: Final = 4
"""Counts of one contrast."""


class Rule(StrEnum):
    """What scores 1 at a contrast's age. Where the arms differ, they differ so that timing can only weaken the evidence."""

    BAD = "bad"  # rollback, errors: candidate ended badly by the age; stable did not end well by it
    UNWELL = "unwell"  # promote, errors: candidate did not end well by the age; stable ended badly by it
    SLOW = "slow"  # did not end well within the arm's threshold
    OPEN = "open"  # had not ended at all within the arm's threshold
    LATER = "later"  # pairs only: the candidate's answer came later than (1 + d) times stable's
    GONE = "gone"  # rollback: as BAD, but the bets are on where the completions come from, whatever was assigned
    # The journal says when a first byte came once the answer has ended, so these are bracketed as errors are:
    TARDY = "tardy"  # rollback: candidate is known to have had no first byte in time; stable is not known to have had one
    UNMET = "unmet"  # promote, failures count: candidate is not known to have had one in time; stable is known not to
    SILENT = "silent"  # promote: the same, but a failure before the threshold was no waiting


FAILURE_RULES: Final = frozenset({Rule.BAD, Rule.UNWELL})
"""Of errors: a warm-up counts for these alone (`Scored.FAILURES`)."""

FIRST_BYTE_RULES: Final = frozenset({Rule.TARDY, Rule.UNMET, Rule.SILENT})


class Stratum(Frozen, frozen=True, kw_only=True):
    """What the profile says of one task class under one contrast."""

    share: float  # of the profile's outcomes
    center: float
    effects: tuple[float, ...] = ()


class Contrast(Frozen, frozen=True, kw_only=True):
    """One rule that scores each request 0 or 1, as a 2x2 comparison of the arms.

    Its null is mu_C <= rho * mu_S + delta on the rollback side and mu_C >= rho * mu_S + delta on the promote side.
    """

    name: str  # unique: "error.rollback", "p95.promote.10", "p95.rollback.pairs"
    rule: Rule
    age_us: int  # scored as things stood at this age of the exchange, in both arms
    promote: bool = False
    pairs: bool = False  # the shadow lane: both arms answered the same request
    candidate_us: int = 0  # SLOW and OPEN: each arm's latency threshold
    stable_us: int = 0
    rho: float = 1.0
    delta: float = 0.0
    center: float = 0.0  # c of the score: stable's rate in the profile; moves power, never validity
    effects: tuple[float, ...] = ()  # candidate rates for which the bets are tuned; empty: bets that need no profile
    strata: tuple[Stratum, ...] = ()  # by task class; empty: `center` and `effects` hold for all


class Metric(Frozen, frozen=True, kw_only=True):
    """One guardrail: which contrasts speak for it. Indices point into `Scoring.contrasts`."""

    name: str
    share: float = 0.0  # of the rollback error budget; 0: promote side only
    canary: tuple[int, ...] = ()  # rollback contrasts of the canary lane, averaged
    shadow: tuple[int, ...] = ()  # rollback contrasts of the shadow lane, averaged
    shadow_weight: float = 0.0  # of the shadow lane in the metric's e-value
    promote: tuple[int, ...] = ()  # the promote contrast of each stage
    promote_pairs: int | None = None  # the promote contrast over pairs
    stage_pairs: tuple[int, ...] = ()  # of each early stage, the promote contrast over pairs that may open it instead
    counts_failures: bool = False  # warm-up counts for it too, and it needs `min_candidate_events`

    @property
    def contrasts(self) -> tuple[int, ...]:
        """All of them."""
        pairs = () if self.promote_pairs is None else (self.promote_pairs,)
        return (*self.canary, *self.shadow, *self.promote, *pairs, *self.stage_pairs)
