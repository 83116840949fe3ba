"""Which arm a request is on, and by what: forced, ordered, ineligible, or the coin."""

from typing import Final

from canary.proxy.assignment import Assignment
from canary.proxy.route import Route
from canary.split import force
from canary.split.assign import MAX_UNIT_BYTES, shadowed, unit_hash
from canary.terms import UNSCORED, Arm, AssignedBy, UnitSource
from canary.wire.heads import RequestHead

DEFAULT: Final = Assignment()
_STABLE: Final = Arm.STABLE
_CANDIDATE: Final = Arm.CANDIDATE
_HASH: Final = AssignedBy.HASH
_REQUEST: Final = UnitSource.REQUEST
_OVERLAY: Final = Assignment(assigned_by=AssignedBy.OVERLAY)
_INELIGIBLE: Final = Assignment(assigned_by=AssignedBy.INELIGIBLE)


def cookie_of(head: RequestHead, name: bytes) -> bytes | None:
    """The first cookie of that name."""
    for low, value, _ in head.fields:
        if low == b"cookie":
            for part in value.split(b";"):
                key, found, word = part.strip(b" \t").partition(b"=")
                if found and key == name:
                    return word.strip(b'"')
    return None


def _unit_of(route: Route, head: RequestHead) -> bytes | None:
    """The sticky unit; None where it is missing or too long."""
    unit = head.find(route.unit_name) if route.unit is UnitSource.HEADER else cookie_of(head, route.unit_name)
    return unit if unit and len(unit) <= MAX_UNIT_BYTES else None


def _forced(route: Route, head: RequestHead, force_key: bytes, now_us: int) -> Assignment | None:
    word = head.force or cookie_of(head, force.COOKIE)
    if not word:
        return None
    arm = force.verify(word, route.name, key=force_key, now=now_us / 1e6)
    return Assignment(arm=arm, assigned_by=AssignedBy.FORCED) if arm is not None else None


def stratum_of(route: Route, head: RequestHead) -> int:
    """The task class that the request names for itself, whatever the arm; 0: none that the route knows."""
    named = head.find(route.class_header)
    return route.strata.get(named, 0) if named is not None else 0


def assign(
    route: Route, head: RequestHead, exchange_id: bytes, *, start_at_us: int, eligible: bool, keys: tuple[bytes, bytes]
) -> Assignment:
    """The exchange's assignment; `keys` are those of forcing and of unit hashes."""
    force_key, unit_key = keys
    if route.coin is None:
        if route.unit is _REQUEST:
            return DEFAULT
        unit = _unit_of(route, head)
        return Assignment(unit_hash=unit_hash(unit, unit_key)) if unit is not None else DEFAULT
    if route.order is not None:
        return _OVERLAY
    if not eligible:
        return _INELIGIBLE
    if force_key:
        forced = _forced(route, head, force_key, start_at_us)
        if forced is not None:
            return forced
    segment, by, hashed, coin = route.segment, _HASH, b"", exchange_id
    if route.unit is not _REQUEST:
        unit = _unit_of(route, head)
        if unit is None:
            segment, by = UNSCORED, AssignedBy.FRESH
        else:
            coin, hashed = unit, unit_hash(unit, unit_key)
    bucket = route.coin.bucket(coin)
    arm = _STABLE if bucket >= route.weight_bp else _CANDIDATE
    in_share = arm is _STABLE and shadowed(route.salt, exchange_id, route.shadow_bp)
    return Assignment(arm, by, segment, bucket, hashed, in_share)
