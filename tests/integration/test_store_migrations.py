"""Migrations: up, down, at once from many processes, and to the very tables that the code declares."""

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import create_engine

from canary.errors import StoreAway, StoreError
from canary.store import migrate
from canary.store.tables import metadata
from tests.support.postgres import PostgresServer

COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND a.attnum > 0 AND NOT a.attisdropped AND c.relname <> 'alembic_version'
ORDER BY 1, 2"""
INDEXES = """
SELECT i.tablename, i.indexname, replace(i.indexdef, ' ONLY ', ' ')
FROM pg_indexes i JOIN pg_class c ON c.relname = i.tablename AND c.relnamespace = 'public'::regnamespace
WHERE i.schemaname = 'public' AND NOT c.relispartition AND i.tablename <> 'alembic_version' ORDER BY 1, 2"""
CONSTRAINTS = """
SELECT c.relname, k.conname, pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE c.relnamespace = 'public'::regnamespace AND NOT c.relispartition AND k.contype <> 'n' AND c.relname <> 'alembic_version'
ORDER BY 1, 2"""
COMMENTS = """
SELECT c.relname, obj_description(c.oid), pg_get_partkeydef(c.oid)
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND c.relname <> 'alembic_version'
ORDER BY 1"""
SEQUENCES = "SELECT sequencename, data_type::text FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1"
LEFT = """
SELECT relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'S') AND relname NOT LIKE 'alembic%'"""


def asked(url: str, statement: str) -> list[tuple[object, ...]]:
    """All rows of one question."""
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode()).fetchall()


@pytest.mark.parametrize("question", [COLUMNS, INDEXES, CONSTRAINTS, COMMENTS, SEQUENCES])
def test_migrations_arrive_at_the_declared_tables(
    question: str, database_url: str, bare_database_url: str, postgres_server: PostgresServer
) -> None:
    engine = create_engine(migrate.engine_url(bare_database_url))
    metadata.create_all(engine)
    engine.dispose()
    migrated, declared = asked(database_url, question), asked(bare_database_url, question)
    assert migrated == declared
    assert migrated


def test_up_down_and_up_again(bare_database_url: str) -> None:
    assert migrate.current(bare_database_url) is None
    migrate.upgrade(bare_database_url)
    assert migrate.current(bare_database_url) == migrate.newest()
    before = asked(bare_database_url, COLUMNS)
    migrate.downgrade(bare_database_url, "base")
    assert migrate.current(bare_database_url) is None
    assert asked(bare_database_url, LEFT) == []
    migrate.upgrade(bare_database_url)
    assert asked(bare_database_url, COLUMNS) == before


def test_an_upgrade_of_what_is_new_changes_nothing(database_url: str) -> None:
    identity = asked(database_url, "SELECT database_id FROM meta")
    migrate.upgrade(database_url)
    assert asked(database_url, "SELECT database_id FROM meta") == identity


def test_many_may_upgrade_at_once(bare_database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate.upgrade, [bare_database_url] * 4))
    assert migrate.current(bare_database_url) == migrate.newest()
    assert asked(bare_database_url, "SELECT count(*) FROM meta") == [(1,)]


def test_tables_of_a_newer_version_are_left_alone(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer version"):
        migrate.upgrade(database_url)


def test_nobody_there_is_said_without_the_password() -> None:
    with pytest.raises(StoreAway) as caught:
        migrate.upgrade("postgresql://someone:hunter2@127.0.0.1:1/somewhere")
    assert "hunter2" not in str(caught.value)


def test_the_first_of_several_hosts_may_be_away(bare_database_url: str) -> None:
    known = conninfo_to_dict(bare_database_url)
    hosts = f"/nowhere,{known['host']}"
    url = f"postgresql://{known['user']}@/{known['dbname']}?host={quote(hosts, safe='')}"
    assert migrate.current(url) is None
    named = f"postgresql://{known['user']}:hunter2@127.0.0.1:1,127.0.0.1:2/{known['dbname']}"
    with pytest.raises(StoreAway) as away:
        migrate.upgrade(named)
    assert "hunter2" not in str(away.value)


@pytest.mark.parametrize("url", ["postgresql://u:hunter2@h:port/d", "postgresql://u:hunter2@h/d?nosuch=1"])
def test_an_address_that_cannot_be_read_is_said_without_its_password(url: str) -> None:
    with pytest.raises(StoreError) as bad:
        migrate.upgrade(url)
    assert "hunter2" not in str(bad.value)


def test_every_view_answers(database_url: str) -> None:
    views = asked(database_url, "SELECT viewname FROM pg_views WHERE schemaname = 'public' ORDER BY 1")
    assert len(views) >= 5
    for (name,) in views:
        assert asked(database_url, f"SELECT * FROM {name}") == []


def test_high_volume_tables_have_no_sequences_and_no_foreign_keys(database_url: str) -> None:
    found = asked(
        database_url,
        "SELECT conname FROM pg_constraint WHERE contype = 'f' AND (conrelid::regclass::text, confrelid::regclass::text)"
        " NOT IN (('segments', 'rollouts'), ('decisions', 'rollouts'))",
    )
    assert found == []
    defaults = asked(database_url, "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef")
    assert not any("nextval" in str(row[0]) for row in defaults)
