"""Makers of journal frames, journals and clocks: say only what a test is about."""

import itertools
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from canary.store.frames import Frame, Live, Open, Pair, Rotation, Side, Tick
from canary.store.journal import JournalWriter
from canary.store.spool import JournalDir, Offset, PoisonFrame, journals
from canary.terms import Arm, AssignedBy, Ending

T0_US = 1_767_603_600_000_000
"""2026-01-05 09:00 UTC: the start of a minute and of an hour."""

_ids = itertools.count(1)


class TestClock:
    """Moves when told; a write can be made to seem slow by `step_ns` a reading."""

    __test__ = False

    def __init__(self) -> None:
        self.wall = T0_US * 1000
        self.mono = 1_000_000_000
        self.step_ns = 0

    def wall_ns(self) -> int:
        """Wall nanoseconds."""
        return self.wall

    def monotonic_ns(self) -> int:
        """Monotonic nanoseconds."""
        self.mono += self.step_ns
        return self.mono

    def move(self, seconds: float) -> None:
        """Lets time pass."""
        self.mono += int(seconds * 1e9)


def an_id() -> bytes:
    """An exchange id never given before."""
    return next(_ids).to_bytes(16, "big")


def a_side(version: str = "v1", **fields: Any) -> Side:
    """A whole 200 after 20 ms."""
    usual: dict[str, Any] = {
        "version": version,
        "ending": Ending.WHOLE,
        "status": 200,
        "connect_us": 100,
        "written_us": 200,
        "first_byte_us": 15_000,
        "end_us": 20_000,
    }
    body = fields.get("body", b"")
    return Side(**({"response_bytes": len(body)} | usual | fields))


def an_open(exchange_id: bytes | None = None, **fields: Any) -> Open:
    """Stable, in segment 7, with a copy meant."""
    usual: dict[str, Any] = {"segment": 7, "stratum": 0, "arm": Arm.STABLE, "start_at_us": T0_US, "mirrored": True}
    return Open(**({"exchange_id": exchange_id or an_id()} | usual | fields))


def a_live(exchange_id: bytes | None = None, **fields: Any) -> Live:
    """Stable's answer in segment 7, with its copy sent to v2."""
    usual: dict[str, Any] = {
        "route": "chat",
        "segment": 7,
        "stratum": 0,
        "arm": Arm.STABLE,
        "assigned_by": AssignedBy.HASH,
        "start_at_us": T0_US,
        "unit_hash": b"",
        "bucket": 4_711,
        "weight_bp": 500,
        "method": "GET",
        "path": "/v1/x",
        "side": a_side(),
        "mirror": "v2",
    }
    return Live(**({"exchange_id": exchange_id or an_id()} | usual | fields))


def a_pair(live: Live | None = None, shadow: Side | None = None) -> Pair:
    """That live answer beside v2's."""
    return Pair(live=live or a_live(), shadow=shadow or a_side("v2"))


def a_tick(seconds: float = 1.0, revision: int = 5) -> Tick:
    """A tick so many seconds after T0."""
    return Tick(at_us=T0_US + int(seconds * 1e6), snapshot_revision=revision)


def write(writer: JournalWriter, *frames: Frame) -> None:
    """Hands frames to the writer by their kind, and flushes."""
    for frame in frames:
        match frame:
            case Open():
                writer.open(frame)
            case Live():
                writer.live(frame)
            case Pair():
                writer.pair(frame)
            case Tick():
                writer.tick(frame)
    writer.flush()


def a_writer(
    root: Path, clock: TestClock | None = None, *, segment_bytes: int = 1 << 26, spool: int = 1 << 30
) -> JournalWriter:
    """A journal that rotates by size only."""
    rotation = Rotation(segment_bytes=segment_bytes, segment_s=1e9)
    return JournalWriter.create(root, clock=clock or TestClock(), spool_max_bytes=spool, rotation=rotation)


def the_journal(root: Path) -> JournalDir:
    """The only journal there."""
    (journal,) = journals(root)
    return journal


def read_all(
    journal: JournalDir, offset: Offset | None = None, *, max_frames: int = 4_096
) -> tuple[list[Frame], list[PoisonFrame], bool]:
    """Everything from `offset` on: frames, damage, and whether the journal is finished."""
    frames: list[Frame] = []
    bad: list[PoisonFrame] = []
    at = offset or Offset()
    while True:
        batch = journal.read(at, max_frames=max_frames)
        frames += batch.frames
        bad += batch.bad
        if batch.finished or batch.next_offset == at:
            return frames, bad, batch.finished
        at = batch.next_offset


def _write_for_ever(root: Path, answered: Path) -> None:
    """Writes exchanges as a worker would, and notes the id of each answer that a client has whole: for tests that kill it."""
    writer = JournalWriter.create(root, rotation=Rotation(segment_bytes=40_000))
    under_way: list[Live] = []
    with answered.open("ab", buffering=0) as notes:
        for turn in itertools.count():
            exchange_id = secrets.token_bytes(16)
            start_at_us = writer.now_us()
            writer.open(an_open(exchange_id, start_at_us=start_at_us))
            live = a_live(exchange_id, start_at_us=start_at_us, side=a_side(body=b"x" * 100), mirror="v2" if turn % 3 else "")
            writer.live(live)
            writer.flush()
            notes.write(exchange_id)
            if live.mirror:
                under_way.append(live)
            if len(under_way) > 5:
                writer.pair(a_pair(under_way.pop(0)))
            if turn % 100 == 0:
                writer.tick(Tick(at_us=writer.now_us(), snapshot_revision=1))
            time.sleep(0.002)


if __name__ == "__main__":
    _write_for_ever(Path(sys.argv[1]), Path(sys.argv[2]))
