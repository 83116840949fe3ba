"""TLS to the upstream: name and chain are verified, SNI is sent, a stranger is never spoken to."""

import ssl
import subprocess
from pathlib import Path

import pytest

from canary.split.spec import VersionSpec
from canary.store.frames import Live
from canary.terms import Ending
from tests.support.http_client import Client, ask
from tests.support.upstreams import OK, Upstream, answering
from tests.support.worker_process import WorkerProcess, a_route, a_snapshot, frames_of


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def _context(certificate: tuple[Path, Path], names: list[str | None]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.sni_callback = lambda _, name, __: names.append(name)
    return context


def _version(host: str, port: int, **more: object) -> VersionSpec:
    return VersionSpec(name="v1", hash="h", upstream=f"https://{host}:{port}", **more)  # type: ignore[arg-type]


def test_a_verified_upstream_is_spoken_to_by_name(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    names: list[str | None] = []
    with Upstream(answering(OK), tls=_context(certificate, names)) as upstream:
        version = _version("localhost", upstream.port, ca_file=str(certificate[0]))
        with WorkerProcess(tmp_path, a_snapshot(a_route(version))) as worker, Client(worker.port) as client:
            for _ in range(3):
                assert client.ask("GET").body == b"ok"
            body = b"x" * 300_000
            assert client.ask("POST", body=body).status == 200
            assert upstream.saw(4)[3].body == body
    assert names == ["localhost"]
    assert upstream.received[0].values(b"host") == [f"localhost:{upstream.port}".encode()]


@pytest.mark.parametrize("case", ["unknown chain", "other name"])
def test_a_stranger_is_refused(certificate: tuple[Path, Path], tmp_path: Path, case: str) -> None:
    with Upstream(answering(OK), tls=_context(certificate, [])) as upstream:
        if case == "unknown chain":
            version = _version("localhost", upstream.port)
        else:
            version = _version("127.0.0.1", upstream.port, ca_file=str(certificate[0]))
        with WorkerProcess(tmp_path, a_snapshot(a_route(version))) as worker:
            assert ask(worker.port).status == 502
        assert upstream.received == []
    assert frames_of(Live, tmp_path)[0].side.ending is Ending.REFUSED


def test_verification_can_be_switched_off_by_name(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    with Upstream(answering(OK), tls=_context(certificate, [])) as upstream:
        version = _version("127.0.0.1", upstream.port, verify=False)
        with WorkerProcess(tmp_path, a_snapshot(a_route(version))) as worker:
            assert ask(worker.port).status == 200
