"""Values of stable's traffic before a rollout: the profile cells of its metrics, and their histograms.

A histogram's kind is a hash of what the values are (the metric's name, source, kind, direction, for qualities the cap) and of
the task class's name. A metric that is declared anew or otherwise, and a class by another name, start from nothing.
"""

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from canary.stats.facts import Fact
from canary.stats.grid import Known
from canary.stats.readings import ABANDONED, CLIENT_ERROR, form_of, reading_of
from canary.stats.value_plan import Form
from canary.terms import Better, Frozen, Measures, MetricKind, MetricSpec

KIND_SHIFT: Final = 16
FIRST_KIND: Final = 2**46
"""Kinds of values lie in FIRST_KIND .. 2 * FIRST_KIND - 1, far above those of latencies."""

LOSS_STEPS: Final = 4096
"""Bins of a quality's loss, evenly spaced so that nothing lost and all lost are exact."""
BINS_PER_OCTAVE: Final = 64
"""Of amounts: 1.1 % wide. 16 bits of them reach from 2^-512 to 2^511, whatever the unit."""

_MIDDLE: Final = 32_768
_LARGEST_BIN: Final = 65_534
_REFUSED_BIN: Final = 65_535
_BIN_MASK: Final = (1 << KIND_SHIFT) - 1
_KIND: Final = b"canary-val-kind"

BUILT_IN: Final = tuple(
    MetricSpec(
        name=name,
        kind=MetricKind.RATE,
        source=f"fact:{name}",
        rollback_rho=1.10,
        rollback_delta=0.002,
        promotes=False,
        unit="",
    )
    for name in (CLIENT_ERROR, ABANDONED)
)
"""Rates that every rollout guards: they are read from the facts, and have a rollback side only."""


class ValueProfile(Frozen, frozen=True, kw_only=True):
    """Sparse histograms of values by kind, as (kind, ((bin, count), ...)), ascending. They tune; they prove nothing."""

    histograms: tuple[tuple[int, tuple[tuple[int, int], ...]], ...] = ()

    @classmethod
    def of(cls, cells: Mapping[int, int]) -> "ValueProfile":
        """The values in a profile's cells (sums over journals and hours); those of other kinds are passed over."""
        parts: dict[int, list[tuple[int, int]]] = {}
        for key in sorted(cells):
            if key >> KIND_SHIFT >= FIRST_KIND and cells[key]:
                parts.setdefault(key >> KIND_SHIFT, []).append((key & _BIN_MASK, cells[key]))
        return cls(histograms=tuple((kind, tuple(bins)) for kind, bins in parts.items()))

    def values(self, spec: MetricSpec, class_name: str) -> dict[float, int]:
        """How often each value was seen in one task class (""; of no named class): as scored, to a bin's precision."""
        wanted = kind_of(spec, class_name)
        for kind, bins in self.histograms:
            if kind == wanted:
                form = form_of(spec)
                return {_value(form, index): count for index, count in bins if index != _REFUSED_BIN}
        return {}


def kind_of(spec: MetricSpec, class_name: str) -> int:
    """The kind of histogram that holds a metric's values in one task class."""
    cap = repr(spec.cap) if spec.better is Better.HIGHER else ""
    text = "\0".join([spec.name, spec.source, spec.kind, spec.better, str(int(spec.absent_is_bad)), cap, class_name])
    digest = blake2b(text.encode(), digest_size=8, person=_KIND).digest()
    return FIRST_KIND | int.from_bytes(digest, "big") % FIRST_KIND


def value_profile_cells(measures: Measures, fact: Fact, stratum: int = 0) -> tuple[int, ...]:
    """Keys that one outcome of stable increments by one, beside those of `profile.profile_cells`."""
    if fact.lost:
        return ()
    keys = _cells_of_facts(measures.classes, (fact.client_error, fact.left), stratum)
    return (*keys, *_cells(measures, fact, stratum)) if measures.metrics else keys


@lru_cache(maxsize=1_024)
def _cells_of_facts(classes: tuple[str, ...], facts: tuple[bool, bool], stratum: int) -> tuple[int, ...]:
    """Cells of the guards that every rollout has: few, and asked for with every answer."""
    kinds = _kinds(Measures(classes=classes))
    place = stratum if stratum <= len(classes) else 0
    return tuple(kinds[i][2][place] << KIND_SHIFT | _bin_of(Form.RATE, float(fact)) for i, fact in enumerate(facts))


def _cells(measures: Measures, fact: Fact, stratum: int) -> Iterator[int]:
    for index, (spec, form, kinds) in enumerate(_kinds(measures)[len(BUILT_IN) :]):
        if form is Form.PREFERENCE:
            continue
        raw = fact.values[index] if index < len(fact.values) else None
        kind = kinds[stratum if stratum < len(kinds) else 0]
        yield kind << KIND_SHIFT | _bin(form, spec, raw, fact)


@lru_cache(maxsize=256)
def _kinds(measures: Measures) -> tuple[tuple[MetricSpec, Form, tuple[int, ...]], ...]:
    names = ("", *measures.classes)
    specs = (*BUILT_IN, *measures.metrics)
    return tuple((spec, form_of(spec), tuple(kind_of(spec, name) for name in names)) for spec in specs)


def _bin(form: Form, spec: MetricSpec, raw: float | None, fact: Fact) -> int:
    if form is Form.QUALITY and spec.cap is None:
        return _REFUSED_BIN
    match reading_of(form, spec, raw, fact):
        case Known(value=value):
            return _bin_of(form, value)
        case _:
            return _REFUSED_BIN


def _bin_of(form: Form, value: float) -> int:
    if form is Form.RATE:
        return int(value)
    if form is Form.QUALITY:
        return round(value * LOSS_STEPS)
    if value <= 0:
        return 0
    return min(max(1, math.floor(math.log2(value) * BINS_PER_OCTAVE) + _MIDDLE), _LARGEST_BIN)


def _value(form: Form, index: int) -> float:
    """What a bin's values are taken for; an amount's is the middle of its bin."""
    if form is Form.RATE:
        return float(index)
    if form is Form.QUALITY:
        return index / LOSS_STEPS
    return 2.0 ** ((index - _MIDDLE + 0.5) / BINS_PER_OCTAVE) if index else 0.0
