"""Heads as values, once they were read: a request's with the form that it shares with others, an answer's.

Their classes stay with msgspec, which the compiled build cannot take in: nothing here is compiled.
"""

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

T = TypeVar("T")
Field = tuple[bytes, bytes, bytes]
"""Lower-case name, value, and the whole line as the client cased it, with its CRLF."""
Named = tuple[bytes, bytes]
Note = tuple[str, str]
"""How a field is written down."""

NO_BODY: Final = 0
BY_LENGTH: Final = 1
CHUNKED: Final = 2
UNTIL_CLOSE: Final = 3
TUNNEL: Final = 4
_MOST_MEMOS: Final = 16  # of one form: plans come and go


class Form:
    """What the heads of one shape have in common; it knows none of them, so that no circle keeps memory alive."""

    __slots__ = ("_fields", "_places", "memo")

    def __init__(self, fields: list[Field], places: list[tuple[int, int, bytes, bytes]]) -> None:
        """`places`: of each open field the value's number, the field's index and name, and its line up to the value."""
        self._fields = fields
        self._places = places
        self.memo: dict[object, Any] = {}  # what others made of this form, by their own keys

    def fields_of(self, values: Sequence[bytes]) -> list[Field]:
        """The fields with these values in their places."""
        fields = self._fields.copy()
        for number, index, low, start in self._places:
            value = values[number]
            fields[index] = (low, value, start + value + b"\r\n")
        return fields

    @property
    def open(self) -> bool:
        """Whether there is any open field."""
        return bool(self._places)

    def opens(self, names: Container[bytes]) -> bool:
        """Whether the value of one of these fields is open."""
        return any(low in names for _, _, low, _ in self._places)

    def remember(self, key: object, made: T) -> T:
        """Keeps what was made of this form, within bounds."""
        if len(self.memo) >= _MOST_MEMOS:
            self.memo.clear()
        self.memo[key] = made
        return made


class RequestHead(msgspec.Struct, gc=False):
    """A checked request head: everything hop-by-hop and all framing is out of `fields`."""

    method: bytes
    target: bytes  # origin-form, or `*`
    path: bytes  # of the target, without query
    listed: list[Field] | None = []  # None until somebody asks for the fields of a head of a known form
    authority: bytes = b""  # of the Host field or the absolute target
    length: int = 0  # of the body; 0 without one, -1 where it is chunked
    chunked: bool = False
    expects: bool = False  # 100-continue
    http10: bool = False
    keep_alive: bool = True
    force: bytes = b""  # value of x-canary-force, never forwarded
    forwarded_for: bytes = b""
    forwarded_proto: bytes = b""
    forwarded_host: bytes = b""
    upgrade: bytes = b""  # the protocol asked for
    form: Form | None = None  # shared by the heads of clients that repeat themselves
    values: Sequence[bytes] = ()  # what stands in the places that the form leaves open

    if TYPE_CHECKING:

        def __copy__(self) -> "RequestHead": ...

    @property
    def fields(self) -> list[Field]:
        """All fields that go on, in their order."""
        listed = self.listed
        if listed is None:
            assert self.form is not None
            listed = self.listed = self.form.fields_of(self.values)
        return listed

    def find(self, name: bytes) -> bytes | None:
        """The first value of the field with that lower-case name."""
        for low, value, _ in self.fields:
            if low == name:
                return value
        return None

    @property
    def host(self) -> bytes:
        """The authority's host in lower case, without its port."""
        authority = self.authority.lower()
        if authority.startswith(b"["):
            return authority[: authority.find(b"]") + 1]
        return authority.partition(b":")[0]


class AnswerHead(msgspec.Struct, gc=False):
    """A checked answer head, without hop-by-hop fields and without its last empty line."""

    status: int
    fields: tuple[Named, ...] = ()  # as the pattern finds them, in order
    noted: tuple[Note, ...] = ()  # what may be written down of it
    lines: bytes = b""
    framing: int = NO_BODY
    length: int = 0
    reusable: bool = True
    keep_alive_s: int = -1
