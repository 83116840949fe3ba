"""The journal's frames: all that the data plane says to the rest of the product.

Instants are microseconds since the Unix epoch on the journal's clock (the worker's wall clock at its start plus its monotonic
clock since), so they never jump inside a journal. Durations are microseconds since the exchange's start; -1 means "never came".
"""

from enum import IntEnum

import msgspec

from canary.terms import Arm, AssignedBy, Ending, MirrorDrop


class FrameKind(IntEnum):
    """First byte of a frame's payload."""

    OPEN = 1
    LIVE = 2
    PAIR = 3
    TICK = 4


class Open(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The hash assigned an exchange under a rollout (segment > 0): written at assignment."""

    exchange_id: bytes  # 16 bytes, UUIDv7
    segment: int
    stratum: int
    arm: Arm
    start_at_us: int
    mirrored: bool  # under a rollout's shadow share: a pair is meant to follow (a drop is said in the live frame)
    carried: bool = False  # copied to the start of a new journal segment, still in flight
    unit_hash: bytes = b""  # as in its live frame, for exchanges that never come to one


class Side(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One version's answer to one request."""

    version: str
    ending: Ending
    status: int  # 0 where no head came
    connect_us: int  # time spent in pool, DNS, connect and TLS; shown, never scored
    written_us: int  # start -> request written on an established connection
    first_byte_us: int  # start -> first byte of the answer's body (or its head where there is no body)
    end_us: int  # start -> end
    attempts: int = 1
    request_bytes: int = 0  # body
    response_bytes: int = 0  # body
    headers: tuple[tuple[str, str], ...] = ()  # allow-listed answer headers
    chunks: tuple[int, ...] = ()  # marks: start -> arrival of body pieces, the first 256, then each 16th
    body: bytes = b""  # up to the route's cap
    body_truncated: bool = False
    tail: bytes = b""  # the last bytes of a truncated body: a stream says at its end that it failed


class Live(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A client's answer ended: written before its last byte is handed to the transport."""

    exchange_id: bytes
    route: str
    segment: int
    stratum: int
    arm: Arm
    assigned_by: AssignedBy
    start_at_us: int
    unit_hash: bytes  # 8 bytes, keyed; empty for request units
    bucket: int
    weight_bp: int
    method: str
    path: str  # without query, at most 512 characters
    side: Side
    mirror: str = ""  # version to which a copy was sent: a pair frame follows
    mirror_drop: MirrorDrop = MirrorDrop.NONE
    request_headers: tuple[tuple[str, str], ...] = ()
    request_body: bytes = b""
    request_body_truncated: bool = False
    carried: bool = False  # copied without bodies to the start of a new journal segment: its pair is still to come


class Pair(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Both answers ended; repeats the live frame so that the reader never waits for a partner."""

    live: Live
    shadow: Side


class Tick(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Each second: everything that ended before `at_us` stands before this frame."""

    at_us: int
    snapshot_revision: int
    dropped_frames: int = 0  # so far, at the spool's bound


class Rotation(msgspec.Struct, frozen=True):
    """When a new segment begins: whichever comes first."""

    segment_bytes: int = 67_108_864
    segment_s: float = 60.0


Frame = Open | Live | Pair | Tick
