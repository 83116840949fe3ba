"""The command line as a person types it, against a running `canary serve`."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.deadline import wait_for
from tests.support.serving import Serving

pytestmark = pytest.mark.timeout(300)  # whole processes, on machines that have other work


def canary(*words: str, folder: Path, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CANARY_") and k != "DATABASE_URL"}
    return subprocess.run(
        [sys.executable, "-m", "canary.cli", *words],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=folder,
        env={**kept, **(env or {})},
    )


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("story")) as running:
        yield running


def _json(done: "subprocess.CompletedProcess[str]") -> Any:
    return json.loads(done.stdout)


def test_one_rollout_is_rolled_back_and_its_retry_promoted(serving: Serving) -> None:
    _begun_watched_held_and_rolled_back(serving, serving.folder)
    _tried_again_and_promoted(serving, serving.folder)


def _begun_watched_held_and_rolled_back(serving: Serving, folder: Path) -> None:
    nothing = canary("rollout", "status", "main", folder=folder)
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert "no rollout `main`" in nothing.stderr
    made = canary("rollout", "create", "main", "--candidate", "v2", "--reason", "cheaper", folder=folder)
    assert made.returncode == 0, made.stderr
    assert "main v1 -> v2, plan quick" in made.stdout
    rollout = _json(canary("rollout", "list", "--json", folder=folder))["rollouts"][0]["id"]
    serving.wait_for_phase(rollout, "canarying")
    status = canary("rollout", "status", "main", folder=folder)
    assert status.returncode == 4, "undecided"
    assert "canarying 50% (stage 1 of 1)" in status.stdout
    watched = canary("rollout", "watch", "main", "--timeout", "1", folder=folder)
    assert watched.returncode == 4
    lines = [line.split("  ", 1)[1] for line in watched.stdout.splitlines()]
    assert lines
    assert all(line.startswith("canarying 50%") for line in lines)
    assert len(set(lines)) == len(lines), "one line a change"
    held = canary("rollout", "hold", "main", "--reason", "lunch", folder=folder)
    assert ", paused: held by" in held.stdout
    stale = canary("rollout", "resume", "main", "--reason", "back", "--expected-revision", "1", folder=folder)
    assert stale.returncode == 1
    assert stale.stderr.startswith("error: rollout ")
    assert "hint: " in stale.stderr
    assert canary("rollout", "rollback", "main", folder=folder).returncode == 2, "a reason is not optional"
    done = canary("rollout", "rollback", "main", "--reason", "slow", "--json", folder=folder)
    assert _json(done)["phase"] == "rolled_back"
    assert canary("rollout", "watch", "main", folder=folder).returncode == 3
    assert canary("rollout", "status", rollout, folder=folder).returncode == 3
    told = canary("rollout", "explain", "main", folder=folder).stdout
    assert "rolled back by" in told
    assert "slow" in told
    again = canary("rollout", "create", "main", "--candidate", "v2", folder=folder)
    assert again.returncode == 1
    assert "was rolled back before" in again.stderr


def _tried_again_and_promoted(serving: Serving, folder: Path) -> None:
    made = canary("rollout", "create", "main", "--candidate", "v2", "--retry", "--json", folder=folder)
    rollout = _json(made)["id"]
    serving.wait_for_phase(rollout, "canarying")
    watching = subprocess.Popen(
        [sys.executable, "-m", "canary.cli", "rollout", "watch", rollout], stdout=subprocess.PIPE, text=True, cwd=folder
    )
    done = canary("rollout", "promote", rollout, "--full", "--reason", "good", folder=folder)
    assert done.returncode == 0, done.stderr
    output, _ = watching.communicate(timeout=60)
    assert watching.returncode == 0
    assert "promoted (done): promoted by" in output
    wait_for(lambda: serving.ask()[1] == "v2", 20, what="v2 in charge")
    assert "main: file: v1, in charge: v2" in canary("config", "diff", folder=folder).stdout


def test_what_there_is_to_see(serving: Serving) -> None:
    folder = serving.folder
    assert canary("pairs", "list", folder=folder).stdout.startswith("no pairs: ")
    assert _json(canary("pairs", "list", "--json", folder=folder)) == {"pairs": []}
    assert "is not an exchange id" in canary("pairs", "show", "x", folder=folder).stderr
    health = _json(canary("doctor", "--json", folder=folder))
    by_name = {finding["what"]: finding for finding in health["findings"]}
    assert health["ok"], health
    assert "compiled" in by_name["http parser"]["found"]
    assert by_name["processes"]["found"].startswith("running: ")
    assert "held by the canary" in by_name["port listen"]["found"]
    upgraded = canary("db", "upgrade", folder=folder)
    assert "was up to date" in upgraded.stdout, upgraded.stderr
    taken = canary("serve", folder=folder)
    assert taken.returncode == 1
    assert "another canary runs on" in taken.stderr


def test_from_init_to_check(tmp_path: Path) -> None:
    assert canary("init", folder=tmp_path).returncode == 0
    assert canary("init", folder=tmp_path).stderr.startswith("error: canary.yaml is there already\nhint: ")
    good = canary("check", folder=tmp_path)
    assert (good.returncode, good.stdout.splitlines()[0]) == (0, "canary.yaml is good: 1 route, 1 plan")
    (tmp_path / "canary.yaml").write_text("listen: nowhere\nroutes: {a: {stabel: v1}}\n")
    bad = canary("check", folder=tmp_path)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert len([line for line in bad.stderr.splitlines() if line.startswith("canary.yaml:")]) >= 2
    assert "Traceback" not in bad.stderr
    assert not _json(canary("check", "--json", folder=tmp_path))["ok"]
    assert canary("serve", folder=tmp_path).returncode == 1
    assert canary("config", "schema", folder=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("rollout", "list", "--admin", "127.0.0.1:1"), 1, "error: nobody listens on http://127.0.0.1:1\nhint: "),
        (("rollout", "list", "--admin", "ftp://x"), 1, "error: `ftp://x` is no address of an admin port"),
        (("rollout", "list", "--admin", "127.0.0.1:port"), 1, "error: `127.0.0.1:port` is no address of an admin port"),
        (("rollout", "list", "--admin", "http://["), 1, "error: `http://[` is no address of an admin port"),
        (("pairs", "show", "é", "--admin", "127.0.0.1:1"), 1, "error: nobody listens on http://127.0.0.1:1\nhint: "),
        (("check", "nowhere.yaml"), 1, "error: nowhere.yaml: there is no such file\nhint: "),
        (("rolout", "list"), 2, "did you mean `rollout`?"),
        (("force", "main", "sideways"), 2, "'sideways' is not one of 'stable', 'candidate'"),
        (("rollout", "create"), 2, "Missing argument 'ROUTE'"),
    ],
)
def test_mistakes_are_told_in_a_line_with_a_hint(tmp_path: Path, words: tuple[str, ...], code: int, said: str) -> None:
    done = canary(*words, folder=tmp_path)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("token", ["hunter2\nx", "hunter2€"])
def test_a_token_that_no_header_can_hold_is_not_repeated(tmp_path: Path, token: str) -> None:
    done = canary("rollout", "list", "--admin", "127.0.0.1:1", folder=tmp_path, env={"CANARY_ADMIN_TOKEN": token})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: the admin token holds what no header can\nhint: ")
    assert "hunter2" not in done.stderr


def test_a_forced_arm_is_minted_with_the_key_of_the_file(tmp_path: Path) -> None:
    canary("init", folder=tmp_path)
    file = tmp_path / "canary.yaml"
    assert "has no force_key" in canary("force", "main", "candidate", folder=tmp_path).stderr
    file.write_text(file.read_text() + "force_key: {env: FORCE}\n")
    assert "FORCE is not set" in canary("force", "main", "candidate", folder=tmp_path).stderr
    minted = canary("force", "main", "candidate", folder=tmp_path, env={"FORCE": "s3cr3t"})
    assert minted.stdout.startswith("x-canary-force: candidate.")
    assert "s3cr3t" not in minted.stdout


def test_help_needs_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from canary.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    for heavy in ("aiohttp", "pydantic", "rich.console", "numpy", "sqlalchemy", "psycopg", "yaml", "structlog", "asyncio"):
        assert f"'{heavy}'" not in done.stdout, heavy
    begin = time.perf_counter()
    assert canary("--help", folder=tmp_path).returncode == 0
    assert time.perf_counter() - begin < 5, "far under it; the bound only catches an import of everything"
