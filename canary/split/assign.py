"""From salt and unit to bucket to arm: keyed hashes, one domain tag for each use."""

import struct
from hashlib import blake2b
from typing import Final

from canary.terms import BUCKETS, Arm

MAX_UNIT_BYTES: Final = 256
"""A longer unit is no unit: a client could otherwise buy hashing time."""

_number: Final = struct.Struct(">Q").unpack
_ASSIGN: Final = b"canary-assign"
_SHADOW: Final = b"canary-shadow"
_UNIT: Final = b"canary-unit"


def unit_hash(unit: bytes, key: bytes) -> bytes:
    """Eight bytes that stand for the unit in records; the same under one key, unlinkable without it."""
    return blake2b(unit, digest_size=8, key=key[:64], person=_UNIT).digest()


def bucket_of(salt: bytes, unit: bytes) -> int:
    """The unit's slot, 0..9999, uniform to within 1e-15 (2**64 is not a multiple of 10,000)."""
    return int.from_bytes(blake2b(unit, digest_size=8, key=salt, person=_ASSIGN).digest(), "big") % BUCKETS


class Coin:
    """`bucket_of` under one salt, with the key's block hashed once: half the price per request."""

    __slots__ = ("_base",)

    def __init__(self, salt: bytes) -> None:
        self._base = blake2b(digest_size=8, key=salt, person=_ASSIGN)

    def bucket(self, unit: bytes) -> int:
        """The unit's slot, 0..9999."""
        hasher = self._base.copy()
        hasher.update(unit)
        bucket: int = _number(hasher.digest())[0] % BUCKETS
        return bucket


def arm_of(bucket: int, weight_bp: int) -> Arm:
    """Candidate iff the bucket lies under the weight: nested ranges, so a growing weight only adds units."""
    return Arm.CANDIDATE if bucket < weight_bp else Arm.STABLE


def shadowed(salt: bytes, exchange_id: bytes, shadow_bp: int) -> bool:
    """Whether this exchange is in the shadow's share; independent of the assignment by its own tag."""
    if shadow_bp >= BUCKETS:
        return True
    if shadow_bp <= 0:
        return False
    digest = blake2b(exchange_id, digest_size=8, key=salt, person=_SHADOW).digest()
    return int.from_bytes(digest, "big") % BUCKETS < shadow_bp
