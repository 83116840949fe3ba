"""Looking into a tree that may hold anything: what has another shape than expected is passed over, as the schema says so."""

from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")


def mapping(value: Any) -> dict[str, Any]:
    """The mapping, or an empty one."""
    return value if isinstance(value, dict) else {}


def listing(value: Any) -> list[Any]:
    """The list, or an empty one."""
    return value if isinstance(value, list) else []


def attempt(parse: Callable[[str], _T], value: Any) -> _T | None:
    """The parsed value, or None where it is not even text of that kind."""
    if not isinstance(value, str):
        return None
    try:
        return parse(value)
    except ValueError:
        return None
