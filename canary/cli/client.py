"""The command line's side of the admin API: plain HTTP from the standard library, problems become errors."""

import http.client
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import click

from canary.errors import CanaryError

_DEFAULT: Final = "127.0.0.1:8081"
_TIMEOUT_S: Final = 15.0


def admin_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--admin`: where the API is."""
    return click.option(
        "--admin",
        metavar="URL",
        help="Address of the admin port. [default: CANARY_ADMIN, else the admin address in canary.yaml]",
    )(command)


class Admin:
    """One admin port."""

    def __init__(self, address: str | None = None) -> None:
        """Finds the address: as given, CANARY_ADMIN, canary.yaml, the default; raises CanaryError where it is none."""
        where = address or os.environ.get("CANARY_ADMIN") or ""
        self._token = os.environ.get("CANARY_ADMIN_TOKEN")
        if not where:
            where = self._from_file()
        try:
            parts = urlsplit(where if "//" in where else f"http://{where}")
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or parts.scheme not in {"http", "https"}:
            raise CanaryError(f"`{where}` is no address of an admin port", hint="for example --admin http://127.0.0.1:8081")
        if self._token and not (self._token.isascii() and self._token.isprintable()):
            raise CanaryError("the admin token holds what no header can", hint="use a token of ASCII letters and digits")
        self.address = f"{parts.scheme}://{parts.netloc}"
        self._secure, self._host, self._port = parts.scheme == "https", host, port

    def get(self, path: str, **query: Any) -> Any:
        """The decoded answer; raises CanaryError with the problem's text and hint."""
        asked = {k: v for k, v in query.items() if v not in (None, "", False)}
        return self._call("GET", path + (f"?{urlencode(asked)}" if asked else ""), None)

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """As `get`, for orders."""
        return self._call("POST", path, {k: v for k, v in (body or {}).items() if v is not None})

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=_TIMEOUT_S)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self._headers())
            answer = connection.getresponse()
            return _read(answer.status, answer.read(), self.address)
        except ConnectionRefusedError:
            raise CanaryError(
                f"nobody listens on {self.address}", hint="start `canary serve`, or say where it runs: --admin or CANARY_ADMIN"
            ) from None
        except (OSError, http.client.HTTPException, TimeoutError) as error:
            raise CanaryError(f"{self.address} does not answer as an admin port: {error or type(error).__name__}") from None
        finally:
            connection.close()

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "X-Canary-Actor": _whoami()}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def _from_file(self) -> str:
        path = Path(os.environ.get("CANARY_CONFIG", "canary.yaml"))
        if not path.is_file():
            return _DEFAULT
        from canary.app.home import read_home

        home = read_home(path, env=os.environ)
        self._token = self._token or home.token(os.environ)
        host, _, port = home.file.local.admin_listen.rpartition(":")
        return f"127.0.0.1:{port}" if host in {"0.0.0.0", "[::]"} else f"{host}:{port}"  # noqa: S104 - compared, not bound


def rollout_id(admin: Admin, name: str) -> str:
    """The rollout that a person means: by id, or the newest of a route; raises CanaryError."""
    found = admin.get("/api/v1/rollouts", limit=1000)["rollouts"]
    exact = [r for r in found if r["id"] == name]
    mine = (
        exact or [r for r in found if r["route"] == name] or [r for r in found if len(name) >= 6 and r["id"].startswith(name)]
    )
    if not mine:
        known = ", ".join(dict.fromkeys(r["route"] for r in found)) or "none yet"
        raise CanaryError(f"no rollout `{name}`", hint=f"routes with rollouts: {known}; `canary rollout list` shows all")
    return str(mine[0]["id"])


def path_of(rollout: str, order: str = "") -> str:
    """The path of a rollout, or of an order to it."""
    return f"/api/v1/rollouts/{quote(rollout, safe='')}" + (f"/{order}" if order else "")


def _read(status: int, raw: bytes, address: str) -> Any:
    try:
        found = json.loads(raw)
    except ValueError:
        raise CanaryError(f"{address} does not answer as an admin port (status {status}, no JSON)") from None
    if status < 400:
        return found
    if not isinstance(found, dict):
        raise CanaryError(f"{address} answered {status}")
    mistakes = found.get("errors") or []
    text = "\n".join(mistakes) if len(mistakes) > 1 else str(found.get("detail") or found.get("title") or status)
    hint = str(found.get("hint") or "")
    if status == 401:
        hint = "set CANARY_ADMIN_TOKEN to the token of the admin port"
    raise CanaryError(text, hint=hint)


def _whoami() -> str:
    import getpass

    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = "unknown"
    return f"{name}@{socket.gethostname()}".encode("ascii", "replace").decode()
