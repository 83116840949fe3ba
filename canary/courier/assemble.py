"""The snapshot that a plan in force means."""

import msgspec

from canary.ports import PlanInForce
from canary.rollout.traffic import traffic
from canary.store.snapshot import Snapshot


def assemble(plan: PlanInForce, *, made_at_us: int) -> Snapshot | None:
    """Published routes with the stable in charge and the split of their rollout; None where nothing is published."""
    if plan.published is None:
        return None
    config = plan.published.config
    splits = {state.route: split for state in plan.rollouts if (split := traffic(state)) is not None}
    routes = tuple(
        msgspec.structs.replace(route, stable=plan.stable.get(route.name, route.stable), split=splits.get(route.name))
        for route in config.routes
    )
    return Snapshot(
        revision=plan.plan_revision,
        database_id=plan.database_id,
        made_at_us=made_at_us,
        routes=routes,
        limits=config.limits,
        answering=config.answering,
        force_key=config.force_key,
        spool_max_bytes=config.spool_max_bytes,
    )
