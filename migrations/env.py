"""Runs the migrations on the connection of `canary.store.migrate`, or on CANARY_DATABASE_URL where alembic itself is called."""

import os

from alembic import context
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from canary.store.migrate import engine_url
from canary.store.tables import metadata


def run_on(connection: Connection) -> None:
    """All pending steps in one transaction."""
    context.configure(connection=connection, target_metadata=metadata, compare_type=True, compare_server_default=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run_on(given)
else:
    engine = create_engine(engine_url(os.environ["CANARY_DATABASE_URL"]), poolclass=NullPool)
    with engine.connect() as own:
        run_on(own)
        own.commit()
