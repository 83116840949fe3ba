"""The paths of the admin port and what each does."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Final

from aiohttp import web

from canary.api import asked, views
from canary.api.problems import Mistakes
from canary.api.services import Services
from canary.control.enact import create_rollout, order, promote_to_full
from canary.control.look import PROFILE_HOURS
from canary.errors import NotFound
from canary.rollout.calibration import real_route
from canary.rollout.estimates import estimates
from canary.rollout.families import fleet_summary
from canary.rollout.replay import replay
from canary.telemetry.guard import guarded
from canary.telemetry.metrics import CALIBRATION, CONTENT_TYPE, E_VALUE, ROLLOUT, TROUBLED, WEIGHT, exposition
from canary.terms import Action

SERVICES: Final = web.AppKey("services", Services)
ORDERS: Final = {
    "promote": Action.PROMOTE,
    "hold": Action.HOLD,
    "resume": Action.RESUME,
    "rollback": Action.ROLL_BACK,
    "cancel": Action.CANCEL,
}
_FLEET: Final = 200
"""Rollouts that are weighed together at most: each takes a look."""

_Handler = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]


def add_routes(app: web.Application) -> None:
    """Adds every path of the API; the application holds `SERVICES`."""
    app.router.add_get("/livez", _livez)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/metrics", _metrics)
    app.router.add_post("/-/reload", _reload)
    app.router.add_get("/api/v1/routes", _routes)
    app.router.add_get("/api/v1/routes/{route}/profile", _profile)
    app.router.add_get("/api/v1/rollouts", _rollouts)
    app.router.add_post("/api/v1/rollouts", _create)
    app.router.add_get("/api/v1/rollouts/{id}", _rollout)
    app.router.add_get("/api/v1/rollouts/{id}/decisions", _decisions)
    app.router.add_get("/api/v1/rollouts/{id}/evidence", _evidence)
    app.router.add_get("/api/v1/calibration", _calibration)
    app.router.add_get("/api/v1/decisions/{id}", _decision)
    app.router.add_get("/api/v1/decisions/{id}/replay", _replay)
    for word, action in ORDERS.items():
        app.router.add_post(f"/api/v1/rollouts/{{id}}/{word}", _order(action))
    app.router.add_get("/api/v1/pairs", _pairs)
    app.router.add_get("/api/v1/pairs/{id}", _pair)


def actor_of(request: web.Request) -> str:
    """Who gives an order, as far as is known: what the client says of itself, and where it sits."""
    said = "".join(c for c in request.headers.get("x-canary-actor", "") if c.isprintable())[:80]
    return said or f"api from {request.remote or 'unknown'}"


async def _livez(_: web.Request) -> web.Response:
    return web.json_response({"alive": True})


async def _readyz(request: web.Request) -> web.Response:
    """Ready without Postgres: it answers, and says that the store is away."""
    reached = request.app[SERVICES].books is not None
    return web.json_response({"ready": True, "store": "reached" if reached else "away"})


async def _metrics(request: web.Request) -> web.Response:
    with guarded("rollout metrics"):
        await _measure(request.app[SERVICES])
    return web.Response(body=exposition(), headers={"Content-Type": CONTENT_TYPE})


async def _measure(services: Services) -> None:
    """Sets the gauges of rollouts from what is stored now."""
    if services.books is None:
        return
    found = [(state, (await services.books.see(state)).evidence) for state in await services.books.rollouts.active()]
    for gauge in (WEIGHT, ROLLOUT, TROUBLED, E_VALUE):
        gauge.clear()
    for state, evidence in found:
        weight = state.segment.weight_bp if state.segment else 0
        WEIGHT.labels(state.route, state.id).set(weight / 10_000)
        TROUBLED.labels(state.route, state.id).set(state.trouble is not None)
        flags = (str(state.paused).lower(), str(bool(state.waiting)).lower())
        ROLLOUT.labels(state.route, state.id, state.phase.value, state.stable, state.candidate, *flags).set(1)
        for metric in evidence.metrics if evidence else ():
            for side, value in (("rollback", metric.log_e_rollback), ("promote", metric.log_e_promote)):
                if value is not None:
                    E_VALUE.labels(state.route, state.id, metric.metric, side).set(value)
    if services.books.control.calibration is not None:
        rounds = await services.books.control.calibration.rounds()
        counted = Counter((one.route, one.alarmed) for one in rounds)
        CALIBRATION.clear()
        for route in {one.route for one in rounds}:
            for alarmed in (False, True):
                CALIBRATION.labels(route, str(alarmed).lower()).set(counted[route, alarmed])


async def _reload(request: web.Request) -> web.Response:
    dry_run = asked.is_on(request, "dry_run")
    return web.json_response(views.reloaded(await request.app[SERVICES].reload(dry_run), dry_run=dry_run))


async def _routes(request: web.Request) -> web.Response:
    return web.json_response(views.routes(await request.app[SERVICES].use().plans.in_force()))


async def _profile(request: web.Request) -> web.Response:
    """What the statistics know of a route's stable now: what a rollout that began would freeze."""
    control, name = request.app[SERVICES].use().control, request.match_info["route"]
    plan = await control.plans.in_force()
    spec = plan.published.config.route(name) if plan.published else None
    if spec is None:
        raise NotFound(f"no route '{name[:80]}'")
    stable = spec.version(plan.stable.get(name, spec.stable))
    profile = await control.counters.profile(name, stable.hash, hours=PROFILE_HOURS)
    return web.json_response(views.profile(name, stable.name, profile, hours=PROFILE_HOURS))


async def _rollouts(request: web.Request) -> web.Response:
    books = request.app[SERVICES].use()
    found = await books.rollouts.find(route=request.query.get("route") or None, limit=asked.limit_of(request, 100))
    if asked.is_on(request, "active"):
        found = [state for state in found if not state.phase.is_final]
    fleet = None
    if asked.is_on(request, "fleet"):
        fleet = fleet_summary([(state, (await books.see(state)).evidence) for state in found[:_FLEET]])
    return web.json_response(views.rollouts(found, fleet))


async def _create(request: web.Request) -> web.Response:
    wish = await asked.new_rollout(request)
    state = await create_rollout(request.app[SERVICES].use().control, wish, actor=actor_of(request))
    return web.json_response(views.rollout(state), status=201, headers={"Location": f"/api/v1/rollouts/{state.id}"})


async def _rollout(request: web.Request) -> web.Response:
    books = request.app[SERVICES].use()
    state = await books.rollouts.get(request.match_info["id"])
    return web.json_response(views.rollout(state, await books.see(state)))


async def _decisions(request: web.Request) -> web.Response:
    books = request.app[SERVICES].use()
    state = await books.rollouts.get(request.match_info["id"])
    rows = await books.rollouts.decisions(state.id, limit=asked.limit_of(request, 200))
    return web.json_response(views.decisions(rows, totals=asked.is_on(request, "totals")))


async def _evidence(request: web.Request) -> web.Response:
    """A look with its intervals, which are worked out only here: each is some hundred e-values."""
    books = request.app[SERVICES].use()
    state = await books.rollouts.get(request.match_info["id"])
    seen = await books.see(state)
    found = await asyncio.to_thread(estimates, state, seen.totals, seen.evidence, past=seen.past)
    return web.json_response(views.evidence(state, seen, found))


async def _calibration(request: web.Request) -> web.Response:
    """The rate of false alarms of stable against itself, with the rounds behind it."""
    control, route = request.app[SERVICES].use().control, request.query.get("route") or None
    if control.calibration is None:
        raise NotFound("calibration is not kept here")
    rounds = await control.calibration.rounds(route=route, limit=asked.limit_of(request, 1_000))
    open_rounds = [state for state in (await control.plans.in_force()).calibrations if route in {None, real_route(state)}]
    return web.json_response(views.calibration(rounds, open_rounds))


async def _decision(request: web.Request) -> web.Response:
    row = await request.app[SERVICES].use().rollouts.decision(request.match_info["id"])
    return web.json_response(views.decision(row, totals=asked.is_on(request, "totals")))


async def _replay(request: web.Request) -> web.Response:
    """A decision made again from what its row stored."""
    books = request.app[SERVICES].use()
    row = await books.rollouts.decision(request.match_info["id"])
    state = await books.rollouts.get(row.rollout)
    return web.json_response(views.replayed(row, await asyncio.to_thread(replay, row, state)))


def _order(action: Action) -> _Handler:
    async def give(request: web.Request) -> web.StreamResponse:
        said = await asked.an_order(request)
        if said.full and action is not Action.PROMOTE:
            raise Mistakes(["`full` belongs to promote alone"])
        books, rollout = request.app[SERVICES].use().control, request.match_info["id"]
        who = {"actor": actor_of(request), "reason": said.reason}
        if said.full:
            state = await promote_to_full(books, rollout, **who, expected_revision=said.expected_revision)
        else:
            state = await order(books, rollout, action, **who, expected_revision=said.expected_revision)
        return web.json_response(views.rollout(state))

    return give


async def _pairs(request: web.Request) -> web.Response:
    query, books = asked.pair_query(request), request.app[SERVICES].use()
    found = await books.pairs.list(
        route=query.route, rollout=query.rollout, differing=query.differing, limit=query.limit, before=query.before
    )
    return web.json_response(views.pairs(found, await books.plans.in_force()))


async def _pair(request: web.Request) -> web.Response:
    books = request.app[SERVICES].use()
    found = await books.pairs.show(request.match_info["id"][:64])
    return web.json_response(views.pair(found, await books.plans.in_force()))
