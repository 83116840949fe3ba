"""The file is published, not obeyed."""

import os
from pathlib import Path

import pytest

from canary.app.home import read_home
from canary.app.publish import Publisher
from canary.errors import ConfigError, VersionInUse
from canary.ports import PlanBook
from canary.terms import Phase
from tests.support.books import Books, memory_books
from tests.support.rollouts import a_state
from tests.support.store_rows import a_decision

TEXT = """\
routes:
  chat:
    match: {{path_prefix: /}}
    versions: {{v1: {{upstream: "http://127.0.0.1:1"}}, v2: {{upstream: "http://127.0.0.1:2"}}{more}}}
    stable: {stable}
plans:
  careful: {{stages: [{{weight: 10%}}]}}
"""


class _File:
    """A canary.yaml whose time stamp moves with each writing."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "canary.yaml"
        self._writings = 0

    def write(self, *, stable: str = "v1", more: str = "", text: str = "") -> None:
        self._writings += 1
        self.path.write_text(text or TEXT.format(stable=stable, more=more))
        os.utime(self.path, ns=(self._writings * 10**9, self._writings * 10**9))


@pytest.fixture
def file(tmp_path: Path) -> _File:
    made = _File(tmp_path)
    made.write()
    return made


@pytest.fixture
def books() -> Books:
    return memory_books()


def _publisher(file: _File) -> Publisher:
    return Publisher(read_home(file.path, env={}), env={})


async def _stable(plans: PlanBook) -> str:
    return (await plans.in_force()).stable["chat"]


async def test_an_unchanged_file_changes_nothing_and_an_edited_stable_is_an_order(file: _File, books: Books) -> None:
    publisher = _publisher(file)
    first = await publisher.publish(books.plans)
    assert (first.revision, first.changed) == (1, True)
    again = await publisher.reload(books.plans, dry_run=False)
    assert (again.revision, again.changed, again.differences) == (1, False, ())
    file.write(stable="v2")
    dry = await publisher.reload(books.plans, dry_run=True)
    assert (dry.changed, dry.differences) == (True, ("routes.chat.stable: v1 -> v2",))
    assert await _stable(books.plans) == "v1", "a dry run changes nothing"
    done = await publisher.reload(books.plans, dry_run=False)
    assert (done.revision, done.changed) == (2, True)
    assert await _stable(books.plans) == "v2"


async def test_a_bad_file_leaves_the_old_one_in_force(file: _File, books: Books) -> None:
    publisher = _publisher(file)
    await publisher.publish(books.plans)
    file.write(stable="v9")
    with pytest.raises(ConfigError, match="v9"):
        await publisher.reload(books.plans, dry_run=False)
    assert await _stable(books.plans) == "v1"


async def test_a_version_in_use_cannot_be_taken_away(file: _File, books: Books) -> None:
    publisher = _publisher(file)
    await publisher.publish(books.plans)
    config = (await books.plans.in_force()).published
    assert config is not None
    hashes = {v.name: v.hash for v in config.config.routes[0].versions}
    state = a_state(Phase.CANARYING, revision=1, stable_hash=hashes["v1"], candidate_hash=hashes["v2"])
    await books.rollouts.create(state, a_decision())
    file.write(text=TEXT.format(stable="v1", more="").replace("127.0.0.1:2", "127.0.0.1:3"))
    with pytest.raises(VersionInUse):
        await publisher.reload(books.plans, dry_run=False)


async def test_settings_of_this_machine_wait_for_a_restart(file: _File, books: Books) -> None:
    publisher = _publisher(file)
    await publisher.publish(books.plans)
    file.write(text="listen: 127.0.0.1:9999\n" + TEXT.format(stable="v1", more=""))
    found = await publisher.reload(books.plans, dry_run=False)
    assert found.notes == ("listen: changed in the file, in force after a restart",)


def test_a_change_on_disk_is_seen_once_and_only_when_the_file_stands_still(file: _File) -> None:
    publisher = _publisher(file)
    assert [publisher.changed() for _ in range(3)] == [False, False, False]
    file.write(stable="v2")
    assert not publisher.changed()
    file.write(stable="v1")
    assert not publisher.changed(), "it moved again"
    assert publisher.changed()
    assert not publisher.changed()
    file.path.unlink()
    assert [publisher.changed() for _ in range(3)] == [False, False, False], "an editor may replace it in two steps"
