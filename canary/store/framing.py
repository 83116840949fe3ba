"""How a frame lies in a segment file: header, payload, checksum; and how the next whole frame is found after damage.

A segment begins with 16 bytes (a magic word with the format, and its own number). Each frame follows with a header of 12
bytes: mark, format, kind, payload length, crc32 of the payload seeded with the kind; the payload is one msgpack array.
"""

import struct
import zlib
from typing import Any, Final

import msgspec

from canary.store.frames import Frame, FrameKind, Live, Open, Pair, Tick

FRAME_FORMAT: Final = 1
MARK: Final = 0x9ACA
HEADER: Final = struct.Struct("<HBBII")
HEADER_BYTES: Final = HEADER.size
SEGMENT_HEADER: Final = struct.Struct("<8sQ")
SEGMENT_HEADER_BYTES: Final = SEGMENT_HEADER.size
SEGMENT_MAGIC: Final = b"CANARYJ1"
MAX_PAYLOAD_BYTES: Final = 134_217_728  # larger lengths are damage: bodies are capped far below
KINDS: Final[dict[type, FrameKind]] = {Open: FrameKind.OPEN, Live: FrameKind.LIVE, Pair: FrameKind.PAIR, Tick: FrameKind.TICK}

_MARK_BYTES: Final = MARK.to_bytes(2, "little")
_ENCODER: Final = msgspec.msgpack.Encoder()
DECODERS: Final[dict[int, msgspec.msgpack.Decoder[Frame]]] = {
    int(kind): msgspec.msgpack.Decoder(type_) for type_, kind in KINDS.items()
}


def payload_of(frame: Frame) -> bytes:
    """A frame's payload; text that is no Unicode (lone surrogates out of odd header bytes) is escaped."""
    try:
        return _ENCODER.encode(frame)
    except UnicodeEncodeError:
        return _ENCODER.encode(_escaped(msgspec.to_builtins(frame, builtin_types=(bytes,))))


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    return [_escaped(item) for item in value] if isinstance(value, list | tuple) else value


def frame_bytes(frame: Frame) -> bytes:
    """One frame as it stands in a segment."""
    payload = payload_of(frame)
    kind = KINDS[type(frame)]
    return HEADER.pack(MARK, FRAME_FORMAT, kind, len(payload), zlib.crc32(payload, kind)) + payload


def segment_header(number: int) -> bytes:
    """The first bytes of segment `number`."""
    return SEGMENT_HEADER.pack(SEGMENT_MAGIC, number)


def payload_length(data: bytes | memoryview, at: int) -> int | None:
    """Payload length promised by the header at `at`; None where no such header can stand there. Needs HEADER_BYTES bytes."""
    mark, format_, kind, length, _ = HEADER.unpack_from(data, at)
    if mark != MARK or format_ != FRAME_FORMAT or kind not in DECODERS or length > MAX_PAYLOAD_BYTES:
        return None
    return int(length)


def next_frame(data: bytes, start: int) -> int | None:
    """Where the next whole, sound frame begins at or after `start`; None where there is none in `data`."""
    at = data.find(_MARK_BYTES, start)
    while at != -1 and at + HEADER_BYTES <= len(data):
        length = payload_length(data, at)
        if length is not None and at + HEADER_BYTES + length <= len(data):
            _, _, kind, _, checksum = HEADER.unpack_from(data, at)
            with memoryview(data)[at + HEADER_BYTES : at + HEADER_BYTES + length] as payload:
                if zlib.crc32(payload, kind) == checksum:
                    return at
        at = data.find(_MARK_BYTES, at + 1)
    return None
