"""Field lines remembered by their bytes: peers repeat most of them, so a head costs one look-up for each line seen before."""

from typing import Final, Generic, TypeVar

T = TypeVar("T")
_MOST_LINES: Final = 512
_MOST_BYTES: Final = 256  # a longer line is read each time


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
