"""A worker's counters in a memory-mapped file: written without a call into the kernel, read by the courier."""

import mmap
import os
import struct
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

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
_GAUGES_AT: Final = _HEADER
_COUNTERS_AT: Final = _GAUGES_AT + 24
_REFUSALS_AT: Final = _COUNTERS_AT + 32
_ROUTES_AT: Final = _REFUSALS_AT + 32
_NAME_CELLS: Final = 8
_HISTOGRAM: Final = BUCKETS + 1  # the sum of microseconds, then the buckets
_SHADOW_AT: Final = _NAME_CELLS + len(ARMS) * len(CLASSES) * _HISTOGRAM
_ROUTE_CELLS: Final = _SHADOW_AT + 16
_CELLS: Final = _ROUTES_AT + MAX_ROUTES * _ROUTE_CELLS
PAGE_BYTES: Final = _CELLS * 8


class Sample(msgspec.Struct, frozen=True):
    """One number for people: a metric's name, its labels, its value."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: int


class RouteCells:
    """One route's place in the page."""

    __slots__ = ("_at", "_cells")

    def __init__(self, cells: memoryview, at: int) -> None:
        self._cells = cells
        self._at = at

    def exchange(self, arm_index: int, status: int, latency_us: int) -> None:
        """Counts an ended exchange; `arm_index` 0 stable, 1 candidate; a status of 0 means no head came."""
        at = self._at + _NAME_CELLS + (arm_index * 6 + status // 100) * _HISTOGRAM
        cells = self._cells
        cells[at] += latency_us
        cells[at + 1 + (latency_us.bit_length() if latency_us < 4_294_967_296 else 32)] += 1

    def sent(self) -> None:
        """Counts a copy sent to the shadow."""
        self._cells[self._at + _SHADOW_AT] += 1

    def dropped(self, drop: MirrorDrop) -> None:
        """Counts a copy that was not sent."""
        self._cells[self._at + _SHADOW_AT + 1 + DROPS.index(drop)] += 1


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
        self._cells[_GAUGES_AT + GAUGES.index(name)] = value

    def counter(self, name: str, value: int) -> None:
        """Adds to a counter."""
        self._cells[_COUNTERS_AT + COUNTERS.index(name)] += value

    def refused(self, status: int) -> None:
        """Counts a request refused before it had a route."""
        at = REFUSALS.index(status) if status in REFUSALS else len(REFUSALS)
        self._cells[_REFUSALS_AT + at] += 1

    def route(self, name: str) -> RouteCells:
        """The route's cells: those it had, or the next free ones, or those of `_other`."""
        wanted = name.encode()[:64].ljust(64, b"\0")
        for slot in range(MAX_ROUTES - 1):
            at = _ROUTES_AT + slot * _ROUTE_CELLS
            held = self._map[at * 8 : at * 8 + 64]
            if held == wanted or not held[0]:
                self._map[at * 8 : at * 8 + 64] = wanted
                return RouteCells(self._cells, at)
        at = _ROUTES_AT + (MAX_ROUTES - 1) * _ROUTE_CELLS
        self._map[at * 8 : at * 8 + 64] = OTHER.encode().ljust(64, b"\0")
        return RouteCells(self._cells, at)

    def close(self) -> None:
        """Lets the mapping go; no cells may be used afterwards."""
        self._cells.release()


def _pages(folder: Path) -> list[tuple[str, tuple[int, ...], bytes]]:
    """Name, cells and raw bytes of every sound page."""
    found = []
    for path in sorted(folder.glob("worker-*.page")):
        try:
            raw = path.read_bytes()
        except OSError:
            continue
        if len(raw) != PAGE_BYTES:
            continue
        cells = struct.unpack(f"<{_CELLS}Q", raw)
        if cells[0] == MAGIC:
            found.append((path.stem, cells, raw))
    return found


def gauges(folder: Path) -> dict[str, dict[str, int]]:
    """Each worker's gauges by name; `snapshot_revision` is -1 where none is in use."""
    read: dict[str, dict[str, int]] = {}
    for worker, cells, _ in _pages(folder):
        values = dict(zip(GAUGES, cells[_GAUGES_AT:], strict=False))
        values["snapshot_revision"] -= 1
        read[worker] = values
    return read


def snapshot_revisions(folder: Path) -> dict[str, int]:
    """The revision in use in each worker, -1 where there is none."""
    return {worker: values["snapshot_revision"] for worker, values in gauges(folder).items()}


def read_pages(folder: Path) -> list[Sample]:
    """All workers' counters summed, gauges per worker; histograms cumulative as Prometheus wants them."""
    totals: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
    samples = [
        Sample(f"canary_worker_{name}", (("worker", worker),), value)
        for worker, values in gauges(folder).items()
        for name, value in values.items()
    ]
    for _, cells, raw in _pages(folder):
        for name, value in zip(COUNTERS, cells[_COUNTERS_AT:], strict=False):
            totals[f"canary_{name}_total", ()] += value
        for status, value in zip((*REFUSALS, "other"), cells[_REFUSALS_AT:], strict=False):
            if value:
                totals["canary_refused_total", (("status", str(status)),)] += value
        for slot in range(MAX_ROUTES):
            at = _ROUTES_AT + slot * _ROUTE_CELLS
            if cells[at]:
                route = raw[at * 8 : at * 8 + 64].rstrip(b"\0").decode(errors="replace")
                _route_totals(totals, route, cells[at : at + _ROUTE_CELLS])
    samples += [Sample(name, labels, value) for (name, labels), value in totals.items()]
    return samples


def _route_totals(totals: Counter[tuple[str, tuple[tuple[str, str], ...]]], route: str, cells: Sequence[int]) -> None:
    for arm_index, arm in enumerate(ARMS):
        for class_index, status_class in enumerate(CLASSES):
            at = _NAME_CELLS + (arm_index * len(CLASSES) + class_index) * _HISTOGRAM
            count = sum(cells[at + 1 : at + _HISTOGRAM])
            if not count:
                continue
            labels = (("route", route), ("arm", arm.value), ("class", status_class))
            totals["canary_exchanges_total", labels] += count
            totals["canary_exchange_duration_us_sum", labels] += cells[at]
            totals["canary_exchange_duration_us_count", labels] += count
            below = 0
            for bits in range(BUCKETS):
                below += cells[at + 1 + bits]
                le = str(2**bits - 1) if bits < BUCKETS - 1 else "+Inf"
                totals["canary_exchange_duration_us_bucket", (*labels, ("le", le))] += below
    totals["canary_shadow_sent_total", (("route", route),)] += cells[_SHADOW_AT]
    for index, drop in enumerate(DROPS):
        value = cells[_SHADOW_AT + 1 + index]
        if value:
            totals["canary_shadow_dropped_total", (("route", route), ("reason", drop.value))] += value
