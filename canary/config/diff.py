"""How two configurations differ, as lines for people; what the file says beside what is in charge."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from canary.config.document import Config


def differences(old: Config, new: Config) -> list[str]:
    """One line for each changed field, `routes.chat.stable: v1 -> v2`; empty where nothing changed."""
    return sorted(_compare("", _plain(old), _plain(new)))


def notes(config: Config, in_charge: Mapping[str, str], by: Mapping[str, str] | None = None) -> list[str]:
    """Where the file's `stable` is not what is in charge; `by` names the decision of a route, where known."""
    lines = []
    for route in config.routes:
        present = in_charge.get(route.name, route.stable)
        if present != route.stable:
            decision = (by or {}).get(route.name)
            reason = f" by decision {decision}" if decision else ""
            lines.append(f"{route.name}: file: {route.stable}, in charge: {present}{reason}")
    return lines


class _Full(msgspec.Struct):
    """Marks a place where nothing stands."""


_ABSENT = _Full()


def _plain(value: Any) -> Any:
    """Structs as mappings with all their fields; lists of named things as mappings by name."""
    if isinstance(value, msgspec.Struct):
        return {f: _plain(getattr(value, f)) for f in value.__struct_fields__}
    if isinstance(value, tuple):
        members = [_plain(v) for v in value]
        if members and all(isinstance(m, dict) and "name" in m for m in members):
            return {m["name"]: {k: v for k, v in m.items() if k != "name"} for m in members}
        return members
    return value


def _compare(path: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(k for k in new if k not in old)]:
            if key != "hash":  # follows from the other fields
                yield from _compare(f"{path}.{key}" if path else key, old.get(key, _ABSENT), new.get(key, _ABSENT))
    elif old is _ABSENT:
        yield f"{path}: added"
    elif new is _ABSENT:
        yield f"{path}: removed"
    elif old != new:
        yield f"{path}: {_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    return "nothing" if value is None or value in ("", [], {}) else str(value)
