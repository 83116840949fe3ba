"""Where the migrations are found."""

from pathlib import Path

import pytest

from canary.errors import StoreError
from canary.store import migrate


def a_folder(path: Path) -> Path:
    """One that looks like migrations."""
    path.mkdir(parents=True)
    (path / "env.py").touch()
    return path


def test_an_editable_checkout_has_them_at_its_root() -> None:
    assert (migrate.migrations_folder() / "versions" / "0001_first_tables.py").is_file()


def test_a_wheel_carries_them_in_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "_PACKAGE", tmp_path / "canary")
    with pytest.raises(StoreError) as caught:
        migrate.migrations_folder()
    assert caught.value.hint
    outside = a_folder(tmp_path / "migrations")
    assert migrate.migrations_folder() == outside
    inside = a_folder(tmp_path / "canary" / "_migrations")
    assert migrate.migrations_folder() == inside
