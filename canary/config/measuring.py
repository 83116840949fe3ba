"""What a route's file says of its metrics, as the values that are published: defaults follow from a metric's kind."""

from typing import Final

from canary.config.fields import OFF
from canary.config.schema import MetricModel, PreferenceModel, RouteModel
from canary.config.units import Margin
from canary.observe.sources import FACTS, Place, read_source, read_text_source
from canary.terms import Better, Measures, MetricKind, MetricSpec, RouteKind

PREFERENCE: Final = "preference"
CHAT_TEXT: Final = "json:/choices/0/message/content"
"""Where the answer of a chat completion stands."""

AMOUNT_SHARE: Final = 0.10  # of cost, of quality
RARE_SHARE: Final = 0.03  # a fifth of the .15 that rare rates have together
_COST_MARGINS: Final = Margin(1.02, 0.0), Margin(1.10, 0.0)
_RATE_MARGINS: Final = Margin(1.1, 0.002), Margin(1.5, 0.005)
_QUALITY_DELTAS: Final = 0.005, 0.02  # of the cap


def measures(route: RouteModel) -> Measures:
    """All that is measured of a route's answers beside failures and latency."""
    llm = RouteKind(route.kind) is RouteKind.LLM
    metrics = [_metric(name, model) for name, model in route.metrics.items()]
    if route.preference is not None:
        metrics.append(_preference(route.preference))
    diversity = (CHAT_TEXT if llm else "") if route.diversity is None else route.diversity
    return Measures(
        metrics=tuple(metrics),
        classes=tuple(route.classes.names) if route.classes is not None else (),
        diversity="" if diversity == OFF else diversity,
        first_byte=llm if route.first_byte is None else route.first_byte,
    )


def measured_headers(measured: Measures) -> tuple[str, ...]:
    """Answer headers (lower case) without which these metrics could not be read."""
    sources = [read_source(metric.source) for metric in measured.metrics]
    names = {source.name: None for source in sources if source.place is Place.HEADER}
    text = read_text_source(measured.diversity) if measured.diversity else None
    if any(source.reads_body for source in sources) or (text is not None and text.reads_body):
        names["content-type"] = None  # says whether the body is a stream
    return tuple(names)


def _metric(name: str, model: MetricModel) -> MetricSpec:
    kind = MetricKind.RATE if model.kind == "rate" else MetricKind.MEAN
    better = Better(model.better) if model.better else Better.HIGHER if model.kind == "quality" else Better.LOWER
    cap = 1.0 if kind is MetricKind.RATE and better is Better.HIGHER else model.cap
    rollback, promote = _margins(model, kind, better, cap=cap)
    share = RARE_SHARE if kind is MetricKind.RATE else AMOUNT_SHARE
    return MetricSpec(
        name=name,
        kind=kind,
        source=model.from_,
        better=better,
        cap=cap,
        absent_is_bad=model.absent != "good",
        rollback_rho=rollback.rho,
        rollback_delta=rollback.delta,
        promote_rho=promote.rho,
        promote_delta=promote.delta,
        promotes=model.promote != OFF,
        share=share if model.share is None else model.share,
        unit=_unit(model),
    )


def _margins(model: MetricModel, kind: MetricKind, better: Better, *, cap: float | None) -> tuple[Margin, Margin]:
    """What is tolerated, and what is harmless; where nothing is said, as the kind has it. Off: as tolerated, and not asked."""
    if kind is MetricKind.RATE:
        usual = _RATE_MARGINS
    elif better is Better.HIGHER:
        largest = cap or 1.0  # the checks ask for one
        usual = Margin(1.0, _QUALITY_DELTAS[0] * largest), Margin(1.0, _QUALITY_DELTAS[1] * largest)
    else:
        usual = _COST_MARGINS
    rollback = usual[0] if model.rollback is None else model.rollback
    if isinstance(model.promote, Margin):
        return rollback, model.promote
    return rollback, usual[1] if model.promote is None else rollback


def _unit(model: MetricModel) -> str:
    if model.unit is not None:
        return model.unit
    source = read_source(model.from_)
    if source.place is Place.FACT:
        return FACTS[source.name]
    return "USD" if model.kind == "cost" else ""


def _preference(model: PreferenceModel) -> MetricSpec:
    promote = model.rollback if isinstance(model.promote, str) else model.promote
    return MetricSpec(
        name=PREFERENCE,
        kind=MetricKind.PREFERENCE,
        source=model.prefer,
        better=Better(model.better),
        rollback_delta=model.rollback,
        promote_delta=promote,
        promotes=model.promote != OFF,
        share=RARE_SHARE if model.share is None else model.share,
    )
