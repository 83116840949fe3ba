"""Settings that would do nothing where they stand: those that guard are refused, the others are warned of.

Whoever asks for a guard and does not get it believes in a safety that is not there.
"""

from collections.abc import Iterator
from typing import Any, Final

from canary.config import units
from canary.config.fields import OFF
from canary.config.raw import attempt, listing, mapping
from canary.config.tree import Path
from canary.observe.sources import Place, read_source, read_text_source
from canary.rollout.plan import Plan
from canary.split.spec import Limits

Finding = tuple[Path, bool, str]

COST: Final = "cost"
_NO_CLASSES: Final = (
    "no route here has classes and requests as its unit, so no gate would ask for more: give a route"
    " classes: {header: NAME, names: [...]}, or leave this out"
)
_NO_COST: Final = (
    "no route here has a metric `cost`, so nothing would ever be spent: give one"
    " metrics: {cost: {from: header:NAME, kind: cost}}, or leave this out"
)
_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0"})
_DEFAULT_PLAN: Final = Plan(name="default")


def refusals(root: dict[str, Any]) -> Iterator[Finding]:
    """Guards that would guard nothing, and what contradicts what stands beside it."""
    routes, plans = mapping(root.get("routes")), mapping(root.get("plans"))
    for name, body in routes.items():
        yield from _of_route(("routes", name), mapping(body))
    for name, body in plans.items():
        plan, path = mapping(body), ("plans", name)
        if _is_on(plan.get("class_gates")) and routes and not any(map(_has_gates, routes.values())):
            yield (*path, "class_gates"), False, _NO_CLASSES
        yield from _budget((*path, "harm_budget"), mapping(plan.get("harm_budget")), routes)
        yield from _dwell(path, plan)


def hints(root: dict[str, Any]) -> Iterator[Finding]:
    """What is allowed and will not do what was probably meant."""
    routes, plans = mapping(root.get("routes")), mapping(root.get("plans"))
    buffered = attempt(units.size_bytes, mapping(root.get("limits")).get("buffered_body_bytes"))
    buffered_bytes = Limits().buffered_body_bytes if buffered is None else buffered
    for name, body in routes.items():
        yield from _route_hints(("routes", name), mapping(body), plans, buffered_bytes=buffered_bytes)
    for name, body in plans.items():
        yield from _plan_hints(("plans", name), mapping(body), routes)


def _of_route(path: Path, route: dict[str, Any]) -> Iterator[Finding]:
    for name, body in mapping(route.get("metrics")).items():
        metric, here = mapping(body), (*path, "metrics", name)
        if metric.get("kind") == "rate" and metric.get("unit") is not None:
            yield (*here, "unit"), True, "a rate is yes or no: it has no unit"
        source = attempt(read_source, metric.get("from"))
        if source is not None and source.place is Place.FACT and metric.get("kind") == "rate" and "absent" in metric:
            yield (*here, "absent"), True, f"fact:{source.name} is known of every answer: it is never absent"
    for name, body in mapping(route.get("versions")).items():
        version = mapping(body)
        upstream = version.get("upstream")
        plain = isinstance(upstream, str) and upstream.startswith("http://")
        if plain and str(version.get("verify")).lower() in _FALSE:
            yield (*path, "versions", name, "verify"), True, "there is no certificate to check on an http:// upstream"


def _budget(path: Path, budget: dict[str, Any], routes: dict[str, Any]) -> Iterator[Finding]:
    if attempt(units.positive, budget.get(COST)) is None or not routes or any(map(_has_cost, routes.values())):
        return
    yield (*path, COST), True, _NO_COST


def _dwell(path: Path, plan: dict[str, Any]) -> Iterator[Finding]:
    """A stage that must last longer than it may can only end without an answer."""
    longest = attempt(units.seconds, plan.get("max_duration"))
    longest_s = _DEFAULT_PLAN.max_duration_s if longest is None else longest
    usual_s = _DEFAULT_PLAN.stages[0].dwell_s
    for i, body in enumerate(listing(plan.get("stages"))):
        given = attempt(units.seconds, mapping(body).get("dwell"))
        dwell_s = usual_s if given is None else given
        if 0 < longest_s <= dwell_s:
            said = f"a stage that lasts at least {units.format_seconds(dwell_s)} can never be passed within max_duration"
            here: Path = (*path, "stages", i, "dwell") if given is not None else (*path, "max_duration")
            yield here, False, f"{said}, {units.format_seconds(longest_s)}"


def _route_hints(path: Path, route: dict[str, Any], plans: dict[str, Any], *, buffered_bytes: int) -> Iterator[Finding]:
    mirror, record = mapping(route.get("mirror")), mapping(route.get("record"))
    largest = attempt(units.size_bytes, mirror.get("body_limit_bytes"))
    if largest is not None and largest > buffered_bytes:
        said = f"bodies over limits.buffered_body_bytes ({buffered_bytes:,} bytes) stream through and are never copied"
        yield (*path, "mirror", "body_limit_bytes"), False, said
    told = route.get("preference") is not None  # of that the metrics' own checks warn
    if listing(mirror.get("paths")) and plans and not any(map(_has_shadow, plans.values())) and not told:
        yield (*path, "mirror", "paths"), True, "no plan of this file has a shadow: nothing is copied"
    if "body_cap_bytes" in record and record.get("bodies", OFF) == OFF and not _reads_bodies(route):
        yield (*path, "record", "body_cap_bytes"), True, "bodies are off and no metric reads them: nothing is captured"


def _plan_hints(path: Path, plan: dict[str, Any], routes: dict[str, Any]) -> Iterator[Finding]:
    without = [name for name, body in routes.items() if not _has_gates(body)]
    if _is_on(plan.get("class_gates")) and without and len(without) < len(routes):
        many = "have" if len(without) > 1 else "has"
        said = f"{', '.join(without)} {many} no classes, or users that stay: rollouts there are not changed by it"
        yield (*path, "class_gates"), False, said
    if mapping(plan.get("margins")).get("first_byte") is not None and not any(map(_guards_first_byte, routes.values())):
        yield (*path, "margins", "first_byte"), True, "no route here guards the time to the first byte (first_byte: true)"
    if not _has_shadow(plan) and "min_pairs" in mapping(plan.get("shadow")):
        yield (*path, "shadow", "min_pairs"), True, "there is no shadow (share: 0%): no pairs are waited for"
    watch = mapping(plan.get("watch"))
    if attempt(units.seconds, watch.get("for")) == 0 and "holdback" in watch:
        yield (*path, "watch", "holdback"), True, "there is no watch (for: 0): nobody is held back"
    elif attempt(units.share_bp, watch.get("holdback")) == 0:
        yield (*path, "watch", "holdback"), False, "with nobody held back there is no watch: the promotion is the end"


def _is_on(value: Any) -> bool:
    return isinstance(value, str) and value.lower() in _TRUE


def _is_sticky(route: dict[str, Any]) -> bool:
    unit = route.get("unit")
    return unit is not None and unit != "request"


def _has_gates(route: Any) -> bool:
    return bool(mapping(mapping(route).get("classes"))) and not _is_sticky(mapping(route))


def _has_cost(route: Any) -> bool:
    metric = mapping(mapping(mapping(route).get("metrics")).get(COST))
    return metric.get("kind") in {"cost", "mean"} and metric.get("better") != "higher"


def _has_shadow(plan: Any) -> bool:
    return attempt(units.share_bp, mapping(mapping(plan).get("shadow")).get("share")) != 0


def _guards_first_byte(route: Any) -> bool:
    given = mapping(route).get("first_byte")
    return mapping(route).get("kind") == "llm" if given is None else _is_on(given)


def _reads_bodies(route: dict[str, Any]) -> bool:
    sources = [mapping(body).get("from") for body in mapping(route.get("metrics")).values()]
    sources += [mapping(route.get("preference")).get("prefer")]
    if any(source.reads_body for source in (attempt(read_source, one) for one in sources) if source is not None):
        return True
    text = route.get("diversity")
    if text is None:
        return route.get("kind") == "llm"
    return text != OFF and attempt(read_text_source, text) is not None
