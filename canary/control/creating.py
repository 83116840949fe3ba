"""How a rollout begins: what a person asked for, checked against what is in force."""

from datetime import datetime

import msgspec

from canary.control.books import Books
from canary.control.identity import new_id, new_salt
from canary.control.record import Mandate, row_of
from canary.errors import Conflict, NotFound, Refused
from canary.ports import PlanInForce
from canary.rollout.plan import Plan
from canary.rollout.state import Decision, Reason, RolloutState
from canary.split.spec import RouteSpec, VersionSpec
from canary.terms import Action, Frozen, Phase, UnitSource


class Wish(Frozen, frozen=True, kw_only=True):
    """What a person asks for; an empty plan means the only one that is published."""

    route: str
    candidate: str
    plan: str = ""
    reason: str = ""
    retry: bool = False  # the same definition was rolled back before, and shall be tried again


async def create_rollout(books: Books, wish: Wish, *, actor: str) -> RolloutState:
    """Begins a rollout of a route's version under a published plan and returns it, pending.

    Raises NotFound (route, version, plan), Conflict (the candidate is in charge, the route has a rollout already) or
    Refused (a plan that cannot be followed; the same definition was rolled back before and no retry was asked for).
    """
    in_force = await books.plans.in_force()
    spec = _route(in_force, wish.route)
    stable = spec.version(in_force.stable.get(wish.route, spec.stable))
    candidate = _candidate(spec, wish.candidate, stable.name)
    plan = _plan(in_force, wish.plan)
    before = await _rolled_back_before(books, wish.route, candidate)
    if before is not None and not wish.retry:
        raise Refused(
            f"{candidate.name} of {wish.route} was rolled back before in this very definition ({before.id}): {before.because}",
            hint="change the candidate, or ask for a retry: repeating a trial until it passes proves nothing",
        )
    now = books.clock.now()
    state = _pending(spec, stable, candidate, plan=plan, now=now)
    state = msgspec.structs.replace(
        state,
        created_by=actor,
        retry_of=before.id if before is not None else "",
        because=_created(state, wish, actor=actor, before=before),
    )
    decision = Decision(action=Action.CREATE, because=state.because, reason=Reason.ORDERED)
    row = row_of(state, decision, mandate=Mandate(actor=actor, at=now))
    assert in_force.published is not None
    return await books.rollouts.create(state, row, published=in_force.published.revision)


def _route(in_force: PlanInForce, route: str) -> RouteSpec:
    if in_force.published is None:
        raise NotFound("nothing is published yet", hint="`canary serve` and `canary controller` publish their file")
    config = in_force.published.config
    spec = config.route(route)
    if spec is None:
        raise NotFound(f"no route '{route}'; published are: {_names([r.name for r in config.routes])}")
    for active in in_force.rollouts:
        if active.route == route:
            raise Conflict(f"{route} has a rollout already: {active.candidate}, {active.phase} ({active.id})")
    return spec


def _candidate(spec: RouteSpec, candidate: str, stable: str) -> VersionSpec:
    names = [version.name for version in spec.versions]
    if candidate not in names:
        raise NotFound(f"route '{spec.name}' has no version '{candidate}'; it has: {_names(names)}")
    if candidate == stable:
        raise Conflict(f"{candidate} is in charge of {spec.name} already")
    return spec.version(candidate)


def _plan(in_force: PlanInForce, name: str) -> Plan:
    assert in_force.published is not None
    plans = in_force.published.config.plans
    if not name and len(plans) == 1:
        plan: Plan | None = plans[0]
    else:
        plan = in_force.published.config.plan(name)
    if plan is None:
        raise NotFound(f"no plan '{name}'; published are: {_names([p.name for p in plans])}" if name else _which(plans))
    problems = plan.problems()
    if problems:
        raise Refused(f"plan '{plan.name}' cannot be followed: {'; '.join(problems)}")
    return plan


def _which(plans: tuple[Plan, ...]) -> str:
    return f"name a plan; published are: {_names([plan.name for plan in plans])}"


async def _rolled_back_before(books: Books, route: str, version: VersionSpec) -> RolloutState | None:
    """The latest rollout of the same definition on this route that ended in a rollback."""
    past = await books.rollouts.find(route=route, limit=1_000)
    return next((r for r in past if r.phase is Phase.ROLLED_BACK and r.candidate_hash == version.hash), None)


def _pending(spec: RouteSpec, stable: VersionSpec, candidate: VersionSpec, *, plan: Plan, now: datetime) -> RolloutState:
    return RolloutState(
        id=new_id(now),
        route=spec.name,
        stable=stable.name,
        candidate=candidate.name,
        stable_hash=stable.hash,
        candidate_hash=candidate.hash,
        plan=plan,
        plan_hash=plan.hash,
        salt=new_salt(),
        phase=Phase.PENDING,
        revision=1,
        plan_revision=0,
        created_at=now,
        created_by="",
        answer_timeout_s=spec.deadlines.answer_s,
        connect_timeout_s=spec.deadlines.connect_s,
        sticky=spec.unit.source is not UnitSource.REQUEST,
        measures=spec.measures,
    )


def _created(state: RolloutState, wish: Wish, *, actor: str, before: RolloutState | None) -> str:
    text = f"created by {actor}: {state.candidate} against {state.stable} under plan '{state.plan.name}'"
    if before is not None:
        text += f", a retry of {before.id}"
    return text + (f": {wish.reason.strip()}" if wish.reason.strip() else "")


def _names(names: list[str]) -> str:
    return ", ".join(names) or "none"
