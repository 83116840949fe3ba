"""The lock on the admin port: token, host check against DNS rebinding, same-origin check, headers, errors as problems."""

import base64
import hmac
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from canary.api.problems import of_error, problem
from canary.config.hosts import LOCAL, host_of
from canary.errors import CanaryError
from canary.telemetry.guard import guarded
from canary.telemetry.metrics import ADMIN_REQUESTS

_OPEN: Final = frozenset({"/livez", "/readyz"})  # probes have no token, and nothing to hide
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


def lock(*, token: str | None, host: str) -> Middleware:
    """The outermost middleware. `host` is the address that the port listens on."""
    allowed = LOCAL | {host.lower()}

    @web.middleware
    async def locked(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = _refusal(request, token, allowed) or await _answer(request, handler)
        ADMIN_REQUESTS.labels(method=_method(request), code_class=f"{answer.status // 100}xx").inc()
        if not answer.prepared:
            for name, value in HEADERS.items():
                answer.headers.setdefault(name, value)
        return answer

    return locked


def _method(request: web.Request) -> str:
    return request.method if request.method in {"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH"} else "other"


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    answer: web.StreamResponse | None = None
    with guarded("admin request"):
        try:
            answer = await handler(request)
        except CanaryError as error:
            answer = of_error(error)
        except web.HTTPException as error:
            answer = _of_http(error)
    if answer is None:
        return problem(500, "internal-error", "this is a fault of canary, not of the request; the log has the details")
    return answer


def _of_http(error: web.HTTPException) -> web.Response:
    kind = (error.reason or "error").lower().replace(" ", "-")
    answer = problem(error.status, kind, error.text or error.reason or "")
    if hdrs.ALLOW in error.headers:
        answer.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
    return answer


def _refusal(request: web.Request, token: str | None, hosts: frozenset[str]) -> web.Response | None:
    if request.path in _OPEN and request.method in _READS:
        return None
    if token is None and host_of(request.host) not in hosts:
        # A page of another site whose name was made to point here would come with its own name.
        return problem(421, "misdirected", f"no host `{request.host}` here", hint=f"use one of {', '.join(sorted(hosts))}")
    if token is not None and not _knows(request.headers.get(hdrs.AUTHORIZATION, ""), token):
        answer = problem(401, "unauthorized", "this port wants a token", hint="send `Authorization: Bearer TOKEN`")
        answer.headers[hdrs.WWW_AUTHENTICATE] = 'Basic realm="canary: any name, the token as password", charset="UTF-8"'
        return answer
    return None if request.method in _READS else _foreign(request)


def _foreign(request: web.Request) -> web.Response | None:
    """An order that a browser was tricked into: forms cannot send JSON, and other sites show their origin."""
    if request.content_type != "application/json":
        return problem(
            415,
            "unsupported-media-type",
            f"orders are JSON, not {request.content_type}",
            hint="send `Content-Type: application/json`",
        )
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and _netloc(origin) != request.host.lower():
        return problem(403, "foreign-origin", f"orders are not taken from pages of {origin}")
    if request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
        return problem(403, "foreign-origin", "orders are not taken from other sites' pages")
    return None


def _knows(header: str, token: str) -> bool:
    """Compares in constant time. Browsers, which cannot send a bearer token, send it as a password."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "basic":
        try:
            value = base64.b64decode(value, validate=True).decode().partition(":")[2]
        except ValueError:  # no base64, no ASCII even, or no UTF-8 in it
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(value.strip().encode(errors="surrogateescape"), token.encode())


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
