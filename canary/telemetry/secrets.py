"""What never enters a log line: fields that hold credentials, and passwords inside addresses."""

import re
from typing import Any, Final

HIDDEN: Final = "[hidden]"
_NAMES: Final = re.compile(
    r"(^|[_\-.])(authorization|cookie|token|password|passwd|secret|api[_\-]?key|apikey|credential|dsn)s?([_\-.]|$)|_url$",
    re.IGNORECASE,
)
_USERINFO: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.\-]*://)(?P<user>[^\s:/@?#]*):[^\s/@]*@", re.IGNORECASE)
_PAIRS: Final = re.compile(r"\b(password|passwd|sslpassword)\s*=\s*('[^']*'|\S+)", re.IGNORECASE)
_BEARER: Final = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=\-]{6,}", re.IGNORECASE)
_DEPTH: Final = 6


def without_secrets(text: str) -> str:
    """The text with passwords of addresses, `password=...` and bearer words replaced."""
    text = _USERINFO.sub(rf"\g<scheme>\g<user>:{HIDDEN}@", text)
    text = _PAIRS.sub(rf"\1={HIDDEN}", text)
    return _BEARER.sub(rf"\1 {HIDDEN}", text)


def hide(fields: dict[str, Any]) -> dict[str, Any]:
    """A copy of a log line's fields that is safe to write."""
    return {name: _hidden(name, value, _DEPTH) for name, value in fields.items()}


def _hidden(name: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value  # counts such as `output_tokens` are no secrets
    if _NAMES.search(name):
        return without_secrets(value) if name.endswith("_url") and isinstance(value, str) else HIDDEN
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, dict):
        return {str(k): _hidden(str(k), v, depth - 1) for k, v in value.items()} if depth else HIDDEN
    if isinstance(value, list | tuple):
        return [_hidden("", item, depth - 1) for item in value] if depth else HIDDEN
    return without_secrets(str(value))
