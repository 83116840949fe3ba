"""All workers' counters, read from their pages and summed."""

import struct
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from canary.telemetry.page import (
    ARMS,
    BUCKETS,
    CELLS,
    CLASSES,
    COUNTERS,
    COUNTERS_AT,
    DROPS,
    GAUGES,
    GAUGES_AT,
    HISTOGRAM,
    MAGIC,
    MAX_ROUTES,
    NAME_CELLS,
    PAGE_BYTES,
    REFUSALS,
    REFUSALS_AT,
    ROUTE_CELLS,
    ROUTES_AT,
    SHADOW_AT,
)


class Sample(msgspec.Struct, frozen=True):
    """One number for people: a metric's name, its labels, its value."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: int


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
        cells = struct.unpack(f"<{CELLS}Q", raw)
        if cells[0] == MAGIC:
            found.append((path.stem, cells, raw))
    return found


def gauges(folder: Path) -> dict[str, dict[str, int]]:
    """Each worker's gauges by name; `snapshot_revision` is -1 where none is in use."""
    read: dict[str, dict[str, int]] = {}
    for worker, cells, _ in _pages(folder):
        values = dict(zip(GAUGES, cells[GAUGES_AT:], strict=False))
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
        for name, value in zip(COUNTERS, cells[COUNTERS_AT:], strict=False):
            totals[f"canary_{name}_total", ()] += value
        for status, value in zip((*REFUSALS, "other"), cells[REFUSALS_AT:], strict=False):
            if value:
                totals["canary_refused_total", (("status", str(status)),)] += value
        for slot in range(MAX_ROUTES):
            at = ROUTES_AT + slot * ROUTE_CELLS
            if cells[at]:
                route = raw[at * 8 : at * 8 + 64].rstrip(b"\0").decode(errors="replace")
                _route_totals(totals, route, cells[at : at + ROUTE_CELLS])
    samples += [Sample(name, labels, value) for (name, labels), value in totals.items()]
    return samples


def _route_totals(totals: Counter[tuple[str, tuple[tuple[str, str], ...]]], route: str, cells: Sequence[int]) -> None:
    for arm_index, arm in enumerate(ARMS):
        for class_index, status_class in enumerate(CLASSES):
            at = NAME_CELLS + (arm_index * len(CLASSES) + class_index) * HISTOGRAM
            count = sum(cells[at + 1 : at + HISTOGRAM])
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
    totals["canary_shadow_sent_total", (("route", route),)] += cells[SHADOW_AT]
    for index, drop in enumerate(DROPS):
        value = cells[SHADOW_AT + 1 + index]
        if value:
            totals["canary_shadow_dropped_total", (("route", route), ("reason", drop.value))] += value
