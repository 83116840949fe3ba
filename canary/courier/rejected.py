"""Frames that could not be recorded, as files for people: one file a frame, named by journal and offset."""

from pathlib import Path

import structlog

from canary.store.spool import Offset

_log = structlog.get_logger("canary.courier")


class Rejected:
    """The folder of frames set aside."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, journal: str, offset: Offset, *, raw: bytes, reason: str) -> None:
        """Writes one frame; doing it again after a crash replaces the same file. A full disk loses the bytes, not the count."""
        name = f"{journal}-{offset.segment:06d}-{offset.byte:012d}.frame"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._folder / name
            path.touch(mode=0o600)
            path.write_bytes(raw)
        except OSError as error:
            _log.error("a rejected frame could not be kept", file=name, error=str(error))
        _log.warning("frame set aside", file=name, reason=reason, frame_bytes=len(raw))
