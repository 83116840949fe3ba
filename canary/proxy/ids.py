"""Exchange ids: UUIDv7 from the clock and a counter, unique without a call for chance per request."""

import struct
from typing import Final

_pack: Final = struct.Struct(">QQ").pack
_COUNT_MASK: Final = (1 << 30) - 1


class ExchangeIds:
    """One per worker; `seed` (44 random bits or more) keeps workers apart."""

    __slots__ = ("_count", "_high", "_low")

    def __init__(self, seed: int) -> None:
        self._count = 0
        rand_a, rand_b = seed & 0xFFF, (seed >> 12) & 0xFFFFFFFF
        self._high = 0x7 << 12 | rand_a
        self._low = 0b10 << 62 | rand_b << 30

    def next(self, now_us: int) -> bytes:
        """Sixteen bytes: milliseconds, version, seed, variant, seed, counter."""
        self._count = count = (self._count + 1) & _COUNT_MASK
        return _pack(now_us // 1000 << 16 | self._high, self._low | count)
