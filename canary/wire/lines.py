"""Field lines remembered by their bytes: peers repeat most of them, so a head costs one look-up for each line seen before."""

import re
from typing import Final, Generic, TypeVar

T = TypeVar("T")
_MOST_LINES: Final = 512
_MOST_BYTES: Final = 256  # a longer line is read each time
_FIELD_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]++):[ \t]*+([\t\x20-\x7e\x80-\xff]*+)")
_NAMES: Final = dict[bytes, bytes]()  # those that were read as names, in whatever case, and their lower case
_MOST_NAMES: Final = 1_024
_ID_BYTES: Final = 16  # letters and digits of this length are seldom seen again


def is_id(value: bytes) -> bool:
    """Whether a value looks like one made for its message alone: it is not worth remembering."""
    return len(value) >= _ID_BYTES and value.isalnum()


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
