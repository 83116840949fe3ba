"""Brings a database's tables to this version, or says how far they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from canary.errors import StoreAway, StoreError
from canary.store.database import conninfo_of, place_of

_LOCK: Final = 0x63616E617279  # "canary": one process migrates, the others wait and find it done
_PACKAGE: Final = Path(__file__).resolve().parent.parent


def migrations_folder() -> Path:
    """In the installed package, or at the repository's root in an editable checkout."""
    for folder in (_PACKAGE / "_migrations", _PACKAGE.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise StoreError("the migrations are not installed", hint="Install the package again: its wheel carries them.")


def engine_url(url: str) -> URL:
    """The same database through SQLAlchemy's psycopg dialect."""
    return make_url(url).set(drivername="postgresql+psycopg")


def newest() -> str:
    """The revision that this version's tables have."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def current(url: str) -> str | None:
    """The revision that the database has; None where it has no tables of ours. Raises StoreAway."""
    with _connected(url) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(url: str, *, revision: str = "head") -> None:
    """Applies what is missing; safe from several processes at once. Raises StoreAway or StoreError."""
    with _connected(url) as connection:
        _locked(connection)
        known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
        found = MigrationContext.configure(connection).get_current_revision()
        if found is not None and found not in known:
            raise StoreError(
                f"{place_of(url)} has tables of a newer version ({found})",
                hint="Install the canary that made them, or a newer one.",
            )
        command.upgrade(_config(connection), revision)


def downgrade(url: str, revision: str) -> None:
    """Takes steps back, down to `base`: what the dropped tables held is gone."""
    with _connected(url) as connection:
        _locked(connection)
        command.downgrade(_config(connection), revision)


def _locked(connection: Connection) -> None:
    """Until the end of the transaction, in which all steps are taken."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    conninfo = conninfo_of(url)  # read by the driver: SQLAlchemy knows fewer kinds of addresses
    engine = create_engine(
        "postgresql+psycopg://", poolclass=NullPool, creator=lambda: psycopg.connect(conninfo, prepare_threshold=None)
    )
    try:
        with engine.begin() as connection:
            yield connection
    except OperationalError as error:
        raise StoreAway(
            f"cannot use Postgres ({place_of(url)}): {str(error.orig).strip().splitlines()[0]}",
            hint="Is it running and reachable?",
        ) from error
    except psycopg.Error as error:
        raise StoreError(f"Postgres ({place_of(url)}): {error}") from error
    finally:
        engine.dispose()
