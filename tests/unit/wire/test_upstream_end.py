"""How a connection to an upstream ends that is not used again."""

import asyncio

import pytest

from canary.wire.client import Pool, UpstreamConnection
from canary.wire.origin import Origin
from canary.wire.resolver import Resolver
from canary.wire.ticker import Ticker
from canary.wire.upstream import Upstream


def _pool() -> tuple[Upstream, Ticker]:
    loop = asyncio.get_running_loop()
    ticker = Ticker(loop)
    return Upstream(Origin("127.0.0.1", 9), loop=loop, ticker=ticker, resolver=Resolver(loop)), ticker


def _idle(pool: Upstream, keep_alive_s: int) -> UpstreamConnection:
    connection = UpstreamConnection(pool)
    connection.connection_made(_Transport(0))
    pool.release(connection, keep_alive_s)
    return connection


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


async def test_what_was_idle_too_long_is_closed_and_the_rest_kept() -> None:
    pool, ticker = _pool()
    connections = [_idle(pool, keep_alive_s) for keep_alive_s in (2, 5, 2, 5, 3)]
    pool.close_idle(ticker.now + 1.5)
    transports = [connection.transport for connection in connections]
    assert [transport.ended for transport in transports if isinstance(transport, _Transport)] == [
        "closed",
        "",
        "closed",
        "",
        "",
    ]
    for connection in connections[::2]:
        connection.connection_lost(None)  # two that were closed, and one that its upstream closed
    pool.retired = True
    pool.close_idle(ticker.now)
    assert [transport.ended for transport in transports if isinstance(transport, _Transport)] == [*["closed"] * 4, ""]
