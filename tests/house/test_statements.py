"""No statement of ours goes out in a pipeline: Postgres ends no transaction of a client that is paused inside one."""

from tests.support.source_tree import REPOSITORY, name_of


def test_no_statement_goes_in_a_pipeline() -> None:
    found = [
        f"{name_of(path)}:{number}"
        for path in sorted((REPOSITORY / "canary").rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if ".executemany(" in line or ".pipeline(" in line
    ]
    assert found == [], "use canary.store.database.each"
