"""What no file of the repository may say: one machine's paths, registries' addresses, marks of unfinished work."""

import re
import sys
from pathlib import Path

import pytest

from tests.support.source_tree import REPOSITORY, name_of, text_files

COMMON = {
    Path("/") / part
    for part in ("", "app", "builds", "canary", "code", "home", "opt", "repo", "root", "src", "srv", "tmp", "usr")
}
PATTERNS = {
    "a person's home folder": r"/(?:home|Users)/[a-z]\w+/",
    "a registry's address": r"\b(?:pypi|npmjs|crates)\.(?:org|com|io)\b|\bpythonhosted\.org\b|\b(?:docker|ghcr|quay|gcr)\.io\b",
    "a registry set by option": r"--(?:extra-)?index-url[ =]",
    "a mark of unfinished work": r"\b(?:T[O]DO|F[I]XME|X[X]X|H[A]CK)\b",
    "a conflict left standing": r"^(?:<{7}|>{7}) ",
    "a secret that looks real": r"\b(?:sk-[A-Za-z0-9]{32,}|gh[pousr]_[A-Za-z0-9]{30,}|AKIA[0-9A-Z]{16})\b",
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE K[E]Y-----",
}


def places(pattern: str) -> list[str]:
    """Every `file:line` where the pattern stands."""
    sought = re.compile(pattern, re.MULTILINE)
    found = []
    for path in text_files():
        text = path.read_text(encoding="utf-8")
        found += [
            f"{name_of(path)}:{text.count(chr(10), 0, match.start()) + 1} {match.group()}" for match in sought.finditer(text)
        ]
    return found


@pytest.mark.parametrize("what", PATTERNS)
def test_no_file_holds(what: str) -> None:
    assert places(PATTERNS[what]) == []


def test_no_file_knows_this_machine() -> None:
    own = {REPOSITORY, REPOSITORY.parent, Path(sys.prefix), Path(sys.prefix).parent}
    told = sorted(str(path) for path in own - COMMON)
    assert [place for path in told for place in places(rf"(?<![\w.$}}/-]){re.escape(path)}(?=[/\s\"'`:,)]|$)")] == []


def test_the_top_level_does_not_grow() -> None:
    known = {"canary", "migrations", "tests", "deploy", "docs", "pyproject.toml", "README.md", "alembic.ini", "CHANGELOG.md"}
    known |= {"CONTRIBUTING.md", "LICENSE", "build", "dist", "uv.lock"}  # the last three are made, and ignored
    there = {path.name for path in REPOSITORY.iterdir() if not path.name.startswith(".") and path.suffix != ".egg-info"}
    assert there - known == set()
