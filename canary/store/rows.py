"""The rows and deltas of one courier batch, as values.

Instants are microseconds since the Unix epoch on the journal's clock; durations are microseconds, -1 where the thing never
happened (stored as NULL). Structs without collector tracking: a batch holds thousands of them for milliseconds.
"""

from typing import NamedTuple

import msgspec

from canary.stats.first_event import FirstEventRow
from canary.terms import Arm, AssignedBy, Ending, Fault, Lane, MirrorDrop


class OutcomeRow(msgspec.Struct, frozen=True, gc=False):
    """One exchange as the client saw it: what the live frame said and what was observed in it."""

    exchange_id: bytes  # 16 bytes
    start_at_us: int
    segment: int
    stratum: int
    bucket: int
    weight_bp: int
    status: int  # 0 where no head came
    failed: bool
    connect_us: int
    written_us: int  # start -> request written
    first_byte_us: int  # start -> first byte of the answer
    latency_us: int  # written -> end
    end_us: int  # start -> end
    attempts: int
    request_bytes: int
    response_bytes: int
    route: str
    rollout: str  # empty where none
    lane: Lane
    arm: Arm
    version: str
    assigned_by: AssignedBy
    method: str
    ending: Ending
    fault: Fault
    mirror: str = ""  # version to which a copy was sent
    mirror_drop: MirrorDrop = MirrorDrop.NONE
    unit_hash: bytes = b""  # 8 bytes; empty for request units
    path: str = ""
    request_headers: str = ""  # JSON text; empty where none
    response_headers: str = ""
    facts: str = ""  # JSON text: declared values by name; empty where the route declares none


class PairRow(msgspec.Struct, frozen=True, gc=False):
    """Both outcomes of one request, and whether they agree. The shadow's outcome has no row but this."""

    exchange_id: bytes
    start_at_us: int
    segment: int
    live_status: int
    live_failed: bool
    live_latency_us: int
    live_ttfb_us: int  # written -> first byte
    live_end_us: int
    live_bytes: int
    shadow_status: int
    shadow_failed: bool
    shadow_latency_us: int
    shadow_ttfb_us: int
    shadow_end_us: int
    shadow_bytes: int
    same_status: bool
    same_body: bool | None  # None: not compared
    lost: bool  # the copy was sent and its worker died: nothing is known of the shadow's answer
    route: str
    rollout: str
    live_version: str
    shadow_version: str
    live_ending: Ending
    shadow_ending: Ending
    facts: str = ""  # of the live answer: JSON text; empty where the route declares no values
    shadow_facts: str = ""

    @property
    def differs(self) -> bool:
        """True where a person would want to look: status, body or success disagree, or the shadow's answer is lost."""
        return not self.same_status or self.same_body is False or self.live_failed != self.shadow_failed or self.lost


class BodyRow(msgspec.Struct, frozen=True, gc=False):
    """The bodies of one exchange or pair, made by `canary.store.bodies.pack_bodies`."""

    exchange_id: bytes
    keep_until_us: int
    route: str
    blob: bytes


class CounterDelta(NamedTuple):
    """One journal's cells of a part of one minute of starts: cumulative, so writing it twice changes nothing."""

    rollout: str
    segment: int
    minute: int  # start_at_us // 60_000_000
    cells: bytes
    part: int = 0  # 0: the whole minute in one piece; otherwise a `canary.stats.cells.part_of`


class ProfileDelta(NamedTuple):
    """One journal's cells of one hour of a version's stable outcomes: cumulative."""

    route: str
    version_hash: str
    hour: int  # start_at_us // 3_600_000_000
    cells: bytes


class RecordBatch(msgspec.Struct, frozen=True, kw_only=True):
    """All that one transaction takes from one journal."""

    journal: str
    sidecar: str
    seen: int  # the offset that is expected to be committed; 0 for a new journal
    offset: int  # the offset after this batch
    tick_at_us: int  # last tick in or before the batch; 0: none yet
    dead: bool = False  # its writer is gone and everything is read
    outcomes: list[OutcomeRow] = []
    pairs: list[PairRow] = []
    bodies: list[BodyRow] = []
    counters: list[CounterDelta] = []
    profiles: list[ProfileDelta] = []
    first_events: list[FirstEventRow] = []  # of sticky units; the rows are this journal's, whatever they say
    rejected: int = 0  # frames set aside since the last batch


class JournalState(msgspec.Struct, frozen=True, kw_only=True):
    """Where the courier goes on after a restart."""

    offset: int = 0
    tick_at_us: int = 0
    dead: bool = False
    counters: list[CounterDelta] = []  # of the two hours before the last tick
    profiles: list[ProfileDelta] = []  # of the hour of the last tick and the one before
