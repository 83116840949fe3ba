"""Recorded pairs, for people: a list with filters, and one pair with its bodies."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import zstandard
from psycopg.rows import dict_row

from canary.errors import NotFound, Refused
from canary.store.bodies import Bodies, unpack_bodies
from canary.store.database import Database
from canary.terms import Frozen

_MOST: Final = 1_000
_COLUMNS: Final = """
SELECT exchange_id, recorded_at, start_at, route, rollout, segment, live_version, shadow_version,
       live_status, live_ending, live_failed, live_latency_us, live_ttfb_us, live_end_us, live_bytes,
       shadow_status, shadow_ending, shadow_failed, shadow_latency_us, shadow_ttfb_us, shadow_end_us, shadow_bytes,
       same_status, same_body, lost, differs, facts AS live_facts, shadow_facts
FROM pairs"""
# Exchange ids begin with the time of their start: their order is the order in time, and the primary key serves it.
_LIST: Final = f"""{_COLUMNS}
WHERE (%(route)s::text IS NULL OR route = %(route)s)
  AND (%(rollout)s::text IS NULL OR rollout = %(rollout)s)
  AND (NOT %(differing)s OR differs)
  AND (%(before)s::uuid IS NULL OR exchange_id < %(before)s)
ORDER BY exchange_id DESC
LIMIT %(limit)s"""
_SHOW: Final = f"{_COLUMNS} WHERE exchange_id = %(id)s"
_OUTCOME: Final = """
SELECT method, path, arm, request_headers::text, response_headers::text FROM outcomes WHERE exchange_id = %(id)s"""
_BODY: Final = "SELECT body FROM bodies WHERE exchange_id = %(id)s AND keep_until > now()"


class PairSide(Frozen, frozen=True, kw_only=True):
    """One version's half of a pair; times in microseconds, None where the thing never happened."""

    version: str
    status: int
    ending: str
    failed: bool
    latency_us: int | None
    ttfb_us: int | None
    end_us: int
    bytes: int
    facts: dict[str, float | str | None] | None = None  # declared values by name; None: nothing was recorded


class PairSummary(Frozen, frozen=True, kw_only=True):
    """One pair in a list."""

    exchange_id: str  # hex, as in the x-canary-id header
    recorded_at: datetime
    start_at: datetime
    route: str
    rollout: str
    segment: int
    live: PairSide
    shadow: PairSide
    same_status: bool
    same_body: bool | None  # None: not compared
    lost: bool
    differs: bool


class PairDetail(Frozen, frozen=True, kw_only=True):
    """One pair with what else is kept of its exchange."""

    summary: PairSummary
    method: str = ""
    path: str = ""
    arm: str = ""
    request_headers: str = ""  # JSON text
    response_headers: str = ""  # of the live answer
    bodies: Bodies | None = None  # None: not recorded, or kept no longer


class Pairs:
    """The pairs in Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(
        self,
        *,
        route: str | None = None,
        rollout: str | None = None,
        differing: bool = False,
        limit: int = 50,
        before: str | None = None,
    ) -> Sequence[PairSummary]:
        """Newest first, at most 1,000; `before` is the exchange id after which the last page ended."""
        filters = {
            "route": route,
            "rollout": rollout,
            "differing": differing,
            "before": _id(before) if before else None,
            "limit": max(1, min(limit, _MOST)),
        }
        async with self._database.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(_LIST, filters)
            return [_summary(row) for row in await cursor.fetchall()]

    async def show(self, exchange_id: str) -> PairDetail:
        """One pair by its exchange id in hex, bodies decompressed; raises NotFound."""
        key = {"id": _id(exchange_id)}
        async with self._database.transaction(consistent=True) as connection, connection.cursor(row_factory=dict_row) as cursor:
            pair = await (await cursor.execute(_SHOW, key)).fetchone()
            if pair is None:
                raise NotFound(f"no pair {exchange_id}", hint="Only mirrored exchanges have one, and for keep_days.")
            outcome = await (await cursor.execute(_OUTCOME, key)).fetchone() or {}
            body = await (await cursor.execute(_BODY, key)).fetchone()
        texts = {name: value or "" for name, value in outcome.items()}
        return PairDetail(summary=_summary(pair), bodies=_bodies(body["body"]) if body else None, **texts)


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Refused(f"{text!r} is not an exchange id", hint="It is the 32 hex digits of the x-canary-id header.") from None


def _bodies(blob: bytes) -> Bodies | None:
    """A blob that cannot be read takes nothing else from the page."""
    try:
        return unpack_bodies(blob)
    except (msgspec.DecodeError, zstandard.ZstdError):
        return None


def _side(row: dict[str, Any], lane: str) -> PairSide:
    return PairSide(
        version=row[f"{lane}_version"],
        status=row[f"{lane}_status"],
        ending=row[f"{lane}_ending"],
        failed=row[f"{lane}_failed"],
        latency_us=row[f"{lane}_latency_us"],
        ttfb_us=row[f"{lane}_ttfb_us"],
        end_us=row[f"{lane}_end_us"],
        bytes=row[f"{lane}_bytes"],
        facts=row[f"{lane}_facts"],
    )


def _summary(row: dict[str, Any]) -> PairSummary:
    return PairSummary(
        exchange_id=row["exchange_id"].hex,
        recorded_at=row["recorded_at"],
        start_at=row["start_at"],
        route=row["route"],
        rollout=row["rollout"] or "",
        segment=row["segment"],
        live=_side(row, "live"),
        shadow=_side(row, "shadow"),
        same_status=row["same_status"],
        same_body=row["same_body"],
        lost=row["lost"],
        differs=row["differs"],
    )
