"""One e-value from the two methods for sticky units, so that both spend one share of the error budget."""

import math
from typing import Final

import numpy as np

from canary.stats.clustered import ClusterEvidence
from canary.stats.first_event import FirstEventEvidence

FIRST_EVENTS_WEIGHT: Final = 0.5
"""Fixed before the first request: choosing the louder method afterwards, or changing over, would spend the share twice."""


def rollback_log_e(first: FirstEventEvidence, clustered: ClusterEvidence) -> float:
    """Log of the mixture for a rare metric's rollback side; a method that abstains has not bet, and counts as e = 1."""
    return float(np.logaddexp(math.log(FIRST_EVENTS_WEIGHT) + first.log_e, math.log1p(-FIRST_EVENTS_WEIGHT) + clustered.log_e))


def abstention(first: FirstEventEvidence, clustered: ClusterEvidence) -> str:
    """Why a rare metric may not roll back: only where neither method can speak."""
    return clustered.abstains if first.abstains and clustered.abstains else ""
