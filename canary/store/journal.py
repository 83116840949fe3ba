"""The writing side of the journal: one folder of rotating segment files per worker, never in the client's way.

Nothing here raises to the request path: what cannot be written is kept up to a bound, then dropped and counted. There is no
fsync: the journal survives processes, not power.
"""

import fcntl
import os
import secrets
import time
import zlib
from pathlib import Path
from typing import Final, Protocol

from msgspec.structs import replace

from canary.errors import JournalError
from canary.store.frames import Frame, FrameKind, Live, Open, Pair, Rotation, Tick
from canary.store.framing import FRAME_FORMAT, HEADER, MARK, frame_bytes, payload_of, segment_header

SLOW_WRITE_NS: Final = 20_000_000
BODIES_OFF_NS: Final = 10_000_000_000  # after a slow write bodies are left out for this long
BUFFERED_BYTES: Final = 262_144  # more than this is written without waiting for the turn's flush
KEPT_BYTES: Final = 8_388_608  # kept while the disk refuses; frames past it are dropped
RETRY_NS: Final = 100_000_000  # between attempts while the disk refuses
LOCK_NAME: Final = "lock"
HIDDEN: Final = ".new-"
_pack: Final = HEADER.pack
_crc32: Final = zlib.crc32
_LIVE: Final = int(FrameKind.LIVE)
_PAIR: Final = int(FrameKind.PAIR)


class JournalClock(Protocol):
    """Wall and monotonic nanoseconds."""

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds that never jump."""
        ...


class SystemClock:
    """The machine's own clocks."""

    wall_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)


class JournalWriter:
    """One worker's journal. Frames are buffered in order; `flush()` puts them into the file with one write."""

    def __init__(self, root: Path, *, clock: JournalClock, spool_max_bytes: int, rotation: Rotation) -> None:
        """Use `create`."""
        self.journal_id = secrets.token_hex(16)
        self.accepts_bodies = True
        self.dropped = 0
        self.spool_bytes = 0  # of all journals here, as of the last tick, and what was written since
        self._root = root
        self._monotonic_ns = clock.monotonic_ns
        self._base_us = clock.wall_ns() // 1000 - clock.monotonic_ns() // 1000
        self._max_bytes = spool_max_bytes
        self._reserve_bytes = min(spool_max_bytes // 16, 67_108_864)  # only for ends of what is already recorded
        self._rotation = rotation
        self._segment_bytes = rotation.segment_bytes
        self._half_bytes = spool_max_bytes // 2
        self._buffer = bytearray()
        self._opens: dict[bytes, Open] = {}
        self._waiting: dict[bytes, Live] = {}  # lives whose pair is still to come
        self._bodies_off_until_ns = 0
        self._retry_at_ns = 0
        self._refuses_new = False  # at the bound: nothing new is recorded
        self._refuses_all = False  # past the reserve too
        self._lock_fd = -1
        self._fd = -1
        self._number = -1
        self._size = 0
        self._segment_since_ns = 0

    @classmethod
    def create(
        cls,
        root: Path,
        *,
        clock: JournalClock | None = None,
        spool_max_bytes: int = 2_147_483_648,
        rotation: Rotation | None = None,
    ) -> "JournalWriter":
        """Makes the folder under a hidden name, locks it, writes segment 0, then renames it.

        Where the disk refuses, the writer comes back all the same and tries again with each tick.
        """
        writer = cls(root, clock=clock or SystemClock(), spool_max_bytes=spool_max_bytes, rotation=rotation or Rotation())
        writer._begin()
        return writer

    def now_us(self) -> int:
        """The journal's clock: wall microseconds at the start, moved on by the monotonic clock."""
        return self._base_us + self._monotonic_ns() // 1000

    def open(self, frame: Open) -> None:
        """Buffers an assignment; it is written with the next live frame, flush or tick."""
        if self._refuses_new or len(self._buffer) > KEPT_BYTES:
            self.dropped += 1
            return
        self._opens[frame.exchange_id] = frame
        payload = payload_of(frame)
        self._buffer += _pack(MARK, FRAME_FORMAT, 1, len(payload), _crc32(payload, 1))
        self._buffer += payload

    def live(self, frame: Live) -> None:
        """Buffers an ended answer behind its open frame; call `flush` before the client's last bytes are handed over."""
        exchange_id = frame.exchange_id
        if self._refuses_new and (self._refuses_all or exchange_id not in self._opens):
            self._opens.pop(exchange_id, None)
            self.dropped += 1
            return
        if not self.accepts_bodies:
            frame = without_bodies(frame)
        # what is in flight changes after the frame is appended: a rotation in between must still carry its open frame
        try:
            if self._append(_LIVE, payload_of(frame)) and frame.mirror:
                self._waiting[exchange_id] = frame
        finally:  # an answer that cannot be encoded is over all the same: carried along it would stay for ever
            self._opens.pop(exchange_id, None)

    def pair(self, frame: Pair) -> None:
        """Buffers a pair behind its live frame; one whose live frame was dropped is dropped too."""
        exchange_id = frame.live.exchange_id
        if self._refuses_all or exchange_id not in self._waiting:
            self._waiting.pop(exchange_id, None)
            self.dropped += 1
            return
        if not self.accepts_bodies:
            frame = Pair(live=without_bodies(frame.live), shadow=replace(frame.shadow, body=b"", tail=b""))
        try:
            self._append(_PAIR, payload_of(frame))
        finally:
            self._waiting.pop(exchange_id, None)

    def tick(self, frame: Tick) -> None:
        """Writes a tick and keeps house: bounds, rotation, a folder that could not be made before. Once a second."""
        self._append(FrameKind.TICK, payload_of(frame))
        if self._fd < 0:
            self._begin()
        self.flush()
        self._measure()
        now_ns = self._monotonic_ns()
        if self._size and now_ns - self._segment_since_ns > self._rotation.segment_s * 1e9:
            self._rotate()

    def flush(self) -> None:
        """Writes what is buffered with one write(2), rotating where the segment is full."""
        buffer, size, now_ns = self._buffer, self._size, self._monotonic_ns
        if not buffer or self._fd < 0:
            return
        start_ns = now_ns()
        if start_ns < self._retry_at_ns:
            return
        try:
            written = os.pwrite(self._fd, buffer, size)
        except OSError:
            self._retry_at_ns = start_ns + RETRY_NS
            return
        if written == len(buffer):
            buffer.clear()
        else:  # a reader waits for the torn frame's rest
            del buffer[:written]
            self._retry_at_ns = start_ns + RETRY_NS
        self._size = size = size + written
        self.spool_bytes += written
        if now_ns() - start_ns > SLOW_WRITE_NS:
            self._bodies_off_until_ns = start_ns + BODIES_OFF_NS
            self.accepts_bodies = False
        if size >= self._segment_bytes or self.spool_bytes > self._half_bytes:
            self._bound()
            if size >= self._segment_bytes:
                self._rotate()

    def close(self) -> None:
        """Writes the rest and lets the lock go: readers see a dead journal from now on."""
        self.flush()
        for fd in (self._fd, self._lock_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock_fd = -1

    def _append(self, kind: int, payload: bytes) -> bool:
        buffer = self._buffer
        if len(buffer) + len(payload) > BUFFERED_BYTES:
            self.flush()
            if len(buffer) > KEPT_BYTES:
                self.dropped += 1
                return False
        buffer += _pack(MARK, FRAME_FORMAT, kind, len(payload), _crc32(payload, kind))
        buffer += payload
        return True

    def _begin(self) -> None:
        """Makes folder, lock and segment 0; leaves everything as it was where the disk refuses."""
        if self._fd >= 0:
            return
        hidden = self._root / f"{HIDDEN}{self.journal_id}"
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            hidden.mkdir(mode=0o700, exist_ok=True)
            if self._lock_fd < 0:
                self._lock_fd = os.open(hidden / LOCK_NAME, os.O_CREAT | os.O_RDWR, 0o600)
                fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._open_segment(hidden, 0, carried=b"")
            hidden.rename(self._root / self.journal_id)
        except OSError:
            self._abandon_segment()

    def _abandon_segment(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size, self._number = -1, 0, -1

    def _open_segment(self, folder: Path, number: int, *, carried: bytes) -> None:
        """Writes a segment's beginning under a hidden name, renames it, and writes there from now on; raises OSError."""
        hidden, path = folder / f".{number:06d}.seg", folder / f"{number:06d}.seg"
        head = segment_header(number) + carried
        fd = os.open(hidden, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        try:
            if os.pwrite(fd, head, 0) != len(head):
                raise JournalError(f"{path}: the disk took only a part of the segment's beginning")
            hidden.rename(path)
        except (OSError, JournalError) as error:
            os.close(fd)
            hidden.unlink(missing_ok=True)
            raise OSError(str(error)) from error
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._number, self._size = fd, number, len(head)
        self._segment_since_ns = self._monotonic_ns()

    def _rotate(self) -> None:
        """Begins the next segment with copies of what is in flight, so that older ones can go; needs an empty buffer."""
        if self._buffer or self._fd < 0:
            return
        frames: list[Frame] = [replace(frame, carried=True) for frame in self._opens.values()]
        frames += [replace(without_bodies(frame), carried=True) for frame in self._waiting.values()]
        try:
            self._open_segment(self._root / self.journal_id, self._number + 1, carried=b"".join(map(frame_bytes, frames)))
        except OSError:
            # the old segment goes on; the next attempt comes with a later flush or tick
            self._segment_since_ns = self._monotonic_ns()

    def _measure(self) -> None:
        """Counts the bytes of all journals in the spool."""
        try:
            self.spool_bytes = spool_bytes(self._root)
        except OSError:
            pass  # the last figure, grown by what was written since, still bounds
        self._bound()

    def _bound(self) -> None:
        """Half of the spool is for frames without bodies, a last part for the ends of what has begun."""
        used, most = self.spool_bytes, self._max_bytes
        self._refuses_new = used > most - self._reserve_bytes
        self._refuses_all = used > most
        self.accepts_bodies = used <= most // 2 and self._monotonic_ns() >= self._bodies_off_until_ns


def without_bodies(frame: Live) -> Live:
    """The same frame with its bodies left out; sizes stay, so readers know that they were."""
    if not frame.request_body and not frame.side.body:
        return frame
    return replace(frame, request_body=b"", side=replace(frame.side, body=b"", tail=b""))


def spool_bytes(root: Path) -> int:
    """Bytes in all segments under `root`; files that vanish meanwhile count nothing."""
    total = 0
    with os.scandir(root) as journals:
        for journal in journals:
            if not journal.is_dir(follow_symlinks=False):
                continue
            try:
                with os.scandir(journal.path) as segments:
                    total += sum(segment.stat(follow_symlinks=False).st_size for segment in segments)
            except OSError:
                continue
    return total
