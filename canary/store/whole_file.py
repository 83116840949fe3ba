"""Small files that are replaced whole: a reader sees the old one or the new one, never a part."""

import os
import secrets
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Writes `data` beside `path` (0600), syncs it, renames it over `path`, syncs the folder. Raises OSError."""
    hidden = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        hidden.replace(path)
    except OSError:
        hidden.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
