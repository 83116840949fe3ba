"""A machine without a database: it serves what it knows, and refuses what is not safe."""

import http.client
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from canary.store.snapshot import read_snapshot
from tests.support.deadline import wait_for
from tests.support.serving import CONFIG, Serving, free_ports

pytestmark = pytest.mark.timeout(300)  # whole processes, on machines that have other work


def test_a_sidecar_that_never_saw_a_database_serves_by_its_own_file(tmp_path: Path) -> None:
    nowhere = f"postgresql://nobody:s3cr3t@127.0.0.1:{free_ports(1)[0]}/none"
    serving = Serving(tmp_path, role="proxy", env={"DATABASE_URL": nowhere})
    with serving:
        assert serving.ask() == (200, "v1")
        assert "console" not in serving.said
        assert "s3cr3t" not in serving.log.read_text()
        assert read_snapshot(tmp_path / "state" / "snapshot.json").revision == 0
        assert serving.children().keys() == {"worker-0", "courier"}
        assert serving.stop(signal.SIGINT) == 0
        serving.start()
        assert serving.ask() == (200, "v1"), "and again from its disk"


def test_the_sidecars_own_port_answers_probes_without_a_database(tmp_path: Path) -> None:
    with Serving(tmp_path, role="proxy", env={"DATABASE_URL": f"postgresql://127.0.0.1:{free_ports(1)[0]}/none"}) as serving:

        def ready() -> bool:
            connection = http.client.HTTPConnection("127.0.0.1", serving.sidecar, timeout=10)
            try:
                connection.request("GET", "/readyz")
                return connection.getresponse().status == 200
            except ConnectionRefusedError:
                return False
            finally:
                connection.close()

        wait_for(ready, 30, what="a ready sidecar")


def test_an_open_admin_port_without_a_token_is_refused(tmp_path: Path) -> None:
    data, admin, sidecar = free_ports(3)
    file = tmp_path / "canary.yaml"
    text = CONFIG.format(data=data, admin=admin, sidecar=sidecar, v1=1, v2=2, stable="v1", min_profile=100)
    file.write_text(text.replace(f"127.0.0.1:{admin}", f"0.0.0.0:{admin}"))
    done = subprocess.run(
        [sys.executable, "-m", "canary.cli", "serve", "-c", str(file)],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert "token" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "state" / "snapshot.json").exists()
