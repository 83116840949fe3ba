"""Fixtures of the tests that talk to the admin port."""

from tests.support.admin_world import client, world

__all__ = ["client", "world"]
