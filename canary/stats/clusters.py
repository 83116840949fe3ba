"""Sticky units: requests of one user share their arm, so users are compared, in 128 groups of them, not requests.

Cells are integers for each (segment, stratum, block of start time, arm, cluster): requests n and the sum Y of their
outcomes. Merging is adding: `sticky_ledger` does it. How strong the evidence of these cells is says `clustered`.
"""

from hashlib import blake2b
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

CLUSTERS: Final = 128
"""Groups of users. From 32 to 512 all behave alike; 128 keep the cells few and the variance well known."""

_CLUSTER: Final = b"canary-cluster"

Ints = npt.NDArray[np.int64]


def cluster_of(unit_hash: bytes) -> int:
    """The unit's cluster, 0..127: the same in every rollout, and independent of its bucket by a tag of its own."""
    return int.from_bytes(blake2b(unit_hash, digest_size=8, person=_CLUSTER).digest(), "big") % CLUSTERS


class Layer(NamedTuple):
    """Within one of these the arms are comparable: same weight, same class, same time."""

    segment: int
    stratum: int
    block: int
