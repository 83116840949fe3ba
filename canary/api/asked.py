"""What a request asks for: bodies and queries read strictly, all mistakes at once."""

import difflib
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from canary.api.problems import Mistakes
from canary.api.services import PairQuery
from canary.control.enact import Wish
from canary.terms import Frozen

_TEXT_LIMIT: Final = 2_000
_WORDS: Final = {str: "a text", int: "a whole number", bool: "true or false"}


class AskedOrder(Frozen, frozen=True, kw_only=True):
    """The body of an order."""

    reason: str
    expected_revision: int | None = None
    full: bool = False  # promote at once, past the stages that are left


async def new_rollout(request: web.Request) -> Wish:
    """The body of POST /api/v1/rollouts; raises Mistakes."""
    fields = await _body(request)
    mistakes = _check(fields, {"route": str, "candidate": str}, {"plan": str, "reason": str, "retry": bool})
    if mistakes:
        raise Mistakes(mistakes, hint='for example {"route": "chat", "candidate": "v2", "reason": "cheaper model"}')
    return Wish(**_given(fields))


async def an_order(request: web.Request) -> AskedOrder:
    """The body of an order: a reason that a person typed, and the revision that the person saw."""
    fields = await _body(request)
    mistakes = _check(fields, {"reason": str}, {"expected_revision": int, "full": bool})
    if mistakes:
        raise Mistakes(mistakes, hint='for example {"reason": "numbers look right", "expected_revision": 7}')
    return AskedOrder(**_given(fields))


def pair_query(request: web.Request) -> PairQuery:
    """The query of /api/v1/pairs; raises Mistakes."""
    known = {"rollout", "route", "differing", "before", "limit"}
    mistakes = [_unknown(name, known, "filter") for name in request.query if name not in known]
    limit = _limit(request, 50, mistakes)
    if mistakes:
        raise Mistakes(mistakes)
    return PairQuery(
        rollout=request.query.get("rollout") or None,
        route=request.query.get("route") or None,
        differing=is_on(request, "differing"),
        before=request.query.get("before") or None,
        limit=limit,
    )


def is_on(request: web.Request, name: str) -> bool:
    """A switch in the query: `?name=1`."""
    return request.query.get(name, "") in {"1", "true", "yes"}


def limit_of(request: web.Request, default: int) -> int:
    """`?limit=`, 1 to 1000; raises Mistakes."""
    mistakes: list[str] = []
    limit = _limit(request, default, mistakes)
    if mistakes:
        raise Mistakes(mistakes)
    return limit


def _limit(request: web.Request, default: int, mistakes: list[str]) -> int:
    found = request.query.get("limit", str(default))
    if found.isascii() and found.isdigit() and 1 <= int(found[:9]) <= 1_000:
        return int(found)
    mistakes.append(f"`limit` is a number from 1 to 1000, not `{found}`")
    return default


async def _body(request: web.Request) -> dict[str, Any]:
    raw = await request.read()
    try:
        found = msgspec.json.decode(raw) if raw else {}
    except (msgspec.DecodeError, RecursionError) as error:
        raise Mistakes([f"the body is no JSON that can be read: {error}"]) from error
    if not isinstance(found, dict):
        raise Mistakes(["the body is a JSON object"])
    return found


def _check(fields: Mapping[str, Any], needed: dict[str, type], optional: dict[str, type]) -> list[str]:
    known = needed | optional
    mistakes = [_unknown(name, known, "field") for name in fields if name not in known]
    mistakes += [f"`{name}` is missing" for name in needed if fields.get(name) in (None, "")]
    for name, kind in known.items():
        value = fields.get(name)
        if value is None or value == "":  # as if it were not there
            continue
        if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
            mistakes.append(f"`{name}` is {_WORDS[kind]}, not {msgspec.json.encode(value).decode()[:80]}")
        elif isinstance(value, str) and len(value) > _TEXT_LIMIT:
            mistakes.append(f"`{name}` is longer than {_TEXT_LIMIT} characters")
    return mistakes


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _unknown(name: str, known: Mapping[str, Any] | set[str], what: str) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"unknown {what} `{name[:80]}`" + (
        f": did you mean `{near[0]}`?" if near else f"; known: {', '.join(sorted(known))}"
    )
