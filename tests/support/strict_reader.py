"""A strict reader of RFC 9112 requests: it takes the one canonical form that a proxy may write, and nothing else."""

import re
from typing import NamedTuple

_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (/[!$-;=?-~]*|\*) HTTP/1\.1")
_FIELD = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)"
)
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::[0-9]{1,5})?")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,14}")
_CHUNK = re.compile(rb"[1-9a-f][0-9a-f]*")
_HOP = {b"keep-alive", b"te", b"trailer", b"expect", b"proxy-connection", b"http2-settings", b"upgrade", b"connection"}


class NotCanonical(Exception):
    """What is wrong with the bytes."""


class StrictRequest(NamedTuple):
    """One request."""

    method: bytes
    target: bytes
    fields: list[tuple[bytes, bytes]]  # names in lower case
    body: bytes
    size: int  # of all its bytes

    def values(self, name: bytes) -> list[bytes]:
        """All values of a field, in order."""
        return [value for key, value in self.fields if key == name]


def read_strictly(data: bytes) -> StrictRequest | None:
    """The request that `data` begins with; None while it is not complete. Raises NotCanonical."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if data and (b"\n" in data.replace(b"\r\n", b"") or b"\0" in data):
            raise NotCanonical(f"no line of a head: {data[:200]!r}")
        return None
    first, *lines = data[:end].split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        raise NotCanonical(f"request line {first!r}")
    fields = []
    for text in lines:
        field = _FIELD.fullmatch(text)
        if field is None:
            raise NotCanonical(f"field line {text!r}")
        fields.append((field[1].lower(), field[2]))
    names = [name for name, _ in fields]
    if names.count(b"host") != 1 or names[0] != b"host" or not _HOST.fullmatch(fields[0][1]):
        raise NotCanonical(f"host: {fields!r}")
    _check_hops(fields)
    body = _body(data, end + 4, fields)
    if body is None:
        return None
    return StrictRequest(line[1], line[2], fields, *body)


def _check_hops(fields: list[tuple[bytes, bytes]]) -> None:
    """Nothing of the client's connection, but a switch of protocols that is asked for whole."""
    hop = sorted((name, value) for name, value in fields if name in _HOP)
    switch = len(hop) == 2 and hop[0] == (b"connection", b"upgrade") and hop[1][0] == b"upgrade"
    if hop and not switch:
        raise NotCanonical(f"hop-by-hop fields: {hop!r}")


def _body(data: bytes, at: int, fields: list[tuple[bytes, bytes]]) -> tuple[bytes, int] | None:
    """The body and where it ends; None while it is not complete."""
    framing = [(name, value) for name, value in fields if name in (b"content-length", b"transfer-encoding")]
    if not framing:
        return b"", at
    if len(framing) > 1:
        raise NotCanonical(f"framing: {framing!r}")
    name, value = framing[0]
    if name == b"content-length":
        if not _LENGTH.fullmatch(value):
            raise NotCanonical(f"content-length {value!r}")
        end = at + int(value)
        return (data[at:end], end) if len(data) >= end else None
    if value != b"chunked":
        raise NotCanonical(f"transfer-encoding {value!r}")
    body = b""
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        size = data[at:end]
        if size == b"0":
            if len(data) < end + 4:
                return None
            if data[end : end + 4] != b"\r\n\r\n":
                raise NotCanonical("a trailer, or no end after the last chunk")
            return body, end + 4
        if not _CHUNK.fullmatch(size):
            raise NotCanonical(f"chunk size {size!r}")
        stop = end + 2 + int(size, 16)
        if len(data) < stop + 2:
            return None
        if data[stop : stop + 2] != b"\r\n":
            raise NotCanonical("a chunk's data without its end")
        body += data[end + 2 : stop]
        at = stop + 2
