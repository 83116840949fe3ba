"""The usual request head, read without the parser: only lines whose meaning is beyond doubt, each remembered.

Whatever is not plain is left to the parser, and to its word on what is wrong; what is read here reads there alike.
"""

import re
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from canary.wire.form import Field, Form
from canary.wire.head import (
    AUTHORITY,
    CONNECTION,
    FHOST,
    FOR,
    FORCE,
    HOST,
    LENGTH,
    PROTO,
    SPECIAL,
    apply,
)
from canary.wire.heads import RequestHead
from canary.wire.lines import LENGTH as LENGTH_DIGITS
from canary.wire.lines import WORD, Kind, Lines, Shape, is_id, read_field

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
_FORGOTTEN: Final = RequestHead(b"", b"", b"")
_MOST_BYTES: Final = 4_096  # a longer head has no shape


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
    """The shape of a client's heads; clients that write alike share it."""

    __slots__ = ("_head", "_length_at")

    def __init__(self, literals: Sequence[bytes], kinds: Sequence[Kind], *, head: RequestHead, form: Form) -> None:
        """`head`: one of this shape, as it was read."""
        super().__init__(literals, kinds)
        self._length_at = kinds.index(LENGTH_DIGITS) if LENGTH_DIGITS in kinds else -1
        self._head = replace(head, form=form, listed=None if form.open else head.listed)

    def head_of(self, values: tuple[bytes, ...]) -> RequestHead:
        """The head with these values."""
        if not values:
            return self._head
        head = self._head.__copy__()
        head.values = values
        if self._length_at >= 0:
            head.length = int(values[self._length_at])
        return head

    def retire(self) -> None:
        """As any shape; what was made of its form goes with it."""
        super().retire()
        if self._head.form is not None:
            self._head.form.memo.clear()
        self._head = _FORGOTTEN


def shape_of(raw: bytes, head: RequestHead, *, plain: bool) -> RequestShape | None:
    """The shape of a head just read; what the parser read stands for itself alone. None where it is too long for one."""
    if len(raw) > _MOST_BYTES:
        return None
    literals: list[bytes] = []
    kinds: list[Kind] = []
    places: list[tuple[int, int, bytes, bytes]] = []
    at, index, end = 0, 0, raw.find(b"\r\n")
    for line in raw[end + 2 : -4].split(b"\r\n") if plain and len(raw) > end + 4 else ():
        end += 2 + len(line)
        known = _known_of(line) or _read_line(line)
        assert known is not None
        code, (low, value, whole) = known
        if whole[:-2] == line and (code == LENGTH or (code == _ORDINARY and is_id(value))):
            literals.append(raw[at : end - len(value)])
            if code == _ORDINARY:
                places.append((len(kinds), index, low, line[: -len(value)]))
            kinds.append(WORD if code == _ORDINARY else LENGTH_DIGITS)
            at = end
        index += code == _ORDINARY
    literals.append(raw[at:])
    return _shared(tuple(literals), kinds, head=head, places=places)


def _shared(
    literals: tuple[bytes, ...], kinds: list[Kind], *, head: RequestHead, places: list[tuple[int, int, bytes, bytes]]
) -> RequestShape:
    """The shape that all have who write alike. Full, all shapes are forgotten, by the connections too."""
    known = _SHAPES.get(literals)
    if known is None:
        if len(_SHAPES) >= _MOST_SHAPES:
            for shape in _SHAPES.values():
                shape.retire()
            _SHAPES.clear()
        known = _SHAPES[literals] = RequestShape(literals, kinds, head=head, form=Form(head.fields, places))
    return known
