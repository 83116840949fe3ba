"""Answers of our own: problems as RFC 9457 JSON."""

from http import HTTPStatus

import msgspec


def problem(status: int, detail: str, *, exchange_id: bytes, keep_alive: bool, to_head: bool = False) -> bytes:
    """A whole answer with that status; `to_head` leaves the body out."""
    title = HTTPStatus(status).phrase
    id_hex = exchange_id.hex()
    body = msgspec.json.encode({"type": "about:blank", "title": title, "status": status, "detail": detail, "exchange": id_hex})
    connection = "" if keep_alive else "connection: close\r\n"
    head = (
        f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\ncontent-length: {len(body)}\r\n"
        f"{connection}x-canary-id: {id_hex}\r\n\r\n"
    )
    return head.encode("latin-1") + (b"" if to_head else body)
