"""Frames that could not be recorded, as files for people: one file a frame, named by journal and offset, within bounds."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from canary.courier.tally import Tally
from canary.store.spool import Offset

MOST_FILES: Final = 1_000
MOST_BYTES: Final = 64 * 2**20
"""What people need to find a fault: one that rejects every frame must not fill the disk that the journal needs (0073)."""

DAYS: Final = 14
"""A frame may hold what a client sent, so it is kept no longer than a record; a route that keeps records shorter decides."""

_LOOK_S: Final = 10.0
_DAY_S: Final = 86_400.0

_log = structlog.get_logger("canary.courier")


class Rejected:
    """The folder of frames set aside. Where it is full the newest are refused: the first show how a fault began."""

    def __init__(
        self,
        folder: Path,
        tally: Tally,
        *,
        most_files: int = MOST_FILES,
        most_bytes: int = MOST_BYTES,
        now: Callable[[], float] = time.time,
    ) -> None:
        """What is kept already is counted; `now` is this machine's time in seconds since 1970, as its files have it."""
        self._folder = folder
        self._tally = tally
        self._most_files = most_files
        self._most_bytes = most_bytes
        self._now = now
        self._kept: dict[str, int] = {}
        self._looked_s = float("-inf")
        self._was_full = False
        self._look()

    def put(self, journal: str, offset: Offset, *, raw: bytes, reason: str) -> None:
        """Writes one frame; doing it again after a crash replaces the same file. What is not kept is counted, by why not."""
        name = f"{journal}-{offset.segment:06d}-{offset.byte:012d}.frame"
        full = self._full(name, len(raw))
        if full:
            self._unkept(full)
            if not self._was_full:
                _log.error("no more rejected frames are kept", folder=str(self._folder), bound=full, reason=reason)
            self._was_full = True
            return
        self._was_full = False
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._folder / name
            path.touch(mode=0o600)
            path.write_bytes(raw)
        except OSError as error:
            self._unkept("disk")
            _log.error("a rejected frame could not be kept", file=name, error=str(error))
        else:
            self._kept[name] = len(raw)
            self._count()
        _log.warning("frame set aside", file=name, reason=reason, frame_bytes=len(raw))

    def forget_old(self, days: int = DAYS) -> None:
        """Removes what was set aside more than so many days ago; people may remove anything at any time."""
        oldest_s = self._now() - days * _DAY_S
        for path in self._folder.glob("*.frame"):
            try:
                if path.stat().st_mtime < oldest_s:
                    path.unlink()
            except OSError as error:
                _log.warning("an old rejected frame could not be removed", file=path.name, error=str(error))
        self._look()

    def _full(self, name: str, size: int) -> str:
        """Which bound a frame would break; empty where none."""
        why = self._bound(name, size)
        if why and self._now() - self._looked_s >= _LOOK_S:
            self._look()  # somebody may have cleared the folder
            why = self._bound(name, size)
        return why

    def _bound(self, name: str, size: int) -> str:
        replaced = name in self._kept
        if len(self._kept) - replaced >= self._most_files:
            return "files"
        others = self._tally.aside_bytes - self._kept.get(name, 0)
        return "bytes" if others + size > self._most_bytes else ""

    def _unkept(self, why: str) -> None:
        self._tally.unkept[why] = self._tally.unkept.get(why, 0) + 1

    def _look(self) -> None:
        self._looked_s = self._now()
        found: dict[str, int] = {}
        for path in self._folder.glob("*.frame"):
            try:
                found[path.name] = path.stat().st_size
            except OSError:
                continue  # removed meanwhile
        self._kept = found
        self._count()

    def _count(self) -> None:
        self._tally.aside_files, self._tally.aside_bytes = len(self._kept), sum(self._kept.values())
