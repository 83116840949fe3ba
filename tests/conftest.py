"""Fixtures that every test may ask for."""

from tests.support.books import books
from tests.support.postgres import bare_database_url, database, database_url, postgres_server

__all__ = ["bare_database_url", "books", "database", "database_url", "postgres_server"]
