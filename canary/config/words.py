"""What pydantic found wrong, as sentences with places and a guess at what was meant."""

import difflib
from typing import Any, get_args

from pydantic import ValidationError

from canary.config.schema import NOT_YET, NOT_YET_VALUES, FileModel, Section
from canary.config.tree import Path, Places, Problem

_SIMPLE = {
    "int_parsing": "expected a whole number, found {input!r}",
    "int_from_float": "expected a whole number, found {input!r}",
    "float_parsing": "expected a number, found {input!r}",
    "bool_parsing": "expected true or false, found {input!r}",
    "greater_than": "must be greater than {gt}, found {input}",
    "greater_than_equal": "must be at least {ge}, found {input}",
    "less_than": "must be less than {lt}, found {input}",
    "less_than_equal": "must be at most {le}, found {input}",
    "finite_number": "expected a finite number, found {input!r}",
}


def problems_of(error: ValidationError, places: Places) -> list[Problem]:
    """All that a failed validation found; later features are named as such."""
    found = [_problem(detail, places) for detail in error.errors(include_url=False)]
    return [problem for problem in found if problem is not None]


def did_you_mean(word: str, known: list[str]) -> str:
    """`; did you mean 'x'?` or nothing."""
    lower = word.lower()
    close = difflib.get_close_matches(lower, known, n=1, cutoff=0.6)
    close = close or [k for k in known if len(lower) > 2 and (k.startswith(lower) or lower.startswith(k))][:1]
    return f"; did you mean '{close[0]}'?" if close else ""


def section_at(path: Path) -> type[Section] | None:
    """The model of the mapping that stands at a path of the file."""
    here: Any = FileModel
    for part in path:
        # inside a dict or a list every member has the same model
        here = _field(here, part) if isinstance(here, type) and issubclass(here, Section) else _member(here)
        if here is None:
            return None
    return here if isinstance(here, type) and issubclass(here, Section) else None


def keys_of(section: type[Section]) -> list[str]:
    """The keys a section knows, as they are written in the file."""
    return [field.alias or name for name, field in section.model_fields.items()]


def _field(section: type[Section], part: str | int) -> Any:
    for name, field in section.model_fields.items():
        if (field.alias or name) == part:
            return _without_none(field.annotation)
    return None


def _without_none(annotation: Any) -> Any:
    """`Section | None` is that section to whoever writes the file."""
    parts = [part for part in get_args(annotation) if part is not type(None)]
    return parts[0] if len(parts) == 1 and isinstance(parts[0], type) else annotation


def _member(annotation: Any) -> Any:
    arguments = get_args(annotation)
    return arguments[-1] if arguments else None


def _problem(detail: Any, places: Places) -> Problem | None:
    kind: str = detail["type"]
    path: Path = detail["loc"]
    at_key = kind in {"extra_forbidden", "missing"} or path[-1:] == ("[key]",)
    if path[-1:] == ("[key]",):
        path = path[:-1]
    message = _message(kind, path, detail)
    if kind == "missing":
        place = places.of_key(path[:-1])
        if (*path[:-1], "policy") in places.keys:
            return None  # a version that is a policy has no upstream: said once, by its own words
    else:
        place = places.of_key(path) if at_key else places.of_value(path)
    where = ".".join(str(p) for p in path)
    return Problem(line=place[0], column=place[1], message=f"{where}: {message}" if where else message)


def _message(kind: str, path: Path, detail: Any) -> str:
    given, context = detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(path)
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return _choice(path, given, context["expected"])
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        return f"expected a mapping, found {_shown(given)}"
    if kind == "list_type":
        return f"expected a list, found {_shown(given)}"
    if kind in {"too_short", "too_long"}:
        return f"has {len(given)} entries, {_bounds(kind, context)}"
    if kind in {"int_type", "float_type", "bool_type"}:
        expected = {"int_type": "a whole number", "float_type": "a number", "bool_type": "true or false"}[kind]
        return f"expected {expected}, found {_shown(given)}"
    pattern = _SIMPLE.get(kind)
    return pattern.format(input=given, **context) if pattern else str(detail["msg"])


def _unknown(path: Path) -> str:
    section = section_at(path[:-1])
    key = str(path[-1])
    if section is None:
        return "unknown key"
    later = NOT_YET.get(section, {}).get(key)
    if later:
        return f"not supported yet: {later}"
    known = keys_of(section)
    guess = did_you_mean(key, known)
    return f"unknown key{guess}" if guess else f"unknown key; known here: {', '.join(known)}"


def _choice(path: Path, given: object, expected: str) -> str:
    section = section_at(path[:-1])
    if section is not None and isinstance(given, str):
        later = NOT_YET_VALUES.get((section, str(path[-1]), given))
        if later:
            return f"not supported yet: {later}"
    guess = (
        did_you_mean(given, [w.strip(" '") for w in expected.replace(" or ", ",").split(",")]) if isinstance(given, str) else ""
    )
    return f"expected {expected}, found {_shown(given)}{guess}"


def _bounds(kind: str, context: Any) -> str:
    return (
        f"at least {context['min_length']} is needed" if kind == "too_short" else f"at most {context['max_length']} are allowed"
    )


def _shown(given: object) -> str:
    if given is None:
        return "nothing"
    if isinstance(given, list):
        return "a list"
    return "a mapping" if isinstance(given, dict) else repr(given)
