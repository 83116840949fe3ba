"""A worker's counters in a memory-mapped file: written without a call into the kernel, read by the courier."""

import mmap
import os
from pathlib import Path
from typing import Final

from canary.terms import Arm, MirrorDrop

MAGIC: Final = 0x31_45_47_41_50_59_52_43  # "CRYPAGE1", little endian
MAX_ROUTES: Final = 64
OTHER: Final = "_other"  # the last slot takes what does not fit
CLASSES: Final = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
BUCKETS: Final = 33  # bucket k: durations of k bits, below 2**k microseconds
GAUGES: Final = ("snapshot_revision", "connections", "spool_bytes", "accepts_bodies", "turned_at_us", "pid", "started_at_us")
COUNTERS: Final = (
    "accepted_connections",
    "received_bytes",
    "sent_bytes",
    "upstream_connects",
    "upstream_stray",
    "snapshot_failures",
    "dropped_frames",
)
REFUSALS: Final = (400, 404, 408, 413, 417, 431, 501, 503, 505)
DROPS: Final = tuple(drop for drop in MirrorDrop if drop)
ARMS: Final = tuple(Arm)

_HEADER: Final = 8
GAUGES_AT: Final = _HEADER
COUNTERS_AT: Final = GAUGES_AT + 24
REFUSALS_AT: Final = COUNTERS_AT + 32
ROUTES_AT: Final = REFUSALS_AT + 32
NAME_CELLS: Final = 8
HISTOGRAM: Final = BUCKETS + 1  # the sum of microseconds, then the buckets
SHADOW_AT: Final = NAME_CELLS + len(ARMS) * len(CLASSES) * HISTOGRAM
ROUTE_CELLS: Final = SHADOW_AT + 16
CELLS: Final = ROUTES_AT + MAX_ROUTES * ROUTE_CELLS
PAGE_BYTES: Final = CELLS * 8


class RouteCells:
    """One route's place in the page."""

    __slots__ = ("_at", "_cells")

    def __init__(self, cells: memoryview, at: int) -> None:
        self._cells = cells
        self._at = at

    def exchange(self, arm_index: int, status: int, latency_us: int) -> None:
        """Counts an ended exchange; `arm_index` 0 stable, 1 candidate; a status of 0 means no head came."""
        at = self._at + NAME_CELLS + (arm_index * 6 + status // 100) * HISTOGRAM
        cells = self._cells
        cells[at] += latency_us
        cells[at + 1 + (latency_us.bit_length() if latency_us < 4_294_967_296 else 32)] += 1

    def sent(self) -> None:
        """Counts a copy sent to the shadow."""
        self._cells[self._at + SHADOW_AT] += 1

    def dropped(self, drop: MirrorDrop) -> None:
        """Counts a copy that was not sent."""
        self._cells[self._at + SHADOW_AT + 1 + DROPS.index(drop)] += 1


class Page:
    """The writing side. Counters go on where an earlier worker of the same number left them; gauges begin anew."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            if os.fstat(fd).st_size != PAGE_BYTES:
                os.ftruncate(fd, 0)
                os.ftruncate(fd, PAGE_BYTES)
            self._map = mmap.mmap(fd, PAGE_BYTES)
        finally:
            os.close(fd)
        self._cells = memoryview(self._map).cast("Q")
        if self._cells[0] != MAGIC:
            self._map[:] = bytes(PAGE_BYTES)
            self._cells[0] = MAGIC
        for name in GAUGES:
            self.gauge(name, 0)

    def gauge(self, name: str, value: int) -> None:
        """Sets a gauge; the snapshot's revision is kept plus one, so that 0 says "none"."""
        self._cells[GAUGES_AT + GAUGES.index(name)] = value

    def counter(self, name: str, value: int) -> None:
        """Adds to a counter."""
        self._cells[COUNTERS_AT + COUNTERS.index(name)] += value

    def refused(self, status: int) -> None:
        """Counts a request refused before it had a route."""
        at = REFUSALS.index(status) if status in REFUSALS else len(REFUSALS)
        self._cells[REFUSALS_AT + at] += 1

    def route(self, name: str) -> RouteCells:
        """The route's cells: those it had, or the next free ones, or those of `_other`."""
        wanted = name.encode()[:64].ljust(64, b"\0")
        for slot in range(MAX_ROUTES - 1):
            at = ROUTES_AT + slot * ROUTE_CELLS
            held = self._map[at * 8 : at * 8 + 64]
            if held == wanted or not held[0]:
                self._map[at * 8 : at * 8 + 64] = wanted
                return RouteCells(self._cells, at)
        at = ROUTES_AT + (MAX_ROUTES - 1) * ROUTE_CELLS
        self._map[at * 8 : at * 8 + 64] = OTHER.encode().ljust(64, b"\0")
        return RouteCells(self._cells, at)

    def close(self) -> None:
        """Lets the mapping go; no cells may be used afterwards."""
        self._cells.release()
