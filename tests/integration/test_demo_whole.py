"""`canary demo --fast --once --json` as a person runs it: real processes, a real database, three verdicts."""

import json
import subprocess
import sys

import pytest


@pytest.mark.timeout(300)
def test_the_three_verdicts_are_right_and_nothing_stays_behind() -> None:
    command = [sys.executable, "-c", "from canary.cli.main import main; main()", "demo", "--fast", "--once", "--json"]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stdout[-3_000:] + run.stderr[-3_000:]
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert "plan" in lines[0]
    last = lines[-1]
    assert last["right"] is True
    good, bad, breaking = last["verdicts"]
    assert (good["phase"], bad["phase"], breaking["phase"]) == ("done", "rolled_back", "rolled_back")
    assert bad["served"] == 0
    assert bad["pairs"] > 0
    assert 0 < breaking["harmed"] <= breaking["served"]
    assert good["served"] > 500
