"""JSON Schema of canary.yaml, for editors."""

from typing import Any

from canary.config.schema import FileModel


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the file as people write it."""
    schema = _as_written(FileModel.model_json_schema(by_alias=True, mode="validation"))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "canary.yaml"}


def _as_written(schema: Any) -> Any:
    """Without defaults in our own units (basis points, seconds): an editor would offer them as what to write."""
    if isinstance(schema, list):
        return [_as_written(member) for member in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _as_written(value) for key, value in schema.items()}
    default = schema.get("default")
    spelled = schema.get("type") not in {"integer", "number", "boolean"} and not isinstance(default, str | bool | None)
    if isinstance(default, dict | list) or spelled:
        kept.pop("default", None)
    return kept
