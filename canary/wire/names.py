"""Field names in whatever case they come: each casing is lowered once, then looked up."""

from typing import Final, Generic, TypeVar

T = TypeVar("T")
_MOST: Final = 1_024  # casings remembered: a peer cannot fill our memory with them


class Names(Generic[T]):
    """A mapping by field name; `names[any_casing]` is the value of the lower-case name, None where there is none."""

    __slots__ = ("_lower", "_seen")

    def __init__(self, values: dict[bytes, T]) -> None:
        self._lower = dict(values)
        self._seen: dict[bytes, T | None] = dict(values)

    def __getitem__(self, name: bytes) -> T | None:
        seen = self._seen
        if name in seen:
            return seen[name]
        value = self._lower.get(name.lower())
        if len(seen) < _MOST:
            seen[name] = value
        return value

    def values(self) -> list[T]:
        """All values."""
        return list(self._lower.values())
