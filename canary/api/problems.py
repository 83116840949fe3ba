"""Errors as RFC 9457 problems: what was found, what was expected, and one more sentence on what to do."""

from typing import Any, Final

from aiohttp import web

from canary.errors import (
    CanaryError,
    ConfigError,
    Conflict,
    DataRefused,
    NotFound,
    Refused,
    StaleRevision,
    StoreAway,
    StoreError,
)

_STATUS: Final[tuple[tuple[type[CanaryError], int, str], ...]] = (  # the first that fits
    (ConfigError, 400, "invalid-configuration"),
    (NotFound, 404, "not-found"),
    (StaleRevision, 409, "stale-revision"),
    (Conflict, 409, "conflict"),
    (Refused, 422, "refused"),
    (DataRefused, 422, "refused"),  # what was asked for or said holds what no column takes, such as a NUL
    (StoreAway, 503, "store-away"),
    (StoreError, 500, "store-error"),
    (CanaryError, 400, "bad-request"),
)


class Mistakes(CanaryError):
    """Everything that is wrong with a request, at once."""

    def __init__(self, mistakes: list[str], *, hint: str = "") -> None:
        super().__init__("; ".join(mistakes), hint=hint)
        self.mistakes = mistakes


def of_error(error: CanaryError) -> web.Response:
    """The problem that an error of ours is."""
    status, kind = next((status, kind) for types, status, kind in _STATUS if isinstance(error, types))
    errors = error.mistakes if isinstance(error, Mistakes) else None
    if isinstance(error, ConfigError):
        errors = str(error).splitlines()
    return problem(status, kind, str(error), hint=error.hint, errors=errors)


def problem(status: int, kind: str, detail: str, *, hint: str = "", errors: list[str] | None = None) -> web.Response:
    """One problem document."""
    body: dict[str, Any] = {
        "type": f"urn:canary:problem:{kind}",
        "title": kind.replace("-", " ").capitalize(),
        "status": status,
        "detail": detail,
    }
    if hint:
        body["hint"] = hint
    if errors:
        body["errors"] = errors
    headers = {"Retry-After": "1"} if status == 503 else {}
    return web.json_response(body, status=status, headers=headers, content_type="application/problem+json")
