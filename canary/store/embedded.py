"""The embedded Postgres: one server per state folder, shared by all processes that use it; the last one stops it."""

import asyncio
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from canary.errors import StoreAway, StoreError
from canary.store.binaries import Binaries, find_binaries, made_reachable
from canary.store.cluster import (
    ROLE,
    Account,
    account_for,
    clear_socket,
    data_argument,
    disown_pid_file,
    make_cluster,
    read_pid_file,
    serves,
    socket_folder,
    spawn_options,
    write_access,
)

DATABASE: Final = "canary"
_READY_S: Final = 120.0  # a crash with the whole of max_wal_size to replay takes seconds on slow disks
_STOP_S: Final = 15.0
_POLL_S: Final = 0.05
_RETRY_S: Final = 0.2  # backends of a killed server need a moment to notice
_LOG_BYTES: Final = 8 * 1024 * 1024
_OLD_BACKENDS: Final = "pre-existing shared memory block"

SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "max_connections": "50",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",  # with it the data folder's size is bounded
    "min_wal_size": "80MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum_max_workers": "2",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "idle_in_transaction_session_timeout": "60s",
    "unix_socket_permissions": "0700",
    "log_min_messages": "log",  # what clients did wrong is told to them: it may quote personal data, which no log may hold
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}

_left_to_others: Final[list[subprocess.Popen[bytes]]] = []  # started by us, not ours any more: reaped when they end


class EmbeddedPostgres:
    """Starts, finds, watches and stops the server of a state folder. Blocking: in a loop use the async form or a thread."""

    def __init__(self, state_dir: Path, *, settings: Mapping[str, str] | None = None, binaries: Binaries | None = None) -> None:
        self._state = Path(state_dir).absolute()
        self._settings = dict(settings or {})
        self._binaries = binaries
        self._use: int | None = None  # the shared lock's descriptor while we use the server
        self._process: subprocess.Popen[bytes] | None = None  # where we are the one that started it
        self._folder = Path()  # of the socket

    @property
    def url(self) -> str:
        """Of the product's database; only after `start`."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """Of another database of this server."""
        return f"postgresql://{ROLE}@/{database}?host={quote(str(self._folder), safe='')}"

    @property
    def log_path(self) -> Path:
        """Where the server writes what goes wrong."""
        return self._state / f"{self._name}.log"

    def start(self) -> str:
        """Starts the server or joins a running one; returns the URL. Raises StoreError with a hint where it cannot."""
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._starting():
            if self._use is None:
                self._use = _opened(self._state / f"{self._name}.lock")
                fcntl.flock(self._use, fcntl.LOCK_SH)
            try:
                self._up()
                self._make_database()
            except BaseException:
                self._end_use()
                raise
        return self.url

    def ensure(self) -> str:
        """Starts the server again if it died; cheap where it did not."""
        if not self.running():
            self.start()
        return self.url

    def running(self) -> bool:
        """True where a server of this folder lives and takes connections."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None  # reaped
        _left_to_others[:] = [process for process in _left_to_others if process.poll() is None]
        found = read_pid_file(self._data)
        return found is not None and found.ready and serves(found.pid, self._data)

    def stop(self) -> None:
        """Ends our use; stops the server where nobody else uses it, also one whose starter died before we joined it."""
        if self._use is None and not any(self._state.glob("pg*/postmaster.pid")):
            return
        with self._starting():
            if self._use is None:
                self._use = _opened(self._state / f"{self._name}.lock")
            self._end_use()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)

    @property
    def binaries(self) -> Binaries:
        """The installation in use."""
        if self._binaries is None:
            self._binaries = find_binaries()
        return self._binaries

    @property
    def _name(self) -> str:
        return f"pg{self.binaries.major}"

    @property
    def _data(self) -> Path:
        return self._state / self._name

    def _end_use(self) -> None:
        """Gives up our share of the lock; whoever then could have it alone is the last, and stops the server."""
        assert self._use is not None
        try:
            fcntl.flock(self._use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # another process lives on it
        else:
            self._down()
        finally:
            os.close(self._use)
            self._use = None
            self._forget_process()

    def _forget_process(self) -> None:
        """Keeps its handle until it ends, so that it is reaped."""
        if self._process is not None:
            _left_to_others.append(self._process)
            self._process = None

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """Only one process at a time starts or stops the server."""
        handle = _opened(self._state / f"{self._name}.start.lock")
        try:
            deadline = time.monotonic() + _READY_S + _STOP_S
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise StoreAway(f"another process has been starting Postgres in {self._state} for too long") from None
                    time.sleep(_POLL_S)
            yield
        finally:
            os.close(handle)

    def _up(self) -> None:
        account = account_for(self._data)
        if not self._data.exists():
            make_cluster(
                made_reachable(self.binaries, account.uid, account.gid),
                account,
                self._data,
                durable=self._settings.get("fsync") != "off",
            )
        found = read_pid_file(self._data)
        if found is not None and serves(found.pid, self._data):
            self._await_ready(found.pid, None)
            self._folder = found.socket_folder
            return
        if found is not None:
            disown_pid_file(self._data)
        self._folder = socket_folder(self._data, account)
        clear_socket(self._folder)
        write_access(account, self._data)
        self._launch(account)

    def _launch(self, account: Account) -> None:
        self._forget_process()
        deadline = time.monotonic() + _READY_S
        command = self._command(account)
        while True:
            with _opened_log(self.log_path) as log:
                begin = log.tell()
                try:
                    self._process = subprocess.Popen(  # noqa: S603 - our own program
                        command, stdout=log, stderr=log, start_new_session=True, **spawn_options(account, self._data)
                    )
                except OSError as error:
                    raise StoreError(
                        f"cannot start {command[0]} as {account.name}: {error}", hint="Set DATABASE_URL."
                    ) from error
            if self._await_ready(self._process.pid, self._process):
                return
            said = _said(self.log_path, begin)
            self._process = None
            if _OLD_BACKENDS not in said or time.monotonic() > deadline:
                raise StoreError(f"Postgres did not start: {_reason(said)}", hint=f"Its log is {self.log_path}.")
            time.sleep(_RETRY_S)

    def _command(self, account: Account) -> list[str]:
        binaries = made_reachable(self.binaries, account.uid, account.gid)
        settings = {**SETTINGS, "unix_socket_directories": str(self._folder)}
        if binaries.major >= 18:
            settings["io_method"] = "sync"  # no processes that only wait: this server is small
        settings |= self._settings
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(binaries.folder / "postgres"), "-D", data_argument(binaries, account, self._data), *options]

    def _await_ready(self, pid: int, process: subprocess.Popen[bytes] | None) -> bool:
        """True once the server says in its pid file that it takes connections; False where it ended first."""
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            found = read_pid_file(self._data)
            if found is not None and found.pid == pid and found.ready:
                return True
            ended = process.poll() is not None if process is not None else not serves(pid, self._data)
            if ended:
                return False
            time.sleep(_POLL_S)
        raise StoreAway(f"Postgres in {self._data} is not ready after {_READY_S:.0f} s", hint=f"Its log is {self.log_path}.")

    def _make_database(self) -> None:
        try:
            with psycopg.connect(self.url_of("postgres"), autocommit=True, connect_timeout=10) as connection:
                known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
                if known is None:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        except psycopg.Error as error:
            raise StoreAway(f"the embedded Postgres does not answer: {error}", hint=f"Its log is {self.log_path}.") from error

    def _down(self) -> None:
        """A fast stop: clients are cut off, everything is written; after a while without that, an immediate one."""
        pid = self._pid()
        if pid is not None:
            for order in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                try:
                    os.kill(pid, order)
                except ProcessLookupError:
                    break
                if self._gone(pid):
                    break
        if self._folder != Path():
            clear_socket(self._folder)
            try:
                self._folder.rmdir()
            except OSError:
                pass  # already gone, or something else is in it

    def _pid(self) -> int | None:
        """The server's: as its pid file says, or of the one that we started a moment ago and that has not yet written it."""
        found = read_pid_file(self._data)
        if found is not None and serves(found.pid, self._data):
            return found.pid
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def _gone(self, pid: int) -> bool:
        deadline = time.monotonic() + _STOP_S
        while time.monotonic() < deadline:
            if self._process is not None and self._process.pid == pid:
                if self._process.poll() is not None:
                    self._process = None
                    return True
            elif not serves(pid, self._data):
                return True
            time.sleep(_POLL_S)
        return False


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _opened_log(path: Path) -> BinaryIO:
    """For appending; started anew past its bound."""
    too_long = path.exists() and path.stat().st_size > _LOG_BYTES
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if too_long else 0)
    return os.fdopen(os.open(path, flags, 0o600), "ab")


def _said(path: Path, begin: int) -> str:
    with path.open("rb") as file:
        file.seek(begin)
        return file.read(65_536).decode(errors="replace")


def _reason(said: str) -> str:
    lines = [line for line in said.splitlines() if "FATAL" in line or "ERROR" in line or "PANIC" in line]
    return (lines or said.strip().splitlines() or ["it said nothing"])[-1]
