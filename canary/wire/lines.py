"""What peers repeat is not read again: lines remembered by their bytes, and whole heads that differ in nothing but ids."""

import re
from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")
_MOST_LINES: Final = 512
_MOST_BYTES: Final = 256  # a longer line is read each time
_FIELD_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]++):[ \t]*+([\t\x20-\x7e\x80-\xff]*+)")
_NAMES: Final = dict[bytes, bytes]()  # those that were read as names, in whatever case, and their lower case
_MOST_NAMES: Final = 1_024
_ID_BYTES: Final = 16  # letters, digits and dashes of this length are seldom seen again
_MOST_ID_BYTES: Final = 128
_MOST_MEMOS: Final = 64  # of one shape: plans come and go, and so do peers


def is_id(value: bytes) -> bool:
    """Whether a value looks like one made for its message alone: it is not worth remembering."""
    return len(value) >= _ID_BYTES and (value.isalnum() or _is_dashed(value))


def _is_dashed(value: bytes) -> bool:
    return value.replace(b"-", b"").isalnum()


def read_field(line: bytes) -> tuple[bytes, bytes, bytes] | None:
    """A field line's name in lower case, name and value (blanks before it are gone); None where it is none."""
    name, _, value = line.partition(b": ")
    low = _NAMES.get(name)
    if low is not None and value.isalnum():  # the usual id: no expression needs asking
        return low, name, value
    match = _FIELD_LINE.fullmatch(line)
    if match is None:
        return None
    name, value = match[1], match[2]
    low = name.lower()
    if len(_NAMES) < _MOST_NAMES:
        _NAMES[name] = low
    return low, name, value


class Lines(Generic[T]):
    """What lines mean, by their bytes. Full, it forgets everything: what repeats is soon back, what does not is gone."""

    __slots__ = ("_known", "get")

    def __init__(self) -> None:
        self._known: dict[bytes, T] = {}
        self.get = self._known.get  # the hot path's only call

    def keep(self, line: bytes, meaning: T) -> T:
        """Remembers a line, within bounds."""
        if len(line) <= _MOST_BYTES:
            if len(self._known) >= _MOST_LINES:
                self._known.clear()
            self._known[line] = meaning
        return meaning


class Shape:
    """A head as its peer writes it each time: the bytes around its ids, which are letters, digits and dashes."""

    __slots__ = ("_first", "_rest", "_whole", "memo")

    def __init__(self, literals: Sequence[bytes]) -> None:
        """`literals`: what stands before, between and behind the ids; all but the first begin with an end of line."""
        self._first = literals[0]
        self._rest = tuple(literals[1:])
        self._whole: tuple[list[bytes], int] = ([], len(literals[0]))
        self.memo: dict[object, Any] = {}  # what others made of this shape, by their own keys

    def match(self, data: bytes) -> tuple[list[bytes], int] | None:
        """The ids, and where the head ends in `data`; None where it does not begin with a head of this shape."""
        first = self._first
        if not data.startswith(first):
            return None
        if not self._rest:
            return self._whole
        at = len(first)
        ids = []
        for literal in self._rest:
            end = data.find(b"\r\n", at, at + _MOST_ID_BYTES + 2)
            value = data[at:end]
            if not data.startswith(literal, end) or not (value.isalnum() or _is_dashed(value)):
                return None
            ids.append(value)
            at = end + len(literal)
        return ids, at

    def remember(self, key: object, made: T) -> T:
        """Keeps what was made of this shape, within bounds."""
        if len(self.memo) >= _MOST_MEMOS:
            self.memo.clear()
        self.memo[key] = made
        return made
