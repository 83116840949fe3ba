"""The signed word that puts a test's request on one arm: `<arm>.<expires unix s>.<hex mac>`."""

from hashlib import blake2b
from hmac import compare_digest
from typing import Final

from canary.terms import Arm

HEADER: Final = b"x-canary-force"
COOKIE: Final = b"canary_force"
_FORCE: Final = b"canary-force"
_MAX_BYTES: Final = 128


def _mac(route: str, arm: str, expires: int, key: bytes) -> str:
    text = f"{route}|{arm}|{expires}".encode()
    return blake2b(text, digest_size=16, key=blake2b(key, digest_size=32).digest(), person=_FORCE).hexdigest()


def sign(route: str, arm: Arm, *, expires: int, key: bytes) -> str:
    """The header's or cookie's value that forces `arm` on `route` until `expires` (Unix seconds)."""
    return f"{arm.value}.{expires}.{_mac(route, arm.value, expires, key)}"


def verify(word: bytes, route: str, *, key: bytes, now: float) -> Arm | None:
    """The arm that a genuine, unexpired word names; None for any other."""
    if not key or len(word) > _MAX_BYTES or not word.isascii():
        return None
    parts = word.decode("ascii").split(".")
    if len(parts) != 3 or parts[0] not in (Arm.STABLE, Arm.CANDIDATE) or not parts[1].isdecimal():
        return None
    expires = int(parts[1])
    if expires <= now or not compare_digest(parts[2], _mac(route, parts[0], expires, key)):
        return None
    return Arm(parts[0])
