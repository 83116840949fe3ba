"""Limits of the candidate alone against what the routes measure: a limit on nothing, or in another unit, guards nothing."""

from collections.abc import Iterator
from typing import Any, Final

from canary.config import units
from canary.config.metric_checks import OVER_CAP, RESERVED
from canary.config.raw import attempt, mapping
from canary.config.tree import Path
from canary.config.words import did_you_mean
from canary.rollout.plan import QUANTILE_LIMITS
from canary.split.spec import Deadlines

Finding = tuple[Path, bool, str]

_RATES: Final = ("error", "client_error", "abandoned")
LLM_ANSWER_S: Final = 600.0
"""A language model may think for minutes, where nothing else is said."""
_WRITTEN: Final = {
    "share": "a share of answers such as 2%",
    "duration": "a duration such as 1.5s",
    "amount": "an amount in its own unit such as 0.01",
}
_NO_LIMIT: Final = RESERVED - {*_RATES, *QUANTILE_LIMITS}


def limit_findings(path: Path, limits: dict[str, Any], routes: dict[str, Any]) -> Iterator[Finding]:
    """All mistakes in one plan's limits."""
    longest_s = max(map(_answer_s, routes.values()), default=LLM_ANSWER_S)
    known = _known(routes)
    for name, written in limits.items():
        here: Path = (*path, name)
        if name in _NO_LIMIT:
            yield here, True, f"{name} compares the two versions: it has no limit of the candidate alone"
        elif name not in known:
            guess = did_you_mean(name, list(known)) or f"; known here: {', '.join(known)}"
            yield here, True, f"no route measures this, so the limit would guard nothing{guess}"
        else:
            found = attempt(units.limit, written)
            # Routes may declare one name in different ways: a limit that means something on one of them is none too many.
            refused = [[*_value(here, kind, found, metric)] for kind, metric in known[name]]
            if all(refused):
                yield from refused[0]
            elif found is not None and found.kind == "duration" and found.value >= longest_s:
                yield here, False, f"no answer takes that long: the longest deadline is {units.format_seconds(longest_s)}"


def _known(routes: dict[str, Any]) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """By name what can be limited: how the limit is written, and the metric's declaration, of each route that has one."""
    known: dict[str, list[tuple[str, dict[str, Any]]]] = {name: [("share", {})] for name in _RATES}
    known |= {name: [("duration", {})] for name in QUANTILE_LIMITS}
    for route in routes.values():
        for name, body in mapping(mapping(route).get("metrics")).items():
            metric = mapping(body)
            rate = metric.get("kind") == "rate"
            known.setdefault(name, []).append(("share" if rate else "amount", metric))
            if not rate:
                known.setdefault(f"{name}{OVER_CAP}", []).append(("share", {}))
    return known


def _answer_s(route: Any) -> float:
    given = attempt(units.seconds, mapping(mapping(route).get("deadlines")).get("answer"))
    if given is not None:
        return given
    return LLM_ANSWER_S if mapping(route).get("kind") == "llm" else Deadlines().answer_s


def _value(path: Path, kind: str, limit: units.Limit | None, metric: dict[str, Any]) -> Iterator[Finding]:
    if limit is None:
        return
    cap = attempt(units.positive, metric.get("cap"))
    if limit.kind != kind:
        yield path, False, f"the limit of {path[-1]} is {_WRITTEN[kind]}"
    elif kind == "share" and not 0 < limit.value < 1:
        yield path, False, "a limit lies between 0% and 100%: at either end it says nothing"
    elif kind == "duration" and limit.value == 0:
        yield path, False, "a limit is more than 0"
    elif cap is not None and limit.value >= cap:
        yield path, False, f"the limit lies at the cap of {cap:g} or over it: it says nothing"
