"""What no single field can tell: references between sections, order of weights, secrets of open ports.

Each check reads the raw tree and passes over what has another shape than it expects: that is already reported by the schema,
and so one wrong field never hides the mistakes in its neighbours.
"""

from collections.abc import Iterator
from typing import Any, Final

from canary.config import units, without_effect
from canary.config.fields import header_name, header_rule, is_loopback, recorded_header, seen_header
from canary.config.limit_checks import limit_findings
from canary.config.metric_checks import metric_findings, metric_warnings
from canary.config.raw import attempt, listing, mapping
from canary.config.tree import Path
from canary.config.words import did_you_mean

LONGEST_ANSWER_S: Final = 5_400.0  # the courier keeps a minute's counts open for two hours

Finding = tuple[Path, bool, str]  # path, whether its key (not its value) is the place, message


def findings(raw: Any) -> Iterator[Finding]:
    """All mistakes between fields of one file."""
    root = mapping(raw)
    yield from _open_ports(root)
    yield from _routes(mapping(root.get("routes")))
    for name, plan in mapping(root.get("plans")).items():
        yield from _plan(("plans", name), mapping(plan))
        yield from limit_findings(("plans", name, "limits"), mapping(mapping(plan).get("limits")), mapping(root.get("routes")))
    yield from without_effect.refusals(root)


def warnings(raw: Any) -> Iterator[Finding]:
    """What one file may say, and whoever wrote it should know."""
    root = mapping(raw)
    for name, body in mapping(root.get("routes")).items():
        yield from metric_warnings(("routes", name), mapping(body), mapping(root.get("plans")))
    yield from without_effect.hints(root)


def _open_ports(root: dict[str, Any]) -> Iterator[Finding]:
    admin = mapping(root.get("admin"))
    if admin.get("token") is not None:
        return
    for section in ("admin", "sidecar"):
        listen = mapping(root.get(section)).get("listen")
        if isinstance(listen, str) and ":" in listen and not is_loopback(listen):
            yield (
                (section, "listen"),
                False,
                f"{listen} is not loopback: it needs a token, admin: {{token: {{env: NAME}}}} or {{file: PATH}}",
            )


def _routes(routes: dict[str, Any]) -> Iterator[Finding]:
    seen: dict[object, str] = {}
    for name, body in routes.items():
        route = mapping(body)
        path: Path = ("routes", name)
        yield from _stable(path, route)
        yield from _match(path, route, seen)
        yield from _deadlines(path, route)
        yield from metric_findings(path, route)
        for version, definition in mapping(route.get("versions")).items():
            yield from _version((*path, "versions", version), mapping(definition))
        for side in ("request_headers", "response_headers"):
            yield from _recorded((*path, "record", side), listing(mapping(route.get("record")).get(side)))


def _stable(path: Path, route: dict[str, Any]) -> Iterator[Finding]:
    stable, versions = route.get("stable"), mapping(route.get("versions"))
    if isinstance(stable, str) and versions and stable not in versions:
        guess = did_you_mean(stable, list(versions)) or f"; versions here: {', '.join(versions)}"
        yield (*path, "stable"), False, f"{stable!r} is not a version of this route{guess}"


def match_key(match: dict[str, Any]) -> tuple[frozenset[str], str, frozenset[tuple[str, str]]]:
    """What a match asks for, so that two equal ones are equal."""
    hosts = [h for h in [match.get("host"), *listing(match.get("hosts"))] if isinstance(h, str)]
    prefix = match.get("path_prefix")
    headers = mapping(match.get("headers"))
    return (
        frozenset(h.lower() for h in hosts),
        prefix if isinstance(prefix, str) else "/",
        frozenset((k.lower(), v) for k, v in headers.items() if isinstance(v, str)),
    )


def _match(path: Path, route: dict[str, Any], seen: dict[object, str]) -> Iterator[Finding]:
    match = mapping(route.get("match"))
    key = match_key(match)
    if key in seen:
        yield (*path, "match"), True, f"matches the same requests as route {seen[key]!r}"
    seen.setdefault(key, str(path[-1]))
    if match.get("host") is not None and match.get("hosts"):
        yield (*path, "match", "host"), True, "give host or hosts, not both"
    for host in [*listing(match.get("hosts")), match.get("host")]:
        if isinstance(host, str) and (not host or not host.isascii() or set(host) & set(" /:@?#")):
            yield (*path, "match"), True, f"a host is a bare name in ASCII, without port or path, found {host!r}"
    for name, value in mapping(match.get("headers")).items():
        try:
            seen_header(name)
        except ValueError as error:
            yield (*path, "match", "headers", name), True, str(error)
        if isinstance(value, str) and not (value.isascii() and value.isprintable()):
            yield (*path, "match", "headers", name), False, "a value to be met is printable ASCII"


def _deadlines(path: Path, route: dict[str, Any]) -> Iterator[Finding]:
    given = mapping(route.get("deadlines"))
    connect, answer, idle = (attempt(units.seconds, given.get(k)) for k in ("connect", "answer", "idle"))
    for key, value in (("connect", connect), ("answer", answer), ("idle", idle)):
        if value == 0:
            yield (*path, "deadlines", key), False, "a deadline is more than 0"
    if answer and answer > LONGEST_ANSWER_S:
        longest = units.format_seconds(LONGEST_ANSWER_S)
        yield (*path, "deadlines", "answer"), False, f"an answer has at most {longest}: counts are kept open for two hours"
    if connect and answer and connect > answer:
        yield (*path, "deadlines", "connect"), False, "connect is part of answer and cannot be longer"


def _version(path: Path, version: dict[str, Any]) -> Iterator[Finding]:
    names: set[str] = set()
    for name, value in mapping(version.get("headers")).items():
        try:
            header_rule(name, value)
        except ValueError as error:
            yield (*path, "headers", name), False, str(error)
        if name.lower() in names:
            yield (*path, "headers", name), True, f"the header {name.lower()} stands here twice"
        names.add(name.lower())
    build_header = version.get("build_header")
    if isinstance(build_header, str) and build_header:
        try:
            header_name(build_header)
        except ValueError as error:
            yield (*path, "build_header"), False, str(error)
    upstream = version.get("upstream")
    if version.get("ca_file") and isinstance(upstream, str) and upstream.startswith("http://"):
        yield (*path, "ca_file"), True, "a ca_file needs an https:// upstream"


def _recorded(path: Path, names: list[Any]) -> Iterator[Finding]:
    for i, name in enumerate(names):
        if not isinstance(name, str):
            continue
        try:
            recorded_header(name, of_request=path[-1] == "request_headers")
        except ValueError as error:
            yield (*path, i), False, str(error)


def _plan(path: Path, plan: dict[str, Any]) -> Iterator[Finding]:
    before = 0
    for i, stage in enumerate(listing(plan.get("stages"))):
        weight = attempt(units.share_bp, mapping(stage).get("weight"))
        if weight is None:
            continue
        here: Path = (*path, "stages", i, "weight")
        if weight == 0:
            yield here, False, "a stage's weight is more than 0%"
        elif weight <= before:
            yield (
                here,
                False,
                f"weights grow from stage to stage: {units.format_share(weight)} after {units.format_share(before)}",
            )
        before = max(before, weight)
    holdback = attempt(units.share_bp, mapping(plan.get("watch")).get("holdback"))
    if holdback is not None and holdback > 5_000:
        yield (*path, "watch", "holdback"), False, "a holdback is at most 50%"
    if plan.get("lean_on") == "pairs" and attempt(units.share_bp, mapping(plan.get("shadow")).get("share")) == 0:
        yield (*path, "lean_on"), False, "pairs come from copies, and shadow.share is 0%: give the shadow a share, or say auto"
    yield from _margins((*path, "margins"), mapping(plan.get("margins")))


def _margins(path: Path, margins: dict[str, Any]) -> Iterator[Finding]:
    tight = "the promote margin is below the rollback tolerance: nothing in between could be promoted"
    for metric, body in margins.items():
        margin = mapping(body)
        here: Path = (*path, metric, "promote")
        if metric == "error":
            rollback, promote = (attempt(units.linear, margin.get(k)) for k in ("rollback", "promote"))
            if rollback and promote and (promote[0] < rollback[0] or promote[1] < rollback[1]):
                yield here, False, tight
        else:
            tolerated, harmless = (attempt(units.ratio, margin.get(k)) for k in ("rollback", "promote"))
            if tolerated is not None and harmless is not None and harmless < tolerated:
                yield here, False, tight
