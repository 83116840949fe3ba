"""A route that declares values, and a pair that has them: told, absent, unreadable."""

import msgspec

from canary.config.document import Config
from canary.store.pairs import PairSummary
from canary.terms import Measures, MetricKind, MetricSpec
from tests.support.admin_world import AdminWorld, a_pair_side, a_pair_summary
from tests.support.store_rows import a_config, a_route

LIVE: dict[str, float | str | None] = {"cost": 0.004, "refused": 0.0, "score": 8.0}
SHADOW: dict[str, float | str | None] = {"cost": 0.0055, "refused": None, "score": "unreadable"}


def a_declaring_config() -> Config:
    """Route chat with a cost, a rate and a quality."""
    metrics = (
        MetricSpec(name="cost", kind=MetricKind.MEAN, source="header:x-cost", unit="USD"),
        MetricSpec(name="refused", kind=MetricKind.RATE, source="json:/refused"),
        MetricSpec(name="score", kind=MetricKind.MEAN, source="json:/score", unit="<b>points</b>"),
    )
    return a_config(a_route(measures=Measures(metrics=metrics)))


def a_valued_pair() -> PairSummary:
    """The usual pair with both sides' values."""
    sides = {"live": a_pair_side("v1", facts=LIVE), "shadow": a_pair_side("v2", status=500, failed=True, facts=SHADOW)}
    return msgspec.structs.replace(a_pair_summary(), **sides)


async def declaring(world: AdminWorld) -> None:
    """Publishes the configuration, and stores the pair as the only one."""
    await world.publish(a_declaring_config())
    world.pairs.summary = a_valued_pair()
