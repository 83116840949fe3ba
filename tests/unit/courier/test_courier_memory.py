"""A courier stands beside every sidecar: what it does not need it does not load."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("heavy", ["sqlalchemy", "scipy", "alembic"])
def test_a_courier_does_without(heavy: str) -> None:
    code = f"import sys, canary.courier.run, canary.store.records; print({heavy!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
