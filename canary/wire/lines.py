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
_MOST_MEMOS: Final = 16  # of one shape: plans come and go
_FEW_MISSES: Final = 4
_SELDOM: Final = 64


def is_id(value: bytes) -> bool:
    """Whether a value looks like one made for its message alone: it is not worth remembering."""
    return len(value) >= _ID_BYTES and (value.isalnum() or _is_dashed(value))


def worth_learning(misses: int) -> bool:
    """Whether to make a shape of a head that fits none, the so-manieth in a row: seldom where none ever fits."""
    return misses <= _FEW_MISSES or not misses % _SELDOM


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

    __slots__ = ("_after", "_before", "_end", "_id", "_literals", "_single", "_whole", "memo")

    def __init__(self, literals: Sequence[bytes], ids: Sequence[bytes]) -> None:
        """`literals`: what stands before, between and behind the ids; all but the first begin with an end of line."""
        self._literals = tuple(literals)
        self._single = len(ids) == 1
        start = len(literals[0])
        stop = start + len(ids[0]) if ids else start
        # where everything lies as long as a single id keeps its length
        self._before, self._id = slice(0, start), slice(start, stop)
        self._end = stop + len(literals[-1])
        self._after = slice(stop, self._end)
        self._whole: tuple[list[bytes], int] = ([], start)
        self.memo: dict[object, Any] = {}  # what others made of this shape, by their own keys

    def match(self, data: bytes) -> tuple[list[bytes], int] | None:
        """The ids, and where the head ends in `data`; None where it does not begin with a head of this shape."""
        literals = self._literals
        if self._single and data[self._before] == literals[0] and data[self._after] == literals[1]:
            value = data[self._id]
            if value.isalnum():
                return [value], self._end
        if not data.startswith(literals[0]):
            return None
        if len(literals) == 1:
            return self._whole
        ids, at = [], len(literals[0])
        for literal in literals[1:]:
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
