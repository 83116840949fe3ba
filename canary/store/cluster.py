"""A data folder of Postgres on this machine: who owns it, how it is made, and what its pid file says."""

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from canary.errors import StoreError
from canary.store.binaries import Binaries, reachable_by

ROLE: Final = "canary"
_ACCOUNTS: Final = ("canary", "postgres", "nobody")  # first that exists; only where we run as root, which Postgres refuses
_SOCKET_LIMIT: Final = 107  # bytes that the kernel takes for a socket's path
_SOCKET_NAME: Final = ".s.PGSQL.5432"
_NO_PROCESS: Final = 2**22 + 1  # above the kernel's largest pid
_OWN_CWD: Final = "/proc/self/cwd"
_STAYS_IN_PLACE: Final = 16
_HAS_PROC: Final = Path(_OWN_CWD).exists()


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who runs the server."""

    name: str
    uid: int
    gid: int

    @property
    def dropped(self) -> bool:
        """True where that is not the present user."""
        return self.uid != os.geteuid()


def account_for(data: Path) -> Account:
    """The owner of an existing data folder, else the present user, else (as root) an unprivileged account."""
    owner = data.stat().st_uid if data.exists() else os.geteuid()
    if owner != 0:
        if os.geteuid() not in {0, owner}:
            raise StoreError(
                f"{data} belongs to user {owner}; this is user {os.geteuid()}",
                hint="Run as its owner, or use another state_dir.",
            )
        return _account(owner)
    for name in _ACCOUNTS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name=name, uid=found.pw_uid, gid=found.pw_gid)
    raise StoreError(
        f"Postgres does not run as root and none of the accounts {', '.join(_ACCOUNTS)} exists",
        hint="Run as a normal user, or set DATABASE_URL.",
    )


def _account(uid: int) -> Account:
    try:
        found = pwd.getpwuid(uid)
    except KeyError:
        raise StoreError(
            f"user {uid} has no name in the system's user database, which Postgres asks for",
            hint="Add an entry to /etc/passwd, or set DATABASE_URL.",
        ) from None
    return Account(name=found.pw_name, uid=uid, gid=found.pw_gid)


def spawn_options(account: Account, data: Path) -> dict[str, Any]:
    """Options of Popen that run a program as the account, in the data folder, with none of our environment."""
    options: dict[str, Any] = {
        "cwd": data,
        "stdin": subprocess.DEVNULL,
        "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **_kept("LD_LIBRARY_PATH")},
        "umask": 0o077,
    }
    if account.dropped:
        options |= {"user": account.uid, "group": account.gid, "extra_groups": []}
    return options


def _kept(name: str) -> dict[str, str]:
    return {name: os.environ[name]} if name in os.environ else {}


def data_argument(binaries: Binaries, account: Account, data: Path) -> str:
    """How the server is told its folder.

    A dropped account often may not pass through the folders above (a home, a private temporary folder), and opening those up
    would be wrong; the kernel's link to the working directory needs no way through them. Programs before 16 walk about to
    find themselves, cannot come back to such a folder, and would take another one for theirs: they need the plain path.
    """
    if not account.dropped or reachable_by(data.parent, account.uid, account.gid):
        return str(data)
    if _HAS_PROC and binaries.major >= _STAYS_IN_PLACE:
        return _OWN_CWD
    raise StoreError(
        f"user {account.name}, who runs Postgres here because root may not, cannot pass to {data}",
        hint="Choose a state_dir that others may enter, run as a normal user, or set DATABASE_URL.",
    )


def make_cluster(binaries: Binaries, account: Account, data: Path, *, durable: bool = True) -> None:
    """Makes the data folder whole or not at all: an interrupted attempt leaves a staging folder that the next one clears."""
    staging = data.with_name(f"{data.name}.new")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(mode=0o700)
    if account.dropped:
        os.chown(staging, account.uid, account.gid)
    command = [
        *(
            str(binaries.folder / "initdb"),
            "-D",
            data_argument(binaries, account, staging),
            "-U",
            ROLE,
            "--encoding=UTF8",
            "--no-locale",
        ),
        *("--auth-local=peer", "--auth-host=reject", "--data-checksums", "--no-instructions", "--no-sync"),
    ]
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command, capture_output=True, text=True, timeout=120, check=False, **spawn_options(account, staging)
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise StoreError(
            f"cannot run initdb as {account.name}: {error}", hint="Run as a normal user, or set DATABASE_URL."
        ) from error
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise StoreError(f"initdb failed in {staging}: {said}", hint="Is the disk full? DATABASE_URL uses a server elsewhere.")
    if durable:
        os.sync()  # initdb's own sync waits for each of a thousand files: 0.4 s becomes seconds on slow disks
    staging.rename(data)


def write_access(account: Account, data: Path) -> None:
    """Lets in the present user, the server's own and root, by the kernel's word for who is at the socket; nobody else."""
    names = sorted({account.name, _account(os.geteuid()).name, _account(0).name})
    _replace(data / "pg_hba.conf", f"local all {ROLE} peer map={ROLE}\n", account)
    _replace(data / "pg_ident.conf", "".join(f"{ROLE} {name} {ROLE}\n" for name in names), account)


def _replace(path: Path, text: str, account: Account) -> None:
    """Writes a new file in the server's folder without following anything that its account may have put there."""
    if path.is_file() and not path.is_symlink() and path.read_text() == text:
        return
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        os.fchown(file.fileno(), account.uid, account.gid)


def socket_folder(data: Path, account: Account) -> Path:
    """A short folder of the server's own account, the same for every process that asks about this data folder."""
    mark = blake2b(str(data.resolve()).encode(), digest_size=6).hexdigest()
    for parent in (Path("/tmp"), Path(tempfile.gettempdir())):  # noqa: S108 - owner and mode are checked below
        folder = parent / f"canary-{account.uid}-{mark}"
        if len(os.fsencode(folder / _SOCKET_NAME)) > _SOCKET_LIMIT or not os.access(parent, os.W_OK):
            continue
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            pass
        else:
            os.chown(folder, account.uid, account.gid)
        seen = folder.lstat()
        if seen.st_uid == account.uid and seen.st_mode & 0o170077 == 0o040000:
            return folder
    raise StoreError(
        f"no place for the socket of {data}: a folder of user {account.uid} alone, with a path under {_SOCKET_LIMIT} bytes",
        hint="Look at /tmp: is it writable, and does somebody else own a canary-* folder there?",
    )


def clear_socket(folder: Path) -> None:
    """Takes away what a killed server left, once it is sure that none runs: its lock names a pid that may be anyone's now."""
    for name in (_SOCKET_NAME, f"{_SOCKET_NAME}.lock"):
        (folder / name).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class PidFile:
    """What a server wrote about itself."""

    pid: int
    socket_folder: Path
    ready: bool


def read_pid_file(data: Path) -> PidFile | None:
    """The pid file, or None where there is none or it is half written."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        folder = Path(lines[4]) if len(lines) > 4 else Path()
        return PidFile(pid=abs(int(lines[0])), socket_folder=folder, ready=len(lines) > 7 and lines[7].startswith("ready"))
    except (OSError, ValueError, IndexError):
        return None


def serves(pid: int, data: Path) -> bool:
    """True where that process is a live Postgres of this data folder, not somebody who got its number."""
    if _HAS_PROC:
        try:
            return Path(f"/proc/{pid}/cwd").samefile(data)
        except OSError:
            return False
    command = ["ps", "-o", "command=", "-p", str(pid)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed program and a number
    return "postgres" in said.stdout


def disown_pid_file(data: Path) -> None:
    """Puts an impossible pid into a stale pid file.

    Removed, it would take the key of the shared memory with it, by which a new server sees that old backends still run.
    """
    path = data / "postmaster.pid"
    try:
        with path.open("r+") as file:
            rest = file.read().partition("\n")[2]
            file.seek(0)
            file.write(f"{_NO_PROCESS}\n{rest}")
            file.truncate()
    except FileNotFoundError:
        return
