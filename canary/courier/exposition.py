"""The courier's own metrics in Prometheus' text format."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from canary.courier.tally import BUCKETS, Histogram, Tally
from canary.telemetry.readings import Sample

_FIRST_BUCKET: Final = 6  # 64 us; everything faster is in it
_LAST_BUCKET: Final = 30  # 1,074 s


class Standing(msgspec.Struct, frozen=True):
    """What is measured when somebody asks."""

    spool_bytes: int
    lag_s: float | None  # None: no journal of a living worker
    journals: int
    snapshot_revision: int | None
    dropped_frames: int
    local_orders: int = 0


def exposition(tally: Tally, standing: Standing, *, pages: Iterable[Sample] = ()) -> str:
    """All families, the workers' own included, ready to be served."""
    return "".join(f"{line}\n" for line in (*_lines(tally, standing), *_page_lines(pages)))


def _page_lines(samples: Iterable[Sample]) -> Iterator[str]:
    """What workers count in their pages, family by family."""
    by_family: dict[str, list[Sample]] = {}
    for sample in samples:
        by_family.setdefault(_family_of(sample.name), []).append(sample)
    for family, members in sorted(by_family.items()):
        kind = "histogram" if family != members[0].name else "counter" if family.endswith("_total") else "gauge"
        yield from _family(family, kind, text="Counted by the workers.")
        for sample in members:
            yield f"{sample.name}{_labels(dict(sample.labels)) if sample.labels else ''} {sample.value}"


def _family_of(name: str) -> str:
    for part in ("_bucket", "_sum", "_count"):
        if name.endswith(f"_us{part}"):
            return name.removesuffix(part)
    return name


def _lines(tally: Tally, standing: Standing) -> Iterator[str]:
    yield from _gauge("canary_spool_bytes", standing.spool_bytes, text="Bytes in all journals here.")
    if standing.lag_s is not None:
        yield from _gauge(
            "canary_courier_lag_seconds", standing.lag_s, text="Age of the last committed tick of a living worker."
        )
    yield from _gauge("canary_journals", standing.journals, text="Journals not yet wholly committed.")
    if standing.snapshot_revision is not None:
        yield from _gauge("canary_snapshot_revision", standing.snapshot_revision, text="Plan revision of the snapshot file.")
    yield from _gauge("canary_local_orders", standing.local_orders, text="Routes on stable alone by an order given here.")
    yield from _gauge("canary_blind_seconds", tally.blind_s, text="How long nobody could judge the canary here.")
    yield from _gauge("canary_rejected_files", tally.aside_files, text="Frames set aside in rejected/.")
    yield from _gauge("canary_rejected_bytes", tally.aside_bytes, text="Bytes of the frames set aside in rejected/.")
    yield from _counters(
        "canary_rejected_unkept_total",
        (({"reason": reason}, tally.unkept.get(reason, 0)) for reason in ("files", "bytes", "disk")),
        text="Rejected frames that were not set aside, by the bound that was reached.",
    )
    totals = {
        "canary_courier_frames_total": ("Frames committed.", tally.frames),
        "canary_courier_commits_total": ("Transactions committed.", tally.commits),
        "canary_rejected_frames_total": ("Frames that could not be recorded.", tally.rejected),
        "canary_lost_exchanges_total": ("Exchanges and pairs whose worker died.", tally.lost),
        "canary_blind_orders_total": ("Canaries sent to stable because nobody could judge them.", tally.blind_orders),
    }
    for name, (text, value) in totals.items():
        yield from _family(name, "counter", text=text)
        yield f"{name} {value}"
    yield from _gauge(
        "canary_journal_dropped_frames", standing.dropped_frames, text="Frames dropped at a bound by living workers."
    )
    yield from _counters(
        "canary_requests_total",
        (
            ({"route": route, "arm": str(arm), "code_class": f"{klass}xx"}, n)
            for (route, arm, klass), n in sorted(tally.requests.items())
        ),
        text="Answers recorded, by route, arm and class of status (0xx: no head came).",
    )
    yield from _family("canary_request_duration_seconds", "histogram", text="From a request's start to its answer's end.")
    for (route, arm), histogram in sorted(tally.durations.items()):
        yield from _histogram("canary_request_duration_seconds", histogram, labels={"route": route, "arm": str(arm)})


def _family(name: str, kind: str, *, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _gauge(name: str, value: float, *, text: str) -> Iterator[str]:
    yield from _family(name, "gauge", text=text)
    yield f"{name} {value}"


def _counters(name: str, samples: Iterable[tuple[Mapping[str, str], int]], *, text: str) -> Iterator[str]:
    yield from _family(name, "counter", text=text)
    for labels, value in samples:
        yield f"{name}{_labels(labels)} {value}"


def _histogram(name: str, histogram: Histogram, *, labels: Mapping[str, str]) -> Iterator[str]:
    counted = sum(histogram.buckets[:_FIRST_BUCKET])
    for i in range(_FIRST_BUCKET, min(_LAST_BUCKET, BUCKETS - 1) + 1):
        counted += histogram.buckets[i]
        yield f"{name}_bucket{_labels({**labels, 'le': f'{2**i / 1e6:g}'})} {counted}"
    total = sum(histogram.buckets)
    yield f"{name}_bucket{_labels({**labels, 'le': '+Inf'})} {total}"
    yield f"{name}_sum{_labels(labels)} {histogram.sum_us / 1e6}"
    yield f"{name}_count{_labels(labels)} {total}"


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
