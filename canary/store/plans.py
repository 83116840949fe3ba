"""What is published and in force, and who follows it, in Postgres."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from canary.config.document import Config
from canary.ports import PlanInForce, Published, SidecarAck
from canary.rollout.calibration import calibrates
from canary.rollout.state import RolloutState
from canary.store.books import bump, reader
from canary.store.database import PLAN_CHANNEL, Connection, Database, each
from canary.store.publication import stable_after

_IN_FORCE: Final = """
SELECT plan_revision, database_id::text, EXISTS (SELECT 1 FROM leases WHERE expires_at > clock_timestamp())
FROM plan CROSS JOIN meta"""
_LATEST: Final = """
SELECT revision, hash, config::text, published_at, published_by FROM config_revisions ORDER BY revision DESC LIMIT 1"""
_ACTIVE: Final = """
SELECT state::text FROM rollouts WHERE phase NOT IN ('done', 'rolled_back', 'cancelled') ORDER BY created_at, id"""
_PUBLISH: Final = """
INSERT INTO config_revisions (revision, hash, config, published_at, published_by)
VALUES (%(revision)s, %(hash)s, %(config)s, now(), %(by)s)
RETURNING published_at"""
_CHARGE: Final = """
INSERT INTO routes AS r (route, stable, since, set_by) VALUES (%(route)s, %(stable)s, now(), %(by)s)
ON CONFLICT (route) DO UPDATE SET stable = excluded.stable, since = excluded.since, set_by = excluded.set_by
WHERE r.stable <> excluded.stable"""
_VERSION: Final = """
INSERT INTO versions (route, hash, name, definition, first_revision)
VALUES (%(route)s, %(hash)s, %(name)s, %(definition)s, %(revision)s)
ON CONFLICT (route, hash) DO NOTHING"""
_ACKNOWLEDGE: Final = """
INSERT INTO sidecars (sidecar, plan_revision, workers, seen_at)
VALUES (%(sidecar)s, %(plan_revision)s, %(workers)s, clock_timestamp())
ON CONFLICT (sidecar) DO UPDATE
SET plan_revision = excluded.plan_revision, workers = excluded.workers, seen_at = excluded.seen_at"""
_ACKS: Final = """
SELECT sidecar, plan_revision, seen_at, workers FROM sidecars
WHERE seen_at > clock_timestamp() - %(within_s)s * interval '1 second'
ORDER BY sidecar"""

_config_of: Final = reader(Config)
_state_of: Final = reader(RolloutState)


class PostgresPlans:
    """The PlanBook in Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def in_force(self) -> PlanInForce:
        """One consistent reading."""
        async with self._database.transaction(consistent=True) as connection:
            one = await connection.execute(_IN_FORCE)
            row = await one.fetchone()
            assert row is not None
            published = await _latest(connection)
            stable = await _in_charge(connection)
            rollouts = await _active(connection)
        return PlanInForce(
            plan_revision=row[0],
            database_id=row[1],
            published=published,
            stable=stable,
            rollouts=tuple(state for state in rollouts if not calibrates(state)),
            calibrations=tuple(state for state in rollouts if calibrates(state)),
            led=row[2],
        )

    async def publish(self, config: Config, *, by: str) -> Published:
        """Stores the next revision, or returns the latest where its hash is the same: see the port."""
        async with self._database.transaction() as connection:
            await connection.execute("SELECT 1 FROM plan FOR UPDATE")  # one publication at a time
            latest = await _latest(connection)
            if latest is not None and latest.hash == config.hash:
                return latest
            stable = stable_after(
                config,
                latest.config if latest else None,
                in_charge=await _in_charge(connection),
                active=[state for state in await _active(connection) if not calibrates(state)],
            )
            published = await _store(connection, config, by=by, revision=latest.revision + 1 if latest else 1)
            await _put_in_charge(connection, stable, by=f"file revision {published.revision}")
            plan_revision = await bump(connection)
            await connection.execute(
                "SELECT pg_notify(%(channel)s, %(text)s)", {"channel": PLAN_CHANNEL, "text": str(plan_revision)}
            )
        return published

    async def acks(self, *, within_s: float = 10.0) -> Sequence[SidecarAck]:
        """Sidecars seen lately."""
        found = await self._database.rows(_ACKS, {"within_s": within_s})
        return [
            SidecarAck(sidecar=sidecar, plan_revision=plan_revision, seen_at=seen_at, workers=workers)
            for sidecar, plan_revision, seen_at, workers in found
        ]

    async def acknowledge(self, sidecar: str, plan_revision: int, workers: int) -> None:
        """Upserts one sidecar's word; seen_at is database time."""
        await self._database.rows(_ACKNOWLEDGE, {"sidecar": sidecar, "plan_revision": plan_revision, "workers": workers})


async def _latest(connection: Connection) -> Published | None:
    row = await (await connection.execute(_LATEST)).fetchone()
    if row is None:
        return None
    revision, hash_, config, published_at, published_by = row
    return Published(
        revision=revision, hash=hash_, config=_config_of(config), published_at=published_at, published_by=published_by
    )


async def _in_charge(connection: Connection) -> dict[str, str]:
    rows = await (await connection.execute("SELECT route, stable FROM routes ORDER BY route")).fetchall()
    return {route: stable for route, stable in rows}  # noqa: C416 - it also checks the shape


async def _active(connection: Connection) -> list[RolloutState]:
    return [_state_of(row[0]) for row in await (await connection.execute(_ACTIVE)).fetchall()]


async def _store(connection: Connection, config: Config, *, by: str, revision: int) -> Published:
    values = {"revision": revision, "hash": config.hash, "config": msgspec.json.encode(config).decode(), "by": by}
    row = await (await connection.execute(_PUBLISH, values)).fetchone()
    assert row is not None
    definitions: list[dict[str, Any]] = [
        {
            "route": route.name,
            "hash": version.hash,
            "name": version.name,
            "definition": msgspec.json.encode(version).decode(),
            "revision": revision,
        }
        for route in config.routes
        for version in route.versions
    ]
    await each(connection, _VERSION, definitions)
    return Published(revision=revision, hash=config.hash, config=config, published_at=row[0], published_by=by)


async def _put_in_charge(connection: Connection, stable: dict[str, str], *, by: str) -> None:
    """A route that the file no longer has is forgotten: should it come back, it is a new one."""
    await connection.execute("DELETE FROM routes WHERE route <> ALL (%(kept)s::text[])", {"kept": list(stable)})
    await each(connection, _CHARGE, [{"route": route, "stable": version, "by": by} for route, version in stable.items()])
