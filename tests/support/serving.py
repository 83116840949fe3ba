"""A whole `canary serve` in its own process, with upstreams, free ports and a state folder of its own."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from tests.support.deadline import wait_for


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


class Upstream:
    """A version that answers with its name; `slow_s` makes it wait, `begun` says that a request arrived."""

    def __init__(self, name: str) -> None:
        upstream = self
        self.slow_s = 0.0
        self.begun = threading.Event()
        self.release = threading.Event()
        self.hold = False

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                upstream.begun.set()
                if upstream.hold:
                    upstream.release.wait(30)
                body = name.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


START_S = 120.0  # a cold start is two seconds; the machine may have other work

CONFIG = """\
listen: 127.0.0.1:{data}
admin: {{listen: 127.0.0.1:{admin}}}
sidecar: {{listen: 127.0.0.1:{sidecar}}}
state_dir: state
routes:
  main:
    match: {{path_prefix: /}}
    versions:
      v1: {{upstream: "http://127.0.0.1:{v1}"}}
      v2: {{upstream: "http://127.0.0.1:{v2}"}}
    stable: {stable}
plans:
  quick:
    shadow: {{share: 0%}}
    min_profile: {min_profile}
    stages: [{{weight: 50%, dwell: 1h}}]
    watch: {{for: 0s}}
"""


class Serving:
    """`canary serve` as a person starts it, stopped at the end whatever happened."""

    def __init__(self, folder: Path, *, workers: int = 1, role: str = "serve", env: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.workers = workers
        self.role = role
        self.env = {**{k: v for k, v in os.environ.items() if k not in {"DATABASE_URL", "CANARY_DATABASE_URL"}}, **(env or {})}
        self.v1, self.v2 = Upstream("v1"), Upstream("v2")
        self.data, self.admin, self.sidecar = free_ports(3)
        self.file = folder / "canary.yaml"
        self.write_config()
        self.process: subprocess.Popen[bytes] | None = None
        self.said = ""
        self.log, self.told = folder / "log", folder / "told"

    def write_config(self, *, stable: str = "v1", min_profile: int = 100, text: str = CONFIG) -> None:
        ports = {"data": self.data, "admin": self.admin, "sidecar": self.sidecar, "v1": self.v1.port, "v2": self.v2.port}
        self.file.write_text(text.format(stable=stable, min_profile=min_profile, **ports))

    def launch(self, *words: str) -> "subprocess.Popen[bytes]":
        """The process alone, as soon as it lives; `words`: another command."""
        command = [sys.executable, "-m", "canary.cli", *(words or (self.role, "--workers", str(self.workers)))]
        with self.log.open("a") as log, self.told.open("w") as told:
            self.process = subprocess.Popen(
                [*command, "--config", str(self.file)], stdout=told, stderr=log, env=self.env, cwd=self.folder
            )
        return self.process

    def start(self) -> Self:
        self.launch()
        wait_for(lambda: "\n  state " in self._heard() or self._ended(), START_S, what="the word that it serves")
        self.said = self._heard()
        assert not self._ended(), self.log.read_text()
        return self

    def _heard(self) -> str:
        return self.told.read_text()

    def _ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(timeout=90)
        self.process = None
        return code

    def close(self) -> None:
        self.v1.release.set()
        self.v2.release.set()
        if self.process is not None and self.process.poll() is None:
            self.stop()
        self.v1.close()
        self.v2.close()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, path: str = "/", *, timeout: float = 20.0) -> tuple[int, str]:
        """One request on the data port, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.data, timeout=timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def api(self, method: str, path: str, body: dict[str, Any] | None = None, **headers: str) -> tuple[int, Any]:
        """One call on the admin port; the decoded JSON, or the text where it is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=20)
        try:
            sent = {"Content-Type": "application/json", **headers}
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            answer = connection.getresponse()
            raw = answer.read().decode()
            kind = answer.headers.get_content_type()
            return answer.status, json.loads(raw) if kind.endswith("json") else raw
        finally:
            connection.close()

    def children(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = json.loads((self.folder / "state" / "run" / "supervisor.json").read_text())[
            "children"
        ]
        return found

    def begin_rollout(self) -> str:
        """A rollout of v2 on main; its stable version has the profile that the plan wants."""
        status, found = self.api("POST", "/api/v1/rollouts", {"route": "main", "candidate": "v2", "reason": "test"})
        assert status == 201, found
        return str(found["id"])

    def wait_for_phase(self, rollout: str, phase: str, *, traffic: bool = True) -> dict[str, Any]:
        """Sends requests meanwhile, so that the profile fills."""

        def look() -> Any:
            if traffic:
                for _ in range(10):
                    self.ask()
            _, found = self.api("GET", f"/api/v1/rollouts/{rollout}")
            return found if found.get("phase") == phase else None

        return dict(wait_for(look, 60, what=f"phase {phase}"))
