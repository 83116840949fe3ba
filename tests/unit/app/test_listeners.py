"""Addresses, and who may be spoken to without a token."""

import socket

import pytest

from canary.app.listeners import address_of, bind, on_loopback, refuse_open_admin, shown_address
from canary.errors import CanaryError, Refused


@pytest.mark.parametrize(
    ("listen", "address"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:8081", ("::1", 8081)), ("localhost:0", ("localhost", 0))],
)
def test_addresses_are_read(listen: str, address: tuple[str, int]) -> None:
    assert address_of(listen) == address


@pytest.mark.parametrize("listen", ["", "8080", "host:", ":80", "host:http", "host:65536", "host:-1"])
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(CanaryError, match="is no address"):
        address_of(listen)


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("127.0.0.1:1", True),
        ("127.8.9.1:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("localhost.evil.example:1", False),
    ],
)
def test_loopback_is_known(listen: str, expected: bool) -> None:
    assert on_loopback(listen) is expected


def test_orders_from_elsewhere_need_a_token() -> None:
    refuse_open_admin("127.0.0.1:1", token=None, what="admin")
    refuse_open_admin("0.0.0.0:1", token="t", what="admin")
    for token in (None, ""):
        with pytest.raises(Refused, match="without a token"):
            refuse_open_admin("0.0.0.0:1", token=token, what="admin")


def test_workers_share_one_port_and_each_has_its_own_queue() -> None:
    listeners = bind("127.0.0.1:0", 3)
    try:
        assert len({shown_address(one) for one in listeners}) == 1
        assert len({one.fileno() for one in listeners}) == 3
    finally:
        for one in listeners:
            one.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_that_another_shares_already_is_taken(workers: int) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        with pytest.raises(CanaryError, match="cannot listen on"):
            bind(f"127.0.0.1:{other.getsockname()[1]}", workers)
