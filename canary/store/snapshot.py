"""The one file the data plane reads: written whole, checksummed, replaced by an atomic rename."""

import hashlib
from pathlib import Path

import msgspec

from canary.errors import SnapshotError
from canary.split.spec import Answering, Limits, RouteSpec, SecretRef
from canary.store.whole_file import write_whole
from canary.terms import Frozen

FORMAT = 1


class Snapshot(Frozen, frozen=True, kw_only=True):
    """Everything that serving needs, from one revision of the plan."""

    revision: int  # of the plan in Postgres; 0 where the file alone speaks
    database_id: str
    made_at_us: int
    routes: tuple[RouteSpec, ...]
    limits: Limits = Limits()
    answering: Answering = Answering()
    force_key: SecretRef | None = None  # signs the header that forces an arm
    spool_max_bytes: int = 2_147_483_648
    format: int = FORMAT


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Replaces the file: one header line with format and checksum, then JSON. Raises SnapshotError."""
    body = msgspec.json.encode(snapshot)
    try:
        write_whole(path, _header(body) + body)
    except OSError as error:
        raise SnapshotError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_snapshot(path: Path) -> Snapshot:
    """The snapshot in `path`; raises SnapshotError where it is missing, damaged or of another format."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SnapshotError(f"{path}: cannot be read: {error.strerror or error}") from error
    first, _, body = data.partition(b"\n")
    words = first.split()
    if len(words) != 3 or words[0] != b"canary-snapshot":
        raise SnapshotError(f"{path}: is no snapshot: its first line reads {first[:60]!r}")
    if words[1] != str(FORMAT).encode():
        raise SnapshotError(f"{path}: has format {words[1].decode(errors='replace')}, this program reads {FORMAT}")
    if first + b"\n" != _header(body):
        raise SnapshotError(f"{path}: the checksum in its first line is not that of its content")
    try:
        return msgspec.json.decode(body, type=Snapshot)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SnapshotError(f"{path}: {error}") from error


def good_copy(path: Path) -> Path:
    """Where the last snapshot is kept that all workers had in force."""
    return path.with_name(f"{path.stem}.good{path.suffix}")


def keep_good(path: Path) -> None:
    """Copies the snapshot: a worker that starts and cannot read the newest one serves from there. Raises SnapshotError."""
    write_snapshot(good_copy(path), read_snapshot(path))


def _header(body: bytes) -> bytes:
    digest = hashlib.blake2b(body, digest_size=16, person=b"canary-snapshot").hexdigest()
    return f"canary-snapshot {FORMAT} {digest}\n".encode()
