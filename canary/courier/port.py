"""The sidecar's own small admin port: health, metrics, local orders. Nothing here needs Postgres."""

import hmac
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

import msgspec
from aiohttp import web

from canary.config.fields import is_loopback
from canary.config.hosts import LOCAL, host_of
from canary.courier.local import LocalOrders
from canary.errors import CanaryError, ConfigError, NotFound
from canary.telemetry.metrics import CONTENT_TYPE

_BODY_BYTES: Final = 16_384
_PROBES: Final = frozenset({"/livez", "/readyz"})


class Health(Protocol):
    """What the port asks about this sidecar."""

    def alive(self) -> str:
        """Empty where all workers turn, otherwise what is wrong."""
        ...

    def ready(self) -> str:
        """Empty where requests are served, otherwise what is missing."""
        ...

    def metrics(self) -> str:
        """Prometheus' text format."""
        ...


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a local order."""

    reason: str = ""
    actor: str = ""


class Port:
    """The application's handlers."""

    def __init__(
        self, health: Health, orders: LocalOrders, *, token: str | None, notes: Callable[[], Sequence[str]] = tuple
    ) -> None:
        """`notes`: what is worth telling whoever asks whether this sidecar is ready."""
        self._health = health
        self._orders = orders
        self._token = token
        self._notes = notes
        self._hosts: frozenset[str] | None = LOCAL

    def application(self, hosts: frozenset[str] | None) -> web.Application:
        """Routes and guards. `hosts`: the names by which it may be asked for; None: any, where others reach it by right."""
        self._hosts = hosts
        app = web.Application(client_max_size=_BODY_BYTES, middlewares=[self._guard])
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/local/rollback/{route}", self._rollback)
        app.router.add_post("/local/resume/{route}", self._resume)
        return app

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            if request.path not in _PROBES and not self._is_asked_by_name(request):
                raise web.HTTPMisdirectedRequest(text=f"no host `{request.host[:80]}` here")
            if request.method == "POST":
                self._admit(request)
            answer = await handler(request)
        except NotFound as error:
            answer = _problem(404, str(error))
        except CanaryError as error:
            answer = _problem(500, str(error))
        except web.HTTPException as error:
            answer = _problem(error.status, error.text or error.reason)
        answer.headers["Cache-Control"] = "no-store"
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer

    def _is_asked_by_name(self, request: web.Request) -> bool:
        """False for a page of another site whose name was made to point here: it comes with its own name."""
        return self._hosts is None or host_of(request.host) in self._hosts

    def _admit(self, request: web.Request) -> None:
        """Orders come from programs, never from a web page, and with the token where there is one."""
        if "Origin" in request.headers or request.headers.get("Sec-Fetch-Site", "none") != "none":
            raise web.HTTPForbidden(text="orders are not taken from web pages")
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="an order is application/json")
        if self._token is None:
            return
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(errors="surrogateescape"), self._token.encode()):
            raise web.HTTPUnauthorized(text="this port wants `Authorization: Bearer <token>`")

    async def _livez(self, _request: web.Request) -> web.Response:
        return _word(self._health.alive())

    async def _readyz(self, request: web.Request) -> web.Response:
        """Probes come with any name and want the word alone; notes are for people."""
        return _word(self._health.ready(), *(self._notes() if self._is_asked_by_name(request) else ()))

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._health.metrics(), headers={"Content-Type": CONTENT_TYPE})

    async def _rollback(self, request: web.Request) -> web.Response:
        order = await _order(request)
        if not order.reason:
            raise web.HTTPBadRequest(text="an order needs a reason")
        route = request.match_info["route"]
        actor = order.actor or "somebody at the sidecar"
        given = await self._orders.roll_back(route, reason=order.reason, actor=actor, now=datetime.now(tz=UTC))
        said = {"route": route, "order": "to_stable", "rollout": given.rollout, "revision": given.revision}
        return web.json_response({**said, "lasts": given.ends})

    async def _resume(self, request: web.Request) -> web.Response:
        await _order(request)
        route = request.match_info["route"]
        await self._orders.resume(route)
        return web.json_response({"route": route, "order": "none"})


async def serve(port: Port, listen: str, *, token: str | None) -> tuple[web.AppRunner, int]:
    """Listens on `host:port`; returns the runner and the port number. Raises ConfigError where that is not allowed."""
    host, _, number = listen.rpartition(":")
    host = host.strip("[]")
    if token is None and not is_loopback(listen):
        raise ConfigError(
            f"sidecar_listen is {listen}: off loopback a token is needed", hint="Set admin_token, or listen on 127.0.0.1."
        )
    hosts = LOCAL | {host.lower()} if is_loopback(listen) else None
    runner = web.AppRunner(port.application(hosts), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, host, int(number)).start()
    return runner, int(runner.addresses[0][1])


async def _order(request: web.Request) -> Order:
    body = await request.read()
    try:
        return msgspec.json.decode(body or b"{}", type=Order)
    except msgspec.DecodeError as error:
        raise web.HTTPBadRequest(text=f"the order cannot be read: {error}") from error


def _word(trouble: str, *notes: str) -> web.Response:
    lines = (trouble or "ok", *notes)
    return web.Response(status=503 if trouble else 200, text="".join(f"{line}\n" for line in lines))


def _problem(status: int, detail: str) -> web.Response:
    body = {"type": "about:blank", "status": status, "detail": detail}
    return web.json_response(body, status=status, content_type="application/problem+json")
