"""Field names in whatever case they come: each casing is lowered once, then looked up."""

from typing import Final, Generic, TypeVar

T = TypeVar("T")
_MOST: Final = 1_024  # casings remembered: a peer cannot fill our memory with them


class Names(dict[bytes, T | None], Generic[T]):
    """A mapping by field name; `names[any_casing]` is the value of the lower-case name, None where there is none."""

    def __init__(self, values: dict[bytes, T]) -> None:
        super().__init__(values)
        self._lower = dict(values)

    def __missing__(self, name: bytes) -> T | None:
        value = self._lower.get(name.lower())
        if len(self) < _MOST:
            self[name] = value
        return value
