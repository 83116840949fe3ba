"""What request heads of one shape have in common: their fields, and what was made of them."""

from collections.abc import Container, Sequence
from typing import Any, Final, TypeVar

T = TypeVar("T")
Field = tuple[bytes, bytes, bytes]
"""Lower-case name, value, and the whole line as the client cased it, with its CRLF."""

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
