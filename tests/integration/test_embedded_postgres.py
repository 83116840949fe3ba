"""The embedded server: shared, stopped by the last, recovered after every kind of death, closed to others."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from canary.errors import StoreError
from canary.store.binaries import Binaries, _binaries_in, _system_folders, reachable_by
from canary.store.cluster import read_pid_file
from canary.store.embedded import EmbeddedPostgres
from tests.support.deadline import wait_for

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65_534
QUICK = {"fsync": "off"}  # a killed process loses nothing by it; only a lost machine would
USE = """
import sys
from pathlib import Path
from canary.store.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"})
print(server.start(), flush=True)
sys.stdin.readline()
server.stop()
print("running" if server.running() else "stopped", flush=True)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A running one of the test's own."""
    with EmbeddedPostgres(tmp_path, settings=QUICK) as running:
        yield running


def asked(url: str, statement: str = "SELECT 1") -> object:
    """The first value of the first row."""
    with psycopg.connect(url, connect_timeout=10) as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


def pid_of(server: EmbeddedPostgres) -> int:
    """The postmaster's."""
    found = read_pid_file(server._data)
    assert found is not None
    return found.pid


def another_process(state: Path, *, python: str = sys.executable, **options: object) -> subprocess.Popen[str]:
    """A process that uses the server until it reads a line."""
    packages = Path(psycopg.__file__).parents[1]
    environment = {"PYTHONPATH": f"{ROOT}{os.pathsep}{packages}", "PATH": os.defpath}
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [python, "-c", USE, str(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def test_it_starts_serves_and_stops(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "deep" / "state", settings=QUICK)
    url = server.start()
    assert asked(url, "SELECT current_database()") == "canary"
    assert asked(url, "SHOW listen_addresses") == ""
    assert server.running()
    server.stop()
    assert not server.running()
    with pytest.raises(psycopg.OperationalError):
        asked(url)
    server.stop()  # a second time is no harm


def test_a_second_user_joins_and_the_last_one_stops_it(server: EmbeddedPostgres, tmp_path: Path) -> None:
    second = EmbeddedPostgres(tmp_path)
    assert second.start() == server.url
    pid = pid_of(server)
    server.stop()
    assert second.running()
    assert (asked(second.url), pid_of(second)) == (1, pid)
    second.stop()
    assert not second.running()


def test_a_user_that_was_killed_keeps_nobody_waiting(server: EmbeddedPostgres, tmp_path: Path) -> None:
    with another_process(tmp_path) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == server.url
        other.kill()
        other.wait(20)
    server.stop()
    assert not server.running()


def test_whoever_was_about_to_join_stops_it_when_its_starter_was_killed(tmp_path: Path) -> None:
    with another_process(tmp_path) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline().startswith("postgresql:")
        late = EmbeddedPostgres(tmp_path, settings=QUICK)
        late.stop()
        assert late.running(), "its user lives"
        starter.kill()
        starter.wait(10)
    late.stop()
    assert not late.running()


def test_a_process_that_did_not_start_it_may_be_the_one_that_stops_it(server: EmbeddedPostgres, tmp_path: Path) -> None:
    with another_process(tmp_path) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline().strip() == server.url
        server.stop()
        assert server.running()
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline().strip() == "stopped"


@pytest.mark.parametrize("children_too", [False, True])
def test_a_killed_server_comes_back_at_the_same_place_with_what_it_had(server: EmbeddedPostgres, children_too: bool) -> None:
    url = server.url
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS n")
    pid = pid_of(server)
    children = Path(f"/proc/{pid}/task/{pid}/children")
    victims = [pid, *(map(int, children.read_text().split()) if children_too and children.exists() else ())]
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    wait_for(lambda: not server.running())
    assert server.ensure() == url
    assert asked(url, "SELECT n FROM kept") == 42
    assert pid_of(server) != pid
    assert server.ensure() == url


def test_a_pid_file_whose_number_is_somebody_elses_now(server: EmbeddedPostgres) -> None:
    """As in a container that starts again: small numbers come back, and the file is still there."""
    path = server._data / "postmaster.pid"
    left = path.read_text()
    os.kill(pid_of(server), signal.SIGKILL)
    wait_for(lambda: not server.running())
    path.write_text(left.replace(left.split("\n")[0], str(os.getpid()), 1))
    assert not server.running()
    server.ensure()
    assert asked(server.url) == 1


def test_an_interrupted_first_start_is_cleared_away(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path, settings=QUICK)
    leftover = tmp_path / f"pg{server.binaries.major}.new" / "base"
    leftover.mkdir(parents=True)
    with server:
        assert asked(server.url) == 1
    assert not leftover.exists()


def test_nobody_else_gets_in(server: EmbeddedPostgres) -> None:
    found = read_pid_file(server._data)
    assert found is not None
    seen = found.socket_folder.lstat()
    assert (stat.S_IMODE(seen.st_mode), stat.S_IMODE(server._data.stat().st_mode)) == (0o700, 0o700)
    assert len(os.fsencode(found.socket_folder / ".s.PGSQL.5432")) <= 107
    with pytest.raises(psycopg.OperationalError):
        asked(server.url.replace("canary@", "postgres@"))


def test_the_log_holds_no_rows(server: EmbeddedPostgres) -> None:
    secret = "sk-live-4242"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (n int PRIMARY KEY, s text)")
        with pytest.raises(psycopg.errors.UndefinedFunction):
            connection.execute("SELECT nothing(%s)", (secret,))
        with pytest.raises(psycopg.errors.InvalidTextRepresentation), connection.cursor().copy("COPY t FROM STDIN") as copy:
            copy.write(f"{secret}\t{secret}\n")
    said = server.log_path.read_text()
    assert "ready to accept" in said
    assert secret not in said
    assert stat.S_IMODE(server.log_path.stat().st_mode) == 0o600


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path, settings={**QUICK, "shared_buffers": "nonsense"})
    with pytest.raises(StoreError, match="shared_buffers") as caught:
        server.start()
    assert str(server.log_path) in caught.value.hint
    assert not server.running()


def a_python_of_nobody() -> str:
    """A Python like this one that the user nobody may run."""
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        if Path(python).exists() and all(reachable_by(place, NOBODY, NOBODY) for place in (Path(python), ROOT)):
            return python
    pytest.skip("skipped: the user nobody cannot reach a Python of this version")


@pytest.fixture
def open_state() -> Iterator[Path]:
    """A state folder to which everybody finds the way."""
    with tempfile.TemporaryDirectory(prefix="canary-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name) / "state"


@pytest.mark.skipif(os.geteuid() != 0, reason="skipped: only root can become another user")
def test_a_normal_user_has_one_too_and_root_may_join(open_state: Path) -> None:
    os.chown(open_state.parent, NOBODY, NOBODY)
    options = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    with another_process(open_state, python=a_python_of_nobody(), **options) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        url = other.stdout.readline().strip()
        assert url
        assert open_state.stat().st_uid == NOBODY
        with EmbeddedPostgres(open_state) as ours:
            assert (ours.url, ours.running()) == (url, True)
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline().strip() == "stopped"


def _system_binaries() -> Binaries:
    found = [one for folder in _system_folders() if (one := _binaries_in(folder, "system")) is not None and one.major >= 14]
    if not found:
        pytest.skip("skipped: no Postgres >= 14 is installed on this system")
    return found[0]


def test_a_system_installation_serves_as_well(open_state: Path) -> None:
    installed = _system_binaries()
    with EmbeddedPostgres(open_state.parent, settings=QUICK, binaries=installed) as server:
        assert int(str(asked(server.url, "SHOW server_version_num"))) // 10_000 == installed.major
        assert (open_state.parent / f"pg{installed.major}").is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="skipped: only root runs the server as somebody else")
def test_old_programs_refuse_a_folder_that_their_account_cannot_reach(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    found = EmbeddedPostgres(tmp_path).binaries
    old = Binaries(folder=found.folder, version="15.1", source="system")
    with pytest.raises(StoreError, match="cannot pass") as caught:
        EmbeddedPostgres(tmp_path, binaries=old).start()
    assert "state_dir" in caught.value.hint


async def test_it_has_an_async_form(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path, settings=QUICK) as server:
        async with await psycopg.AsyncConnection.connect(server.url) as connection:
            assert await (await connection.execute("SELECT 1")).fetchone() == (1,)
    assert not server.running()
