"""What peers repeat is not read again: lines remembered by their bytes, and whole heads that differ in a few values alone."""

import re
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

T = TypeVar("T")
_MOST_LINES: Final = 512
_MOST_BYTES: Final = 256  # a longer line is read each time
_FIELD_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]++):[ \t]*+([\t\x20-\x7e\x80-\xff]*+)")
_NAMES: Final = dict[bytes, bytes]()  # those that were read as names, in whatever case, and their lower case
_MOST_NAMES: Final = 1_024
_FEW_MISSES: Final = 4
_SELDOM: Final = 64
_COMPILED_AFTER: Final = 32
_MOST_COMPILED_BYTES: Final = 2_048

Kind = re.Pattern[bytes]
"""What an open value may be: each is a whole value of a field, without blanks at its ends, that means nothing to framing."""

WORD: Final = re.compile(rb"[0-9A-Za-z][0-9A-Za-z._-]{0,127}+")
LENGTH: Final = re.compile(rb"[0-9]{1,15}+")
DATE: Final = re.compile(rb"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT")
TAG: Final = re.compile(rb'(?:W/)?+"[!#-~]{0,126}+"')
_ID: Final = re.compile(rb"[0-9A-Za-z][0-9A-Za-z._-]{15,127}+")  # of this length they are seldom seen again
_VARYING: Final = re.compile(rb"[0-9][0-9A-Za-z._-]{0,127}+")


def is_id(value: bytes) -> bool:
    """Whether a value looks like one made for its message alone: it is not worth remembering."""
    return _ID.fullmatch(value) is not None


def kind_of(value: bytes) -> Kind | None:
    """What a value that differs from answer to answer is: an id, a number, a date, a tag. None for those that stay."""
    if _VARYING.fullmatch(value) or is_id(value):
        return WORD
    return DATE if DATE.fullmatch(value) else TAG if TAG.fullmatch(value) else None


def worth_learning(misses: int) -> bool:
    """Whether to make a shape of a head that fits none, the so-manieth in a row: seldom where none ever fits."""
    return misses <= _FEW_MISSES or not misses % _SELDOM


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


def _never(_: bytes) -> None:
    """What a shape that was forgotten finds."""


class Shape:
    """A head as its peer writes it each time: the bytes around the values that it leaves open, and what these may be."""

    __slots__ = ("_kinds", "_last", "_literals", "_match", "_uses", "_whole")

    def __init__(self, literals: Sequence[bytes], kinds: Sequence[Kind]) -> None:
        """`literals`: what stands before, between and behind the open values; all but the first begin with an end of line."""
        self._literals = tuple(literals)
        self._kinds = tuple(kinds)
        self._whole: tuple[tuple[bytes, ...], int] = ((), len(literals[0]))
        self._match: Callable[[bytes], re.Match[bytes] | None] | None = None
        self._uses = 0
        self._last: tuple[bytes, tuple[tuple[bytes, ...], int]] | None = None  # a whole head, and what it matched

    def match(self, data: bytes) -> tuple[tuple[bytes, ...], int] | None:
        """The open values, and where the head ends in `data`; None where it does not begin with a head of this shape."""
        if self._last is not None and data.startswith(self._last[0]):
            return self._last[1]
        if self._match is not None:
            found = self._match(data)
            return (found.groups(), found.end()) if found is not None else None
        literals = self._literals
        if not data.startswith(literals[0]):
            return None
        if len(literals) == 1:
            return self._whole
        values, at = [], len(literals[0])
        for kind, literal in zip(self._kinds, literals[1:], strict=True):
            value = kind.match(data, at)
            if value is None or not data.startswith(literal, value.end()):
                return None
            values.append(value[0])
            at = value.end() + len(literal)
        self._uses += 1
        if self._uses == _COMPILED_AFTER and sum(map(len, literals)) <= _MOST_COMPILED_BYTES:
            self._compile()
        return tuple(values), at

    def retire(self) -> None:
        """Matches nothing from now on and holds nothing: it was forgotten, though connections may still have it."""
        self._literals, self._kinds, self._last, self._match = (), (), None, _never

    def _compile(self) -> None:
        """One expression in place of all steps: it costs as much as hundreds of them, so a shape has to be worth it."""
        expression = re.escape(self._literals[0])
        for kind, literal in zip(self._kinds, self._literals[1:], strict=True):
            expression += b"(" + kind.pattern + b")" + re.escape(literal)
        self._match = re.compile(expression).match
