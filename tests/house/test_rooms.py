"""The rooms keep to their order, their names and the top level of the house."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from canary.rollout.transitions import diagram
from tests.support.source_tree import REPOSITORY, name_of, python_files

UNNAMED = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}
CONTRACTS = {"layers", "forbidden", "protected", "acyclic_siblings"}


def test_the_import_contracts_hold() -> None:
    beside = Path(sys.executable).with_name("lint-imports")
    command = str(beside) if beside.exists() else shutil.which("lint-imports")
    if command is None:
        pytest.skip("lint-imports is not installed: pip install -e '.[test]'")
    done = subprocess.run([command, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_the_contracts_are_all_four_and_the_layers_exhaustive() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    assert {contract["type"] for contract in settings["contracts"]} == CONTRACTS
    assert next(c for c in settings["contracts"] if c["type"] == "layers")["exhaustive"] is True
    assert settings["exclude_type_checking_imports"] is False


def test_every_room_and_file_is_named_for_what_it_does() -> None:
    named = {part for path in python_files("canary", "tests") for part in Path(name_of(path)).with_suffix("").parts}
    assert named & UNNAMED == set()


def test_no_room_is_empty() -> None:
    rooms = [path for path in (REPOSITORY / "canary").iterdir() if path.is_dir() and path.name != "__pycache__"]
    empty = [room.name for room in rooms if not any(path.name != "__init__.py" for path in room.rglob("*.py"))]
    assert empty == []


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for path in python_files("tests") if path.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))


def test_every_file_says_its_job_first() -> None:
    silent = []
    for path in python_files("canary", "tests", "migrations"):
        text = path.read_text(encoding="utf-8").lstrip()
        if text and not text.startswith(('"""', 'r"""', "#!")):
            silent.append(name_of(path))
    assert silent == []


def test_the_diagram_in_the_docs_is_drawn_from_the_table() -> None:
    page = (REPOSITORY / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert diagram().rstrip() in page
