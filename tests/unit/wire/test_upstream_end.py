"""How a connection to an upstream ends that is not used again."""

import asyncio

import pytest

from canary.wire.client import Pool, UpstreamConnection


class _Transport(asyncio.Transport):
    """Holds what its upstream does not take."""

    def __init__(self, unsent: int) -> None:
        super().__init__()
        self.unsent = unsent
        self.ended = ""

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "cut"


@pytest.mark.parametrize(("unsent", "ended"), [(0, "closed"), (3_000_000, "cut")])
def test_a_request_that_was_not_taken_does_not_keep_its_connection(unsent: int, ended: str) -> None:
    connection, transport = UpstreamConnection(Pool()), _Transport(unsent)
    connection.connection_made(transport)
    connection.close()
    assert transport.ended == ended
