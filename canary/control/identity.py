"""Names and salts that nobody can guess or give twice."""

import secrets
import uuid
from datetime import datetime

SALT_BYTES = 16


def new_id(now: datetime) -> str:
    """A UUID of version 7 (RFC 9562) as text: ordered by its milliseconds, otherwise random."""
    milliseconds = int(now.timestamp() * 1_000) & 0xFFFF_FFFF_FFFF
    value = milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))


def new_salt() -> bytes:
    """A rollout's salt: never reused (else the same users would always be first) and never shown."""
    return secrets.token_bytes(SALT_BYTES)
