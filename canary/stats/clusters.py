"""Sticky units: requests of one user share their arm, so users are compared, in 128 groups of them, not requests.

Cells are integers for each (segment, stratum, block of start time, arm, cluster): requests n and the sum Y of their
outcomes. Merging is adding. How strong the evidence of these cells is says `clustered`.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from canary.terms import Arm

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


class Clusters:
    """The cells of one metric: for each layer an integer array [arm, cluster, (n, Y)], arm 0 the candidate."""

    __slots__ = ("_layers",)

    def __init__(self) -> None:
        self._layers: dict[Layer, Ints] = {}

    def add(self, layer: Layer, arm: Arm, cluster: int, *, outcome: int, requests: int = 1) -> None:
        """Counts requests of one cluster, with the sum of their outcomes (whole numbers from 0 on; larger is worse)."""
        if not 0 <= cluster < CLUSTERS or outcome < 0 or requests < 0:
            raise ValueError(f"cluster 0..{CLUSTERS - 1}, counts from 0 on expected, found {cluster}, {requests}, {outcome}")
        cells = self._layer(layer)[0 if arm == Arm.CANDIDATE else 1, cluster]
        cells += (requests, outcome)

    def add_all(self, other: "Clusters") -> None:
        """Adds what another one counted; whole numbers, so neither order nor grouping matter."""
        for layer, cells in other.layers():
            self._layer(layer)[:] += cells

    def layers(self) -> list[tuple[Layer, Ints]]:
        """All layers, ascending: sums of fractions are the same in the same order only."""
        return sorted(self._layers.items(), key=lambda item: item[0])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Clusters):
            return NotImplemented
        mine, theirs = self._told(), other._told()
        return mine.keys() == theirs.keys() and all(np.array_equal(mine[layer], theirs[layer]) for layer in mine)

    __hash__ = None  # type: ignore[assignment]  # it grows

    def _told(self) -> Mapping[Layer, Ints]:
        return {layer: cells for layer, cells in self._layers.items() if cells.any()}

    def _layer(self, layer: Layer) -> Ints:
        found = self._layers.get(layer)
        if found is None:
            found = self._layers[layer] = _nothing()
        return found


def _nothing() -> Ints:
    return np.zeros((2, CLUSTERS, 2), dtype=np.int64)
