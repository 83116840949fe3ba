"""What no single field of a route's metrics can tell: kinds against margins and caps, names, classes, pairs that cannot be."""

from collections.abc import Iterator
from typing import Any, Final

from canary.config import units
from canary.config.fields import OFF, seen_header
from canary.config.raw import attempt, listing, mapping
from canary.config.tree import Path
from canary.observe.sources import NEVER_READ, Place, read_source

Finding = tuple[Path, bool, str]

RESERVED: Final = frozenset(
    {
        *("error", "error_fast", "error_latency", "error_timeout", "shadow_error", "latency", "p50", "p95", "p99"),
        *("ttfb", "ttft", "first_byte", "throughput", "client_error", "abandoned", "diversity", "preference"),
        *("sample_ratio", "class_mix", "missing_telemetry", "stale_counters", "harm"),
    }
)
"""Names of metrics, guards and alerts that every rollout has."""
OVER_CAP: Final = "_over_cap"
"""How the guard of an amount's cap is called after it."""
_TIGHT: Final = "the promote margin is below the rollback tolerance: nothing in between could be promoted"
_NO_ROOM: Final = "an equal candidate could never be shown to be within this margin: give it room, or off"


def metric_findings(path: Path, route: dict[str, Any]) -> Iterator[Finding]:
    """All mistakes between the fields of one route's metrics."""
    metrics = mapping(route.get("metrics"))
    for name, body in metrics.items():
        here: Path = (*path, "metrics", name)
        metric = mapping(body)
        if name in RESERVED or name.endswith(OVER_CAP):
            yield here, True, f"{name} is the name of a guard that every rollout has: choose another"
        yield from _direction(here, metric)
        yield from _cap(here, metric)
        yield from _absence(here, metric)
        yield from _fact(here, metric)
        yield from _metric_margins(here, metric)
    yield from _preference((*path, "preference"), mapping(route.get("preference")))
    yield from _classes((*path, "classes"), mapping(route.get("classes")))


def metric_warnings(path: Path, route: dict[str, Any], plans: dict[str, Any]) -> Iterator[Finding]:
    """What is allowed and will probably not do what was meant."""
    if not mapping(route.get("preference")):
        return
    here: Path = (*path, "preference")
    if not listing(mapping(route.get("mirror")).get("paths")):
        yield here, True, "only GET and HEAD are copied here: without POST paths in mirror.paths there are no pairs to compare"
    shares = [mapping(mapping(plan).get("shadow")).get("share") for plan in plans.values()]
    if shares and all(attempt(units.share_bp, share) == 0 for share in shares):
        yield here, True, "no plan of this file has a shadow: there are no pairs to compare"


def _higher(metric: dict[str, Any]) -> bool:
    usual = "higher" if metric.get("kind") == "quality" else "lower"
    return bool(metric.get("better", usual) == "higher")


def _direction(path: Path, metric: dict[str, Any]) -> Iterator[Finding]:
    kind, better = metric.get("kind"), metric.get("better")
    if (kind, better) in {("cost", "higher"), ("quality", "lower")}:
        usual = "lower" if kind == "cost" else "higher"
        yield (*path, "better"), False, f"a {kind} is better {usual}; kind: mean takes either"


def _cap(path: Path, metric: dict[str, Any]) -> Iterator[Finding]:
    kind, cap = metric.get("kind"), metric.get("cap")
    if kind == "rate" and cap is not None:
        yield (*path, "cap"), True, "a rate is yes or no: it has no cap"
    elif kind in {"mean", "quality"} and _higher(metric) and cap is None:
        yield path, True, "where higher is better the largest value must be known: give a cap, such as cap: 1"


def _absence(path: Path, metric: dict[str, Any]) -> Iterator[Finding]:
    if metric.get("absent") is not None and metric.get("kind") in {"mean", "cost"} and not _higher(metric):
        yield (*path, "absent"), True, "an amount that is missing is neither good nor bad: its metric falls silent and says so"


def _fact(path: Path, metric: dict[str, Any]) -> Iterator[Finding]:
    source = attempt(read_source, metric.get("from"))
    kind = metric.get("kind")
    if source is None or source.place is not Place.FACT or not isinstance(kind, str):
        return
    amount = source.name in {"latency", "ttfb", "bytes"}
    if amount is (kind == "rate"):
        wanted = "an amount: kind mean" if amount else "yes or no: kind rate"
        yield (*path, "kind"), False, f"fact:{source.name} is {wanted}"


def _metric_margins(path: Path, metric: dict[str, Any]) -> Iterator[Finding]:
    kind = metric.get("kind")
    found: dict[str, units.Margin] = {}
    cap = attempt(units.positive, metric.get("cap"))
    for side in ("rollback", "promote"):
        margin = attempt(units.margin, metric.get(side))
        if margin is None:
            continue
        found[side] = margin
        here: Path = (*path, side)
        if margin.points and kind != "rate":
            yield here, False, "percentage points belong to rates: of an amount write 1.1x + 0.5, in its own unit"
        elif margin.points is False and kind == "rate":
            yield here, False, "of a rate write percentage points, such as 1.1x + 0.2pp"
        elif _higher(metric) and cap is not None and margin.delta >= cap:
            yield here, False, "the margin is as large as the cap: nothing could be worse"
        elif side == "promote" and (margin.rho, margin.delta) == (1.0, 0.0):
            yield here, False, _NO_ROOM
    if len(found) == 2:
        tolerated, harmless = found["rollback"], found["promote"]
        comparable = tolerated.points is None or harmless.points is None or tolerated.points is harmless.points
        wide = harmless.rho >= tolerated.rho and harmless.delta >= tolerated.delta
        if comparable and not wide and (harmless.rho, harmless.delta) != (1.0, 0.0):
            yield (*path, "promote"), False, _TIGHT


def _preference(path: Path, preference: dict[str, Any]) -> Iterator[Finding]:
    tolerated, harmless = (attempt(units.net_loss, preference.get(side)) for side in ("rollback", "promote"))
    if harmless == 0 and preference.get("promote") != OFF:
        yield (*path, "promote"), False, _NO_ROOM
    elif tolerated is not None and harmless is not None and harmless < tolerated:
        yield (*path, "promote"), False, _TIGHT


def _classes(path: Path, classes: dict[str, Any]) -> Iterator[Finding]:
    header = classes.get("header")
    if isinstance(header, str):
        try:
            if seen_header(header) in NEVER_READ:
                yield (*path, "header"), False, f"{header.lower()} carries secrets and is never read"
        except ValueError as error:
            yield (*path, "header"), False, str(error)
    seen: set[str] = set()
    for i, name in enumerate(listing(classes.get("names"))):
        if isinstance(name, str) and name in seen:
            yield (*path, "names", i), False, f"the class {name!r} stands here twice"
        seen |= {name} if isinstance(name, str) else set()
