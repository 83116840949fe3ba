"""Cells of sticky routes: each says beside what a plain cell says in which of the 128 clusters of users it was.

A plain cell's metric number moves up by the cluster's seven bits, and its second gives way: clusters are compared by minutes.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from canary.stats.cells import METRIC_SHIFT, SECOND_SHIFT, WHOLE_MINUTE
from canary.stats.clusters import CLUSTERS, Ints, cluster_of

STICKY_SHIFT: Final = METRIC_SHIFT + 24
"""The bit that tells these cells from plain ones; plain metric numbers end far below it."""

_STICKY: Final = 1 << STICKY_SHIFT
_CLUSTER_BITS: Final = 7
_SECOND: Final = WHOLE_MINUTE << SECOND_SHIFT
_METRIC_ONE: Final = 1 << METRIC_SHIFT
_REST_MASK: Final = _METRIC_ONE - 1

_cluster = lru_cache(maxsize=65_536)(cluster_of)

assert CLUSTERS == 1 << _CLUSTER_BITS


def clustered(keys: Iterable[int], unit_hash: bytes) -> tuple[int, ...]:
    """The cells of an event on a sticky route, of the plain ones; none for a request without a unit, which has no coin."""
    if not unit_hash:
        return ()
    cluster = _cluster(unit_hash) << METRIC_SHIFT
    return tuple([_moved(key | _SECOND) | cluster for key in keys])


@lru_cache(maxsize=65_536)
def _moved(key: int) -> int:
    """A cell of cluster 0; there are a few hundred of them, asked for with every answer."""
    return _STICKY | (key >> METRIC_SHIFT) << METRIC_SHIFT + _CLUSTER_BITS | (key & _REST_MASK)


def plain(keys: Ints) -> tuple[Ints, Ints]:
    """Of each cell its cluster and the plain cell (second: the whole minute); raises ValueError where one has no cluster."""
    if len(keys) and not (keys & _STICKY).all():
        raise ValueError("cells without a cluster: they were counted where units are requests")
    metric = (keys & ~_STICKY) >> METRIC_SHIFT
    return metric & CLUSTERS - 1, metric >> _CLUSTER_BITS << METRIC_SHIFT | keys & _REST_MASK
