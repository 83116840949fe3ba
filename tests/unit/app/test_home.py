"""What a process stands on: file, state folder, secrets, its one name."""

import os
import threading
from pathlib import Path

import pytest

from canary.app.first import write_first_snapshot
from canary.app.home import Home, claim, make_state_dir, read_home, secret
from canary.config.template import TEMPLATE
from canary.errors import CanaryError, ConfigError
from canary.split.spec import SecretRef
from canary.store.snapshot import read_snapshot


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "canary.yaml").write_text(TEMPLATE)
    made = read_home(tmp_path / "canary.yaml", env={})
    make_state_dir(made)
    return made


def test_the_state_folder_stands_beside_the_file_and_is_the_owners_alone(home: Home, tmp_path: Path) -> None:
    assert home.state_dir == tmp_path / ".canary"
    assert home.state_dir.stat().st_mode & 0o777 == 0o700


def test_the_environment_wins_over_the_file_for_the_database(home: Home) -> None:
    assert home.database({}) == "embedded"
    assert home.database({"CANARY_DATABASE_URL": "postgresql://h/d"}) == "postgresql://h/d"


def test_only_one_supervisor_holds_a_state_folder(home: Home) -> None:
    held = claim(home)
    with pytest.raises(CanaryError, match="another canary runs on"):
        claim(home)
    os.close(held)
    os.close(claim(home))


def test_a_sidecar_keeps_its_name_even_if_many_ask_at_once(home: Home) -> None:
    names: list[str] = []
    asking = [threading.Thread(target=lambda: names.append(home.sidecar())) for _ in range(8)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert len(set(names)) == 1
    assert home.sidecar() == names[0]
    assert not list(home.state_dir.glob(".sidecar-id*"))


def test_secrets_come_from_where_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    assert secret(SecretRef(env="T"), env={"T": "from-env\n"}, folder=tmp_path, what="x") == "from-env"
    assert secret(SecretRef(file="token"), env={}, folder=tmp_path, what="x") == "from-file"


@pytest.mark.parametrize("ref", [SecretRef(env="T"), SecretRef(file="nowhere"), SecretRef(file="empty")])
def test_a_secret_that_is_not_there_is_a_mistake_in_the_configuration(tmp_path: Path, ref: SecretRef) -> None:
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigError, match=r"admin\.token: "):
        secret(ref, env={"T": " "}, folder=tmp_path, what="admin.token")


def test_the_first_snapshot_is_the_files_word_and_never_overwrites_another(home: Home) -> None:
    assert write_first_snapshot(home)
    found = read_snapshot(home.snapshot)
    assert (found.revision, found.routes) == (0, home.file.config.routes)
    before = home.snapshot.read_bytes()
    assert not write_first_snapshot(home)
    assert home.snapshot.read_bytes() == before
