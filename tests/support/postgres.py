"""A database per test: one embedded server per test run, a migrated template, and a copy of it for each test."""

import itertools
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from canary.store import migrate
from canary.store.database import Database
from canary.store.embedded import EmbeddedPostgres

TEMPLATE = "canary_template"
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}
_LOCK = 7_301_966
_numbers = itertools.count()


@dataclass(frozen=True)
class PostgresServer:
    """A server on which tests make databases."""

    embedded: EmbeddedPostgres | None
    given: str = ""

    def url(self, database: str) -> str:
        """URL of one of its databases."""
        return self.embedded.url_of(database) if self.embedded else _with_database(self.given, database)

    def make_database(self, *, template: str | None = TEMPLATE) -> str:
        """A new database; returns its name."""
        name = f"t_{os.getpid()}_{next(_numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            source = sql.Identifier(template or "template0")
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), source))
        if template:
            with psycopg.connect(self.url(name), autocommit=True) as connection:
                connection.execute("UPDATE meta SET database_id = gen_random_uuid()")
        return name

    def drop_database(self, name: str) -> None:
        """Away with it, whoever is connected."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def make_template(self) -> None:
        """Once per server, whichever process of the test run is first."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (TEMPLATE,)).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
                migrate.upgrade(self.url(TEMPLATE))


def _with_database(url: str, database: str) -> str:
    return make_conninfo(url, dbname=database)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """The server of this test run; TEST_DATABASE_URL names another one."""
    given = os.environ.get("TEST_DATABASE_URL", "")
    if given:
        server = PostgresServer(embedded=None, given=given)
        server.make_template()
        yield server
        return
    base = tmp_path_factory.getbasetemp()
    state: Path = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "postgres"
    with EmbeddedPostgres(state, settings=FAST) as embedded:
        server = PostgresServer(embedded=embedded)
        server.make_template()
        yield server


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A migrated, empty database of the test's own."""
    name = postgres_server.make_database()
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture
def bare_database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A database without any table."""
    name = postgres_server.make_database(template=None)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open pool on the test's own database."""
    opened = await Database.open(database_url)
    yield opened
    await opened.close()
