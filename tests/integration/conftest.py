"""Fixtures of several files: the admin port and its client, and the upstreams of two versions."""

from tests.support.admin_world import client, world
from tests.support.both_versions import both

__all__ = ["both", "client", "world"]
