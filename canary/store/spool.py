"""The reading side of the journal: torn tails, damage, rotation and dead writers are met here and nowhere else."""

import fcntl
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from canary.errors import JournalError
from canary.store.frames import Frame
from canary.store.framing import (
    DECODERS,
    FRAME_FORMAT,
    HEADER,
    HEADER_BYTES,
    MARK,
    SEGMENT_HEADER,
    SEGMENT_HEADER_BYTES,
    SEGMENT_MAGIC,
    next_frame,
    payload_length,
)
from canary.store.journal import HIDDEN, LOCK_NAME

READ_BYTES: Final = 4_194_304
MAX_FRAMES: Final = 4_096
SWEEP_AFTER_S: Final = 60.0
BYTE_BITS: Final = 40  # a segment holds less than a terabyte; 23 bits of segment numbers fit into an int64


class Offset(msgspec.Struct, frozen=True, order=True):
    """A place in a journal: everything before it is committed."""

    segment: int = 0
    byte: int = 0

    def to_int(self) -> int:
        """As stored in Postgres."""
        return self.segment << BYTE_BITS | self.byte

    @classmethod
    def of(cls, value: int) -> "Offset":
        """The offset that `to_int` made."""
        return cls(value >> BYTE_BITS, value & ((1 << BYTE_BITS) - 1))


class PoisonFrame(msgspec.Struct, frozen=True):
    """Bytes that are no sound frame."""

    offset: Offset
    raw: bytes
    reason: str


class Batch(msgspec.Struct):
    """What one read found. `ends[i]` is the place after `frames[i]`, as `Offset.to_int` makes it."""

    frames: list[Frame]
    ends: list[int]
    bad: list[PoisonFrame]
    next_offset: Offset
    finished: bool = False  # the writer is dead, and nothing is left to read
    more: bool = False  # a bound ended the read, not the journal's end


class JournalDir:
    """One worker's journal, read only."""

    def __init__(self, path: Path) -> None:
        """`path` is the journal's folder; its name is the journal's id."""
        self.path = path
        self.name = path.name

    def is_dead(self) -> bool:
        """True where nobody holds the journal's lock: its writer will never write again."""
        try:
            fd = os.open(self.path / LOCK_NAME, os.O_RDONLY)
        except OSError:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    def segments(self) -> list[int]:
        """Numbers of the segments that are there, ascending."""
        try:
            names = [path.name for path in self.path.iterdir()]
        except OSError:
            return []
        return sorted(int(name[:-4]) for name in names if name.endswith(".seg") and not name.startswith("."))

    def size(self) -> int:
        """Bytes in all segments."""
        total = 0
        for number in self.segments():
            try:
                total += self._segment(number).stat().st_size
            except OSError:
                continue
        return total

    def read(self, offset: Offset, *, max_frames: int = MAX_FRAMES, max_bytes: int = READ_BYTES) -> Batch:
        """Frames from `offset` on, of one segment; an empty batch where there is nothing new. Raises JournalError."""
        dead = self.is_dead()  # asked before the read: a dead writer's files do not grow
        later = [number for number in self.segments() if number >= offset.segment]  # asked before the read as well
        if not later:
            return Batch([], [], [], offset, finished=dead)
        if later[0] != offset.segment:  # released before: go on where something is left
            offset = Offset(later[0], 0)
        has_next = len(later) > 1
        batch = self._read_segment(offset, ended=dead or has_next, max_frames=max_frames, max_bytes=max_bytes)
        if has_next and batch.finished:
            batch.next_offset = Offset(later[1], 0)
            batch.finished, batch.more = False, True
        return batch

    def recall(self, offset: Offset) -> Iterator[Frame]:
        """The sound frames of `offset`'s segment that stand before it: what was in flight there, after a restart."""
        at, until = Offset(offset.segment, 0), offset.to_int()
        while at < offset:
            batch = self._read_segment(at, ended=True, max_frames=MAX_FRAMES, max_bytes=READ_BYTES)
            for frame, end in zip(batch.frames, batch.ends, strict=True):
                if end > until:
                    return
                yield frame
            if batch.next_offset == at:
                return
            at = batch.next_offset

    def release(self, offset: Offset) -> None:
        """Unlinks the segments wholly before `offset`."""
        for number in self.segments():
            if number < offset.segment:
                self._segment(number).unlink(missing_ok=True)

    def remove(self) -> None:
        """Unlinks a dead, wholly committed journal."""
        for path in [*self.path.iterdir()]:
            path.unlink(missing_ok=True)
        self.path.rmdir()

    def _segment(self, number: int) -> Path:
        return self.path / f"{number:06d}.seg"

    def _read_segment(self, offset: Offset, *, ended: bool, max_frames: int, max_bytes: int) -> Batch:
        """One segment's frames; `finished` says that it has ended and was read to its end."""
        path = self._segment(offset.segment)
        try:
            fd = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise JournalError(f"{path}: cannot be read: {error.strerror or error}") from error
        try:
            scan = _Scan(fd, offset, ended=ended)
            scan.run(max_frames, max_bytes)
        except OSError as error:
            raise JournalError(f"{path}: cannot be read: {error.strerror or error}") from error
        finally:
            os.close(fd)
        return scan.batch()


class _Scan:
    """One pass over a part of one segment."""

    def __init__(self, fd: int, offset: Offset, *, ended: bool) -> None:
        self.fd = fd
        self.segment = offset.segment
        self.start = offset.byte
        self.ended = ended
        self.frames: list[Frame] = []
        self.ends: list[int] = []
        self.bad: list[PoisonFrame] = []
        self.position = 0  # within the data read
        self.data = b""
        self.whole_read = False  # the data goes up to the end of the file
        self.bounded = False  # as many frames as were asked for

    def run(self, max_frames: int, max_bytes: int) -> None:
        self._fetch(max_bytes)
        if self.start == 0 and not self._skip_header():
            return
        while len(self.frames) < max_frames:
            self._sound_frames(max_frames)
            if len(self.frames) >= max_frames or not self._over_damage():
                break
        self.bounded = len(self.frames) >= max_frames

    def batch(self) -> Batch:
        at = self.start + self.position
        segment = self.segment
        finished = self.ended and self.whole_read and self.position >= len(self.data)
        more = not self.whole_read or self.bounded
        return Batch(self.frames, self.ends, self.bad, Offset(segment, at), finished=finished, more=more)

    def _fetch(self, max_bytes: int) -> None:
        size = os.fstat(self.fd).st_size
        # a read has a buffer as large as it asks for, found or not: megabytes for every look at a quiet journal
        data = os.pread(self.fd, min(max_bytes, max(size - self.start, 0)), self.start)
        if len(data) >= HEADER_BYTES:  # a frame larger than the usual read is read whole
            length = payload_length(data, 0)
            if length is not None and length + HEADER_BYTES > len(data):
                data = os.pread(self.fd, length + HEADER_BYTES, self.start)
        self.data = data
        self.whole_read = self.start + len(data) >= size

    def _skip_header(self) -> bool:
        """Past the segment's first bytes; False where they are not there yet. Damage is left to `_over_damage`."""
        if len(self.data) < SEGMENT_HEADER_BYTES:
            if self.ended:
                self.position = len(self.data)
            return False
        magic, number = SEGMENT_HEADER.unpack_from(self.data, 0)
        if magic == SEGMENT_MAGIC and number == self.segment:
            self.position = SEGMENT_HEADER_BYTES
        return True

    def _sound_frames(self, max_frames: int) -> None:
        """Reads frames until the data ends, the bound is reached, or one is not sound."""
        frames, ends, at = self.frames, self.ends, self.position
        base = Offset(self.segment, self.start).to_int()
        unpack, crc32, decoders = HEADER.unpack_from, zlib.crc32, DECODERS
        with memoryview(self.data) as data:
            most = len(data)
            last = most - HEADER_BYTES
            while at <= last and len(frames) < max_frames:
                mark, format_, kind, length, checksum = unpack(data, at)
                end = at + HEADER_BYTES + length
                if end > most or mark != MARK or format_ != FRAME_FORMAT:
                    break
                payload = data[at + HEADER_BYTES : end]
                if crc32(payload, kind) != checksum:
                    break
                try:
                    frames.append(decoders[kind].decode(payload))
                except (KeyError, msgspec.DecodeError):
                    break
                ends.append(base + end)
                at = end
        self.position = at

    def _over_damage(self) -> bool:
        """Past what is not sound at the present position; False where nothing more can be said now."""
        at, data = self.position, self.data
        rest = len(data) - at
        length = payload_length(data, at) if rest >= HEADER_BYTES else 0
        torn = rest < HEADER_BYTES or (length is not None and length + HEADER_BYTES > rest)
        if rest == 0 or (torn and not (self.ended and self.whole_read)):
            return False  # a live writer is still at it, or the next read begins here
        found = self._sound_after(at, 0 if torn else length)
        if found is not None:
            self._set_aside(at, found)
            return True
        if not self.whole_read:  # a window full of damage: half of it is given up, a frame may begin in the other
            if at == 0:
                self._set_aside(0, max(1, rest // 2))
            return False
        if torn:
            self.position = len(data)  # the tail that a killed writer left: cut
        elif self.ended:
            self._set_aside(at, len(data))
        return False

    def _sound_after(self, at: int, length: int | None) -> int | None:
        """Where reading can go on behind the damage at `at`: where its header says, or at the next sound frame.

        The header's word comes first: a recorded body could hold bytes that look like a frame.
        """
        if length:
            end = at + HEADER_BYTES + length
            behind = next_frame(self.data, end)
            if behind == end or (end == len(self.data) and self.ended):
                return end
        return next_frame(self.data, at + 1)

    def _set_aside(self, at: int, end: int) -> None:
        raw = self.data[at:end]
        reason = "no frame header"
        if len(raw) >= HEADER_BYTES and payload_length(raw, 0) is not None:
            kind, checksum = HEADER.unpack_from(raw, 0)[2], HEADER.unpack_from(raw, 0)[4]
            sound = zlib.crc32(raw[HEADER_BYTES:], kind) == checksum
            reason = "its content cannot be decoded" if sound else "its checksum does not hold"
        self.bad.append(PoisonFrame(Offset(self.segment, self.start + at), raw, reason))
        self.position = end


def journals(root: Path) -> list[JournalDir]:
    """All journals under `root`, by name; hidden ones are still being made."""
    try:
        return [JournalDir(path) for path in sorted(root.iterdir()) if not path.name.startswith(".") and path.is_dir()]
    except OSError:
        return []


def sweep(root: Path, *, now_s: float) -> None:
    """Removes folders that a writer began more than a minute ago and died before it named them."""
    for path in [*root.glob(f"{HIDDEN}*")]:
        journal = JournalDir(path)
        if now_s - path.stat().st_mtime > SWEEP_AFTER_S and journal.is_dead():
            journal.remove()
