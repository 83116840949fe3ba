"""How tests are written here: fakes in place of mocks, events in place of sleeps, no test that can hang or is left out."""

import ast
import tomllib
from pathlib import Path

from tests.support.source_tree import REPOSITORY, definitions, name_of, python_files, tree_of

MOCKS = {"unittest.mock", "mock", "pytest_mock", "asynctest"}
WAITERS = {"deadline.py", "eventually.py"}  # they are what is used in place of a sleep


def imported(path: Path) -> set[str]:
    """Every module that the file imports, and every name that it takes from one, with dots."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_nothing_is_mocked() -> None:
    mocking = {
        name_of(path): sorted(imported(path) & MOCKS) for path in python_files("canary", "tests") if imported(path) & MOCKS
    }
    assert mocking == {}


def is_sleep(node: ast.AST) -> bool:
    """A call of `sleep` that waits for anything longer than one turn of the loop."""
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    only_yields = bool(node.args) and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
    return name == "sleep" and not only_yields


def test_no_test_sleeps() -> None:
    sleeping = []
    for path in python_files("tests"):
        is_test = path.name.startswith("test_") or path.name == "conftest.py"
        if "bench" not in path.parts and is_test and path.name not in WAITERS:
            sleeping += [f"{name_of(path)}:{node.lineno}" for node in ast.walk(tree_of(path)) if is_sleep(node)]
    assert sleeping == []


def test_every_test_has_a_deadline_and_warnings_are_errors() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert 0 < settings["timeout"] <= 300
    assert settings["filterwarnings"][0] == "error"
    assert settings["xfail_strict"] is True


def test_no_two_tests_of_a_file_share_a_name() -> None:
    doubled = []
    for path in python_files("tests"):
        names = [found.qualified for found in definitions(path) if found.node.name.startswith("test_")]
        doubled += [f"{name_of(path)} {name}" for name in set(names) if names.count(name) > 1]
    assert doubled == []
