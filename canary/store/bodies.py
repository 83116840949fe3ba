"""The bodies of one exchange or pair as one compressed blob."""

from typing import Final

import msgspec
import zstandard

_LEVEL: Final = 1  # 12.9 us per pair at ratio .46; higher levels cost more than the disk they save
_MAX_BYTES: Final = 64 * 1024 * 1024


class Bodies(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What was kept of one exchange's bodies, each up to the route's cap."""

    request: bytes = b""
    live: bytes = b""
    shadow: bytes = b""
    request_truncated: bool = False
    live_truncated: bool = False
    shadow_truncated: bool = False


_compressor = zstandard.ZstdCompressor(level=_LEVEL)
_decompressor = zstandard.ZstdDecompressor()
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Bodies)


def pack_bodies(bodies: Bodies) -> bytes:
    """The blob of a `BodyRow`."""
    return _compressor.compress(_encoder.encode(bodies))


def unpack_bodies(blob: bytes) -> Bodies:
    """The inverse of `pack_bodies`; raises msgspec.DecodeError or zstandard.ZstdError on a damaged blob."""
    return _decoder.decode(_decompressor.decompress(blob, max_output_size=_MAX_BYTES))
