"""Rollouts, decisions and leases in Postgres: every write says which revision and which epoch it was made under."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec
from psycopg import errors

from canary.errors import Conflict, Deposed, NotFound, StaleRevision, StoreError
from canary.ports import Fence, Lease, Move
from canary.rollout.state import DecisionRow, RolloutState, SegmentRef
from canary.store.copying import clean
from canary.store.database import PLAN_CHANNEL, Connection, Database, each
from canary.store.publication import published_meanwhile

_INSERT: Final = """
INSERT INTO rollouts (id, route, stable, candidate, candidate_hash, phase, paused, waiting, weight_bp, because, revision,
                      plan_revision, plan_hash, created_at, created_by, ended_at, state)
VALUES (%(id)s, %(route)s, %(stable)s, %(candidate)s, %(candidate_hash)s, %(phase)s, %(paused)s, %(waiting)s, %(weight_bp)s,
        %(because)s, %(revision)s, %(plan_revision)s, %(plan_hash)s, %(created_at)s, %(created_by)s, %(ended_at)s, %(state)s)"""
_SAVE: Final = """
UPDATE rollouts
SET stable = %(stable)s, candidate = %(candidate)s, candidate_hash = %(candidate_hash)s, phase = %(phase)s, paused = %(paused)s,
    waiting = %(waiting)s, weight_bp = %(weight_bp)s, because = %(because)s, revision = %(revision)s,
    plan_revision = %(plan_revision)s, plan_hash = %(plan_hash)s, ended_at = %(ended_at)s, state = %(state)s
WHERE id = %(id)s AND revision = %(seen)s"""
# FOR SHARE: a new leader cannot take the lease between this look and our commit.
_UNDER_LEASE: Final = """
  AND EXISTS (SELECT 1 FROM leases
              WHERE name = %(lease)s AND epoch = %(epoch)s AND expires_at > clock_timestamp()
              FOR SHARE)"""
_SEGMENT: Final = """
INSERT INTO segments (id, rollout, stage, weight_bp, shadow_bp, scored, opened_at)
VALUES (%(id)s, %(rollout)s, %(stage)s, %(weight_bp)s, %(shadow_bp)s, %(scored)s, %(opened_at)s)
ON CONFLICT (id) DO NOTHING"""
_DECISION: Final = """
INSERT INTO decisions (id, rollout, revision, action, because, phase, actor, at, epoch, plan_hash, body)
VALUES (%(id)s, %(rollout)s, %(revision)s, %(action)s, %(because)s, %(phase)s, %(actor)s, %(at)s, %(epoch)s, %(plan_hash)s,
        %(body)s)"""
_MOVED: Final = """
SELECT actor, because FROM decisions
WHERE rollout = %(rollout)s AND revision > %(revision)s AND action <> 'keep' ORDER BY revision DESC LIMIT 1"""
_STABLE: Final = """
INSERT INTO routes (route, stable, since, set_by) VALUES (%(route)s, %(stable)s, now(), %(set_by)s)
ON CONFLICT (route) DO UPDATE SET stable = excluded.stable, since = excluded.since, set_by = excluded.set_by"""
_BUMP: Final = "UPDATE plan SET plan_revision = plan_revision + 1 RETURNING plan_revision"
_ACTIVE: Final = """
SELECT state::text FROM rollouts
WHERE phase NOT IN ('done', 'rolled_back', 'cancelled') AND route NOT LIKE 'cal:%%' ORDER BY created_at, id"""
_FIND: Final = """
SELECT state::text FROM rollouts
WHERE route = %(route)s OR (%(route)s::text IS NULL AND route NOT LIKE 'cal:%%')
ORDER BY created_at DESC, id DESC LIMIT %(limit)s"""

# One's own lease is renewed under its epoch; a free or expired one, even one's own, is taken under the next.
_ACQUIRE: Final = """
INSERT INTO leases AS l (name, holder, epoch, expires_at)
VALUES (%(name)s, %(holder)s, 1, clock_timestamp() + %(ttl_s)s * interval '1 second')
ON CONFLICT (name) DO UPDATE
SET epoch = l.epoch + CASE WHEN l.expires_at > clock_timestamp() THEN 0 ELSE 1 END,
    holder = excluded.holder,
    expires_at = clock_timestamp() + %(ttl_s)s * interval '1 second'
WHERE l.holder = excluded.holder OR l.expires_at <= clock_timestamp()
RETURNING epoch, expires_at"""
_RELEASE: Final = """
UPDATE leases SET expires_at = '-infinity'
WHERE name = %(name)s AND holder = %(holder)s AND epoch = %(epoch)s"""

_Value = TypeVar("_Value")

_NEWER: Final = "Was it written by a newer canary? Then this process has to be of that version too."


def reader(kind: type[_Value]) -> Callable[[str], _Value]:
    """Reads stored values of one kind; raises StoreError for what this version does not know, as whoever reads lives on."""
    decode = msgspec.json.Decoder(kind).decode

    def read(text: str) -> _Value:
        try:
            return decode(text)
        except msgspec.DecodeError as error:
            raise StoreError(f"a stored {kind.__name__} cannot be read: {error}", hint=_NEWER) from error

    return read


_state_of: Final = reader(RolloutState)
_decision_of: Final = reader(DecisionRow)


class PostgresRollouts:
    """The RolloutBook in Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def active(self) -> Sequence[RolloutState]:
        """All rollouts whose phase is not final, oldest first."""
        return [_state_of(row[0]) for row in await self._database.rows(_ACTIVE)]

    async def get(self, rollout: str) -> RolloutState:
        """One rollout by id; raises NotFound."""
        rows = await self._database.rows("SELECT state::text FROM rollouts WHERE id = %(id)s", {"id": rollout})
        if not rows:
            raise NotFound(f"no rollout {rollout}")
        return _state_of(rows[0][0])

    async def find(self, *, route: str | None = None, limit: int = 100) -> Sequence[RolloutState]:
        """Newest first."""
        return [_state_of(row[0]) for row in await self._database.rows(_FIND, {"route": route, "limit": limit})]

    async def create(self, state: RolloutState, row: DecisionRow, *, published: int | None = None) -> RolloutState:
        """Stores revision 1; raises Conflict if the route has an active rollout, or if `published` is no longer the file's."""
        saved = msgspec.structs.replace(state, revision=1)
        async with self._database.transaction() as connection:
            if published is not None:
                await _hold_published(connection, published)
            try:
                await connection.execute(_INSERT, _columns(saved))
            except errors.UniqueViolation as error:
                raise Conflict(
                    f"rollout {state.id} cannot be made: route {state.route} has an active one, or the id is taken",
                    hint="End the active rollout first.",
                ) from error
            await _write_story(connection, saved, saved.segments, row)
            await _announce(connection, saved.plan_revision)
        return saved

    async def next_segment(self) -> int:
        """A segment id never given before (> 0)."""
        return int((await self._database.rows("SELECT nextval('segment_ids')"))[0][0])

    async def save(
        self,
        before: RolloutState,
        after: RolloutState,
        row: DecisionRow | None,
        *,
        fence: Fence | None = None,
        stable: str | None = None,
        moves_traffic: bool = False,
    ) -> RolloutState:
        """State, decision, stable and the plan's revision together, or nothing: see the port."""
        async with self._database.transaction() as connection:
            plan_revision = after.plan_revision
            if moves_traffic or stable is not None:
                plan_revision = await bump(connection)
            saved = msgspec.structs.replace(after, revision=before.revision + 1, plan_revision=plan_revision)
            await _update(connection, saved, before.revision, fence)
            opened = [segment for segment in saved.segments if segment not in before.segments]
            await _write_story(connection, saved, opened, row)
            if stable is not None:
                by = f"decision {row.id}" if row else "controller"
                await connection.execute(_STABLE, {"route": saved.route, "stable": stable, "set_by": by})
            await _announce(connection, plan_revision)
        return saved

    async def decisions(self, rollout: str, *, limit: int = 200) -> Sequence[DecisionRow]:
        """Newest first."""
        rows = await self._database.rows(
            "SELECT body::text FROM decisions WHERE rollout = %(rollout)s ORDER BY revision DESC LIMIT %(limit)s",
            {"rollout": rollout, "limit": limit},
        )
        return [_decision_of(row[0]) for row in rows]

    async def moved_since(self, rollout: str, revision: int) -> Move | None:
        """The newest decision after that revision that was more than a note; None where there is none."""
        rows = await self._database.rows(_MOVED, {"rollout": rollout, "revision": revision})
        return Move(actor=rows[0][0], because=rows[0][1]) if rows else None

    async def decision(self, decision: str) -> DecisionRow:
        """One decision by id; raises NotFound."""
        rows = await self._database.rows("SELECT body::text FROM decisions WHERE id = %(id)s", {"id": decision})
        if not rows:
            raise NotFound(f"no decision {decision}", hint="Notes that moved nothing are thinned to one an hour after a day.")
        return _decision_of(rows[0][0])


class PostgresLeases:
    """The LeaseBook in Postgres; time is the database's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def acquire(self, name: str, holder: str, ttl_s: float) -> Lease | None:
        """Takes a free or expired lease (epoch + 1) or renews one's own (same epoch); None where another holds it."""
        rows = await self._database.rows(_ACQUIRE, {"name": name, "holder": holder, "ttl_s": ttl_s})
        if not rows:
            return None
        epoch, expires_at = rows[0]
        return Lease(name=name, holder=holder, epoch=epoch, expires_at=expires_at)

    async def release(self, lease: Lease) -> None:
        """Gives it back at once; the epoch stays."""
        await self._database.rows(_RELEASE, {"name": lease.name, "holder": lease.holder, "epoch": lease.epoch})


async def bump(connection: Connection) -> int:
    """The plan's next revision; its row is locked until the transaction ends, so revisions are committed in their order."""
    row = await (await connection.execute(_BUMP)).fetchone()
    assert row is not None
    return int(row[0])


async def _hold_published(connection: Connection, revision: int) -> None:
    """No file is published from here to the transaction's end; raises Conflict where one was since `revision`."""
    await connection.execute("SELECT 1 FROM plan FOR UPDATE")
    latest = (await (await connection.execute("SELECT max(revision) FROM config_revisions")).fetchone() or (None,))[0]
    if latest != revision:
        raise published_meanwhile(revision, latest or 0)


async def _announce(connection: Connection, plan_revision: int) -> None:
    await connection.execute("SELECT pg_notify(%(channel)s, %(text)s)", {"channel": PLAN_CHANNEL, "text": str(plan_revision)})


async def _update(connection: Connection, saved: RolloutState, seen: int, fence: Fence | None) -> None:
    values = {**_columns(saved), "seen": seen}
    if fence is None:
        cursor = await connection.execute(_SAVE, values)
    else:
        cursor = await connection.execute(_SAVE + _UNDER_LEASE, {**values, "lease": fence.name, "epoch": fence.epoch})
    if cursor.rowcount == 1:
        return
    row = await (await connection.execute("SELECT revision FROM rollouts WHERE id = %(id)s", {"id": saved.id})).fetchone()
    if row is None:
        raise NotFound(f"no rollout {saved.id}")
    if row[0] != seen:
        raise StaleRevision(f"rollout {saved.id} is at revision {row[0]}, not {seen}: somebody changed it meanwhile")
    assert fence is not None
    raise Deposed(f"lease {fence.name} is not held under epoch {fence.epoch} any more")


async def _write_story(
    connection: Connection, saved: RolloutState, opened: Sequence[SegmentRef], row: DecisionRow | None
) -> None:
    """The new segments and the decision, for people and for replay."""
    if opened:
        await each(connection, _SEGMENT, [_segment_columns(saved.id, segment) for segment in opened])
    if row is not None:
        row = msgspec.structs.replace(row, revision=saved.revision)
        await connection.execute(_DECISION, _decision_columns(row))


def _columns(state: RolloutState) -> dict[str, Any]:
    return {
        **{
            name: getattr(state, name)
            for name in ("id", "route", "stable", "candidate", "candidate_hash", "paused", "revision")
        },
        **{name: getattr(state, name) for name in ("plan_revision", "plan_hash", "created_at", "created_by", "ended_at")},
        "phase": state.phase.value,
        "waiting": clean(state.waiting),
        "because": clean(state.because),
        "weight_bp": state.segment.weight_bp if state.segment and not state.phase.is_final else 0,
        "state": _json(state, _state_of),
    }


def _segment_columns(rollout: str, segment: SegmentRef) -> dict[str, Any]:
    return {**msgspec.structs.asdict(segment), "scored": segment.scored.value, "rollout": rollout}


def _decision_columns(row: DecisionRow) -> dict[str, Any]:
    return {
        **{name: getattr(row, name) for name in ("id", "rollout", "revision", "at", "epoch", "plan_hash")},
        "action": row.decision.action.value,
        "because": clean(row.decision.because),
        "phase": row.phase.value,
        "actor": clean(row.actor),
        "body": _json(row, _decision_of),
    }


def _json(value: RolloutState | DecisionRow, again: Callable[[str], object]) -> str:
    """Its JSON text, tried: what cannot be read back (a NaN becomes null) must not be stored."""
    text = msgspec.json.encode(value).decode()
    try:
        same = again(text) == value
    except StoreError as error:
        raise StoreError(f"{type(value).__name__} {value.id} cannot be stored: {error}") from error
    if not same:
        raise StoreError(f"{type(value).__name__} {value.id} cannot be stored: it reads back as something else")
    return text
