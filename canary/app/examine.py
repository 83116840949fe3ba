"""What `canary doctor` looks at: what is installed, reachable and misconfigured. Looks only, changes nothing."""

import asyncio
import importlib
import json
import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from canary import __version__
from canary.app.home import EMBEDDED, Home, read_home, secret
from canary.app.listeners import address_of, refuse_open_admin
from canary.errors import CanaryError
from canary.proxy.build import build
from canary.split.spec import SecretRef
from canary.store.overlay import read_overlay
from canary.store.snapshot import read_snapshot
from canary.terms import Frozen

_CONNECT_S: Final = 2.0
_FRAME_BYTES: Final = 1_024  # of one mirrored request without bodies, generously
_RATE: Final = 500  # requests a second that the estimate of the spool assumes


class Finding(Frozen, frozen=True, kw_only=True):
    """One thing that was looked at."""

    what: str
    state: Literal["ok", "warn", "fail"]
    found: str
    hint: str = ""


def examine(path: Path, *, env: Mapping[str, str], state_dir: Path | None = None) -> Iterator[Finding]:
    """Findings as they are made, from the interpreter outwards."""
    yield from _installed()
    try:
        home = read_home(path, env=env, state_dir=state_dir)
    except CanaryError as error:
        yield Finding(what="configuration", state="fail", found=str(error), hint=error.hint)
        return
    count = len(home.file.config.routes)
    yield Finding(what="configuration", state="ok", found=f"{path}: {count} route{'s' if count != 1 else ''}")
    yield from _secrets(home, env)
    yield from _ports(home, env)
    yield from _upstreams(home)
    yield from _state(home)
    yield _tried("postgres", lambda: _postgres(home, env))


def _installed() -> Iterator[Finding]:
    version = platform.python_version()
    yield Finding(
        what="python", state="ok" if sys.version_info >= (3, 11) else "fail", found=f"{version} on {platform.machine()}"
    )
    yield Finding(what="data plane", state="ok", found=f"canary {__version__}, {build()}")
    yield _tried("http parser", _parser)
    yield _tried("event loop", lambda: f"uvloop {importlib.import_module('uvloop').__version__}", missing="warn")


def _parser() -> str:
    """The parser must be the compiled llhttp: nothing else was tested against hostile requests."""
    module = importlib.import_module("httptools.parser.parser")
    origin = str(module.__file__)
    if not origin.endswith((".so", ".pyd", ".dylib")):
        raise CanaryError(f"httptools is not compiled here: {origin}", hint="install it from a wheel")
    return f"httptools {importlib.import_module('httptools').__version__}, compiled"


def _secrets(home: Home, env: Mapping[str, str]) -> Iterator[Finding]:
    refs = [("admin.token", home.file.local.admin_token), ("force_key", home.file.config.force_key)]
    for route in home.file.config.routes:
        refs += [(f"{route.name}.{v.name}: header {rule.name}", rule.secret) for v in route.versions for rule in v.headers]
    for what, ref in refs:
        if ref is not None:
            yield _tried("secret", partial(_known, ref, what, env=env, folder=home.folder))


def _known(ref: SecretRef, what: str, *, env: Mapping[str, str], folder: Path) -> str:
    secret(ref, env=env, folder=folder, what=what)
    return f"{what} is there"


def _ports(home: Home, env: Mapping[str, str]) -> Iterator[Finding]:
    local = home.file.local
    for what, listen in (("listen", local.listen), ("admin", local.admin_listen), ("sidecar", local.sidecar_listen)):
        if what != "listen":
            guarded = _tried(f"port {what}", partial(_closed, home, env, listen=listen, what=what))
            if guarded.state != "ok":
                yield guarded
                continue
        yield _tried(f"port {what}", partial(_port, listen, home), missing="warn")


def _closed(home: Home, env: Mapping[str, str], *, listen: str, what: str) -> str:
    refuse_open_admin(listen, token=home.token(env), what=what)
    return listen


def _port(listen: str, home: Home) -> str:
    host, port = address_of(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if _supervised(home):
                return f"{listen} is held by the canary that runs on {home.state_dir}"
            raise CanaryError(f"{listen}: {error.strerror or error}", hint="who holds it? `ss -ltnp`") from error
    return f"{listen} is free"


def _upstreams(home: Home) -> Iterator[Finding]:
    seen = {version.upstream for route in home.file.config.routes for version in route.versions}
    for upstream in sorted(seen):
        yield _tried("upstream", partial(_connects, upstream), missing="warn")


def _connects(upstream: str) -> str:
    parts = urlsplit(upstream)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=_CONNECT_S).close()
    except OSError as error:
        raise CanaryError(f"{upstream}: {error.strerror or error}", hint="requests to it would be answered 502") from error
    return f"{upstream} accepts connections"


def _state(home: Home) -> Iterator[Finding]:
    yield _tried("state folder", lambda: _writable(home.state_dir))
    yield _tried("spool", lambda: _spool(home))
    yield from _in_force(home)
    status = _supervised(home)
    if status.get("flapping"):
        yield Finding(what="processes", state="fail", found=f"restarted too often: {', '.join(status['flapping'])}")
    elif status:
        yield Finding(what="processes", state="ok", found=f"running: {', '.join(status['children'])}")


def _in_force(home: Home) -> Iterator[Finding]:
    """The files that workers here serve by, as far as there are any."""
    if home.snapshot.exists():
        yield _tried("plan", lambda: f"revision {read_snapshot(home.snapshot).revision}")
    try:
        orders = read_overlay(home.overlay).in_words
    except CanaryError as error:
        yield Finding(what="local orders", state="fail", found=str(error), hint="until it can be read all routes go to stable")
        return
    for said in orders:
        yield Finding(
            what="local order", state="warn", found=said, hint="taken back by POST /local/resume/ROUTE at the sidecar"
        )


def _supervised(home: Home) -> dict[str, list[str]]:
    """What the supervisor wrote, where one lives."""
    try:
        found: dict[str, list[str]] = json.loads(home.status.read_text())
        os.kill(int(str(found["pid"])), 0)
    except (OSError, ValueError, KeyError):
        return {}
    return found if found.get("children") else {}


def _writable(folder: Path) -> str:
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        raise CanaryError(f"{folder} cannot be written", hint="set state_dir in canary.yaml to a folder of this user")
    free = shutil.disk_usage(there).free
    return f"{folder}, {free / 2**30:.1f} GiB free"


def _spool(home: Home) -> str:
    journal = home.state_dir / "journal"
    used = sum(file.stat().st_size for file in journal.rglob("*.seg")) if journal.exists() else 0
    there = next(parent for parent in (home.state_dir, *home.state_dir.parents) if parent.exists())
    left = min(home.file.config.spool_max_bytes - used, shutil.disk_usage(there).free)
    minutes = max(left, 0) / (_RATE * _FRAME_BYTES * 60)
    text = f"{used / 2**20:.1f} MiB used; without Postgres it holds {minutes:.0f} min more of {_RATE} requests/s without bodies"
    if minutes < 10:
        raise CanaryError(text, hint="is the courier running, and does it reach Postgres?")
    return text


def _postgres(home: Home, env: Mapping[str, str]) -> str:
    url = home.database(env)
    if url == EMBEDDED:
        from canary.store.binaries import find_binaries

        found = find_binaries()
        return f"embedded, version {found.major}"
    from canary.store.database import Database, place_of
    from canary.store.migrate import current, newest

    async def reach() -> None:
        await (await Database.open(url, size=1)).close()

    asyncio.run(reach())
    tables = current(url)
    if tables != newest():
        raise CanaryError(f"{place_of(url)} has tables {tables or 'of nobody'}, wanted {newest()}", hint="`canary db upgrade`")
    return f"{place_of(url)} answers, tables {tables}"


def _tried(what: str, look: Callable[[], str], *, missing: Literal["warn", "fail"] = "fail") -> Finding:
    try:
        return Finding(what=what, state="ok", found=look())
    except CanaryError as error:
        return Finding(what=what, state=missing, found=str(error), hint=error.hint)
    except ImportError as error:
        return Finding(what=what, state=missing, found=f"not installed: {error.name}", hint="install canary-controller again")
