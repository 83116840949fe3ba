"""The usual request head, read without the parser: only lines whose meaning is beyond doubt, each remembered.

Whatever is not plain is left to the parser, and to its word on what is wrong; what is read here reads there alike.
"""

import re
from collections.abc import Container
from typing import Final

from msgspec.structs import replace

from canary.wire.head import AUTHORITY, CONNECTION, FHOST, FOR, FORCE, HOST, LENGTH, PROTO, SPECIAL, Field, RequestHead, apply
from canary.wire.lines import Lines, Shape, is_id, read_field

Known = tuple[int, Field]  # the special field's code, _ORDINARY for any other, _IDLE for one that says what holds anyway
_ORDINARY, _IDLE = -1, -2
_FIRST_LINE: Final = re.compile(rb"(GET|POST|PUT|DELETE|HEAD|PATCH|OPTIONS) ((/[!$-;=@-~]*+)(?:\?[!$-;=?-~]*+)?+) HTTP/1\.1")
_DIGITS: Final = re.compile(rb"[0-9]{1,15}")
_FREE: Final = frozenset((FOR, PROTO, FHOST, FORCE))  # any value will do
_FIRST: Final = Lines[tuple[bytes, bytes, bytes]]()  # method, target, path
_LINES: Final = Lines[Known]()
_first_of: Final = _FIRST.get
_known_of: Final = _LINES.get
_SHAPES: Final[dict[tuple[bytes, ...], "RequestShape"]] = {}
_MOST_SHAPES: Final = 256
_MOST_SHARED_BYTES: Final = 4_096  # a longer head's shape is its connection's alone


def read_plain(data: bytes, max_fields: int) -> RequestHead | None:
    """The head in `data`, which ends with its empty line; None where the parser is to say what it is."""
    lines = data[:-4].split(b"\r\n")
    first = lines.pop(0)
    words = _first_of(first) or _read_first(first)
    if words is None or len(lines) > max_fields:
        return None
    authority = None
    fields: list[Field] = []
    special: dict[int, bytes] = {}
    for line in lines:
        known = _known_of(line) or _read_line(line)
        if known is None:
            return None
        code, field = known
        if code == _ORDINARY:
            fields.append(field)
        elif code == HOST:
            if authority is not None:
                return None
            authority = field[1]
        elif code != _IDLE:
            if code in special:
                return None
            special[code] = field[1]
    if authority is None:
        return None
    head = RequestHead(words[0], words[1], words[2], fields, authority)
    if special:
        apply(head, special)
    return head


def _read_first(line: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Method, target and path of a first line not seen before."""
    match = _FIRST_LINE.fullmatch(line)
    return _FIRST.keep(line, (match[1], match[2], match[3])) if match is not None else None


def _read_line(line: bytes) -> Known | None:
    """A field line not seen before; None where it is not plain."""
    read = read_field(line)
    if read is None:
        return None
    low, name, value = read
    value = value.rstrip(b" \t")
    code = SPECIAL.get(low, _ORDINARY)
    if code != _ORDINARY and code not in _FREE:
        if code == CONNECTION and value.lower() == b"keep-alive":
            code = _IDLE
        elif not (
            (code == HOST and AUTHORITY.fullmatch(value))
            or (code == LENGTH and _DIGITS.fullmatch(value))
            or (code == CONNECTION and value.lower() == b"close")
        ):
            return None
    known = (code, (low, value, b"%b: %b\r\n" % (name, value)))
    return known if is_id(value) else _LINES.keep(line, known)


class RequestShape(Shape):
    """The shape of a client's heads, with one of them read; clients that write alike share it."""

    __slots__ = ("_places", "head")

    def __init__(
        self, literals: tuple[bytes, ...], head: RequestHead, places: tuple[tuple[int, int, bytes, bytes], ...]
    ) -> None:
        """`places`: of each id its number, its field's index and name, and its line up to the id."""
        super().__init__(literals, head.ids)
        self.head = head
        self._places = places
        head.shape = self

    def head_of(self, ids: list[bytes]) -> RequestHead:
        """The head with these ids."""
        if not self._places:
            return self.head
        fields = self.head.fields.copy()
        for number, index, low, start in self._places:
            value = ids[number]
            fields[index] = (low, value, start + value + b"\r\n")
        return replace(self.head, fields=fields, ids=ids)

    def marked(self) -> tuple[RequestHead, list[bytes]]:
        """A head with marks in place of ids, and the marks: bytes that no field can hold."""
        marks = [b"\0%d\0" % number for number in range(len(self._places))]
        return self.head_of(marks), marks

    def holds_id(self, names: Container[bytes]) -> bool:
        """Whether one of these fields is an id."""
        return any(low in names for _, _, low, _ in self._places)


def shape_of(raw: bytes, head: RequestHead, *, plain: bool) -> RequestShape:
    """The shape of a head just read, and the head's place in it; what the parser read stands for itself alone."""
    literals: list[bytes] = []
    places: list[tuple[int, int, bytes, bytes]] = []
    at = 0
    for index, (low, value, line) in enumerate(head.fields if plain else ()):
        found = raw.find(b"\r\n" + line, at) if is_id(value) else -1
        if found >= 0:
            start = found + len(line) - len(value)
            literals.append(raw[at:start])
            places.append((len(places), index, low, line[: -2 - len(value)]))
            head.ids.append(value)
            at = start + len(value)
    literals.append(raw[at:])
    key = tuple(literals)
    if not plain or len(raw) > _MOST_SHARED_BYTES:
        return RequestShape(key, head, tuple(places))
    known = _SHAPES.get(key)
    if known is None:
        if len(_SHAPES) >= _MOST_SHAPES:
            _SHAPES.clear()
        known = _SHAPES[key] = RequestShape(key, head, tuple(places))
    head.shape = known
    return known
