"""Every setting of canary.yaml stands in docs/configuration.md."""

import re
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from canary.config import schema
from tests.support.source_tree import REPOSITORY

GUIDE = REPOSITORY / "docs" / "configuration.md"


def models() -> dict[str, type[BaseModel]]:
    """Every section of the file, by its class's name."""
    found = {name: value for name, value in vars(schema).items() if isinstance(value, type) and issubclass(value, BaseModel)}
    return {name: model for name, model in found.items() if model.__module__ == schema.__name__ and model.model_fields}


def below(annotation: Any) -> Iterator[type[BaseModel]]:
    """The sections that a field's type speaks of, however wrapped."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from below(part)


def keys() -> set[str]:
    """Every key that the file may hold, by the name that people write."""
    return {field.alias or name for model in models().values() for name, field in model.model_fields.items()}


def test_the_models_hang_together() -> None:
    named = {inner for model in models().values() for field in model.model_fields.values() for inner in below(field.annotation)}
    roots = set(models().values()) - named
    assert len(roots) == 1, f"sections that no other section holds: {sorted(model.__name__ for model in roots)}"
    assert len(keys()) >= 30


def test_every_setting_is_documented() -> None:
    assert GUIDE.exists(), "docs/configuration.md is missing"
    told = set(re.findall(r"[a-z_0-9]+", " ".join(re.findall(r"`([^`\n]+)`", GUIDE.read_text(encoding="utf-8")))))
    assert sorted(keys() - told) == []
