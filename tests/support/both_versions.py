"""Upstreams of a stable version and of a candidate that tell themselves apart."""

from collections.abc import Iterator

import pytest

from tests.support.upstreams import Upstream, answering

Pair = tuple[Upstream, Upstream]
"""Stable's, which answers `old`, and the candidate's, which answers `new`."""


@pytest.fixture
def both() -> Iterator[Pair]:
    """A pair for one test."""
    old = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold")
    new = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew")
    with Upstream(old) as stable, Upstream(new) as candidate:
        yield stable, candidate
