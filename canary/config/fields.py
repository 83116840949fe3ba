"""Types of single fields: each reads the text that stands in the file, and says what it expected."""

import ipaddress
import re
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from canary.config import units
from canary.observe.sources import Place, carries_secrets, looks_secret, read_source, read_text_source
from canary.split.spec import HeaderRule, SecretRef, UnitSpec
from canary.terms import UnitSource

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_COOKIE: Final = _TOKEN
_METRIC: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
OFF: Final = "off"
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FRAMING: Final = {
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
}


_UNSEEN: Final = _FRAMING | {
    "proxy-connection",
    "http2-settings",
    "x-canary-force",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
}
"""What is taken out of a request before its route is looked for: nothing could ever be found there, or written down."""


def text_of(value: object, expected: str) -> str:
    """The scalar as text; ValueError where something else stands."""
    if not isinstance(value, str):
        found = {list: "a list", dict: "a mapping", type(None): "nothing"}.get(type(value), repr(value))
        raise ValueError(f"expected {expected}, found {found}")  # noqa: TRY004 - pydantic catches ValueError only
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"a name has 1 to 63 letters, digits, '.', '_' or '-', found {value!r}")
    return value


def _listen(value: object) -> str:
    text = text_of(value, "an address such as 127.0.0.1:8080")
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    bracketed = bare != host
    if not port.isascii() or not port.isdigit() or int(port) > 65_535 or not bare or (":" in bare) is not bracketed:
        raise ValueError(f"expected an address such as 127.0.0.1:8080 or [::1]:8080, found {text!r}")
    return text


def is_loopback(listen: str) -> bool:
    """True where only this machine can connect to the address."""
    host = listen.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _upstream(value: object) -> str:
    text = text_of(value, "an address such as http://127.0.0.1:9001")
    bare = re.sub("//.*@", "//[hidden]@", text, flags=re.DOTALL)  # what is wrong may well hold a password
    wrong = f"expected an address such as http://127.0.0.1:9001 or https://host/base, found {re.split('[?#]', bare)[0]!r}"
    if any(c <= " " or c >= "\x7f" for c in text):
        raise ValueError(wrong)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(wrong) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise ValueError(wrong)
    if parts.username is not None or parts.password is not None:
        raise ValueError("an upstream's address holds no credentials: set them as a header with {env: NAME} or {file: PATH}")
    if "?" in text or "#" in text:
        raise ValueError("an upstream's address has no query and no fragment")
    return text.rstrip("/")


def _database(value: object) -> str:
    text = text_of(value, "'embedded' or postgresql://user@host/database")
    if text != "embedded" and not text.startswith(("postgresql://", "postgres://")):
        shown = f", found {text!r}" if text.isalnum() else ""  # anything more may hold a password
        raise ValueError(f"expected 'embedded' or postgresql://user@host/database{shown}")
    return text


def _rooted(value: object) -> str:
    text = text_of(value, "a path that begins with /")
    if not text.startswith("/") or any(c <= " " or c >= "\x7f" for c in text) or "?" in text or "#" in text:
        raise ValueError(f"a path begins with / and has no blanks, query, fragment or non-ASCII letters, found {text!r}")
    return text


def _secret(value: object) -> SecretRef:
    if isinstance(value, SecretRef):
        return value
    wrong = "a secret is a reference, {env: NAME} or {file: PATH}; its value never stands in this file"
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(wrong)
    ((kind, where),) = value.items()
    if kind == "env" and isinstance(where, str) and _VARIABLE.fullmatch(where):
        return SecretRef(env=where)
    if kind == "file" and isinstance(where, str) and where:
        return SecretRef(file=where)
    raise ValueError(wrong)


def header_name(name: str) -> str:
    """A header's name in lower case; ValueError where it is none, or belongs to the framing."""
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"not a header's name: {name!r}")
    return name.lower()


def seen_header(name: str) -> str:
    """A header's name in lower case by which requests can be told apart; ValueError where it is none of that kind."""
    lower = header_name(name)
    if lower in _UNSEEN:
        raise ValueError(f"{lower} is canary's own on the way: requests cannot be told apart by it")
    return lower


def recorded_header(name: str, *, of_request: bool) -> str:
    """A header's name in lower case that can be written down; ValueError where it never is."""
    lower = header_name(name)
    if carries_secrets(lower):
        raise ValueError(f"{lower} carries secrets and is never recorded")
    if of_request and lower in _UNSEEN:
        raise ValueError(f"{lower} is canary's own on the way and is never recorded")
    return lower


def header_rule(name: str, value: object) -> HeaderRule:
    """One entry of a version's `headers`: text, a secret's reference, or null to remove it."""
    lower = header_name(name)
    if lower in _FRAMING:
        raise ValueError(f"{lower} is set by canary itself")
    if value is None:
        return HeaderRule(name=lower)
    if isinstance(value, dict):
        return HeaderRule(name=lower, secret=_secret(value))
    text = text_of(value, "text, {env: NAME}, {file: PATH} or null")
    if looks_secret(lower):
        raise ValueError(f"{lower} is a secret: write {{env: NAME}} or {{file: PATH}}, a value here would be published")
    if not text:
        raise ValueError("an empty value: null removes a header")
    if not text.isprintable():  # as the workers ask of it
        raise ValueError("a header's value has no control characters, tabs and odd blanks included")
    return HeaderRule(name=lower, value=text)


def _unit(value: object) -> UnitSpec:
    wrong = "expected request, {header: NAME} or {cookie: NAME}"
    if isinstance(value, UnitSpec):
        return value
    if isinstance(value, str):
        kind, _, name = value.partition(":")
        if kind.strip() == "request" and not name:
            return UnitSpec()
        value = {kind.strip(): name.strip()}
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(wrong)
    ((source, name),) = value.items()
    if not isinstance(name, str) or source not in {"header", "cookie"}:
        raise ValueError(wrong)
    if source == "header":
        return UnitSpec(source=UnitSource.HEADER, name=seen_header(name))
    if not _COOKIE.fullmatch(name):
        raise ValueError(f"not a cookie's name: {name!r}")
    return UnitSpec(source=UnitSource.COOKIE, name=name)


def _text(value: object) -> str:
    return text_of(value, "text")


def _share(value: object) -> int:
    return value if isinstance(value, int) else units.share_bp(text_of(value, "a share such as 5%"))


def _duration(value: object) -> float:
    return value if isinstance(value, float) else units.seconds(text_of(value, "a duration such as 30s"))


def _duration_or_off(value: object) -> float:
    return 0.0 if value == OFF else _duration(value)


def _size(value: object) -> int:
    return value if isinstance(value, int) else units.size_bytes(text_of(value, "a size such as 1MiB"))


def _linear(value: object) -> tuple[float, float]:
    return value if isinstance(value, tuple) else units.linear(text_of(value, "a margin such as 1.5x + 0.1pp"))


def _ratio(value: object) -> float:
    return value if isinstance(value, float) else units.ratio(text_of(value, "a relative increase such as 10%"))


def _ratio_or_off(value: object) -> float | None:
    return None if value == OFF or value is None else _ratio(value)


def _metric_name(value: str) -> str:
    if not _METRIC.fullmatch(value):
        raise ValueError(f"a metric's name has 1 to 32 of a-z, 0-9 and _ and begins with a letter, found {value!r}")
    return value


def _source(value: object) -> str:
    text = text_of(value, "header:NAME, json:/POINTER or fact:NAME")
    source = read_source(text)
    return f"header:{source.name}" if source.place is Place.HEADER else text


def _text_source(value: object) -> str:
    text = text_of(value, "json:/POINTER, body or off")
    if text != OFF:
        read_text_source(text)
    return text


def _limit(value: object) -> units.Limit:
    return value if isinstance(value, units.Limit) else units.limit(text_of(value, "a limit such as 2%, 1.5s or 0.01"))


def _margin(value: object) -> units.Margin:
    return value if isinstance(value, units.Margin) else units.margin(text_of(value, "a margin such as 1.02x"))


def _margin_or_off(value: object) -> units.Margin | str:
    return OFF if value == OFF else _margin(value)


def _positive(value: object) -> float:
    return value if isinstance(value, float) else units.positive(text_of(value, "a finite number above 0"))


def _net_loss(value: object) -> float:
    return value if isinstance(value, float) else units.net_loss(text_of(value, "a share of pairs such as 0.05"))


def _net_loss_or_off(value: object) -> float | str:
    return OFF if value == OFF else _net_loss(value)


def _spelled(pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": list(examples)})


_SECRET_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"env": {"type": "string"}, "file": {"type": "string"}},
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}

Text = Annotated[str, BeforeValidator(_text)]
Name = Annotated[str, BeforeValidator(_text), AfterValidator(_name)]
Listen = Annotated[str, BeforeValidator(_listen), _spelled(r"^.+:\d{1,5}$", "127.0.0.1:8080")]
Upstream = Annotated[str, BeforeValidator(_upstream), _spelled(r"^https?://", "http://127.0.0.1:9001")]
Database = Annotated[str, BeforeValidator(_database), _spelled(r"^(embedded$|postgres(ql)?://)", "embedded")]
RootedPath = Annotated[str, BeforeValidator(_rooted), _spelled("^/", "/v1/chat/completions")]
Secret = Annotated[SecretRef, BeforeValidator(_secret), WithJsonSchema(_SECRET_SCHEMA)]
HeaderValue = Annotated[Any, WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "null"}, _SECRET_SCHEMA]})]
_UNIT_OBJECT: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"header": {"type": "string"}, "cookie": {"type": "string"}},
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}
Unit = Annotated[UnitSpec, BeforeValidator(_unit), WithJsonSchema({"anyOf": [{"const": "request"}, _UNIT_OBJECT]})]
Share = Annotated[int, BeforeValidator(_share), _spelled(r"^\d+(\.\d{1,2})?\s*%$", "5%", "0.25%")]
Duration = Annotated[
    float,
    BeforeValidator(_duration),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": r"^(\d+(\.\d+)?\s*(ms|s|m|h|d))+$"}, {"const": 0}], "examples": ["30s", "5m"]}
    ),
]
DurationOrOff = Annotated[
    float,
    BeforeValidator(_duration_or_off),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": r"^(off|(\d+(\.\d+)?\s*(ms|s|m|h|d))+)$"}, {"const": 0}], "examples": ["10m"]}
    ),
]
Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": r"^\d+(\.\d+)?\s*([kKMG]i?)?B$"}]}),
]
Linear = Annotated[tuple[float, float], BeforeValidator(_linear), _spelled(r"^\d+(\.\d+)?\s*(x|pp)", "1.5x + 0.1pp", "2x")]
Ratio = Annotated[float, BeforeValidator(_ratio), _spelled(r"^\d+(\.\d+)?\s*%$", "10%")]
RatioOrOff = Annotated[float | None, BeforeValidator(_ratio_or_off), _spelled(r"^(\d+(\.\d+)?\s*%|off)$", "25%", "off")]
MetricName = Annotated[str, BeforeValidator(_text), AfterValidator(_metric_name)]
ValueSource = Annotated[str, BeforeValidator(_source), _spelled("^(header|json|fact):", "json:/usage/score", "header:x-cost")]
TextSource = Annotated[
    str, BeforeValidator(_text_source), _spelled("^(json:.*|body|off)$", "json:/choices/0/message/content", "body", "off")
]
_MARGIN: Final = r"(\+\s*)?\d+(\.\d+)?\s*(x|pp|$)"
Margin = Annotated[units.Margin, BeforeValidator(_margin), _spelled(f"^{_MARGIN}", "1.02x", "1.1x + 0.2pp", "+ 0.005")]
MarginOrOff = Annotated[units.Margin | str, BeforeValidator(_margin_or_off), _spelled(f"^(off$|{_MARGIN})", "1.1x", "off")]
_LIMIT: Final[dict[str, Any]] = {"type": "string", "pattern": r"^\d+(\.\d+)?\s*(%|ms|s|m|h)$", "examples": ["2%", "1.5s"]}
LimitValue = Annotated[units.Limit, BeforeValidator(_limit), WithJsonSchema({"anyOf": [_LIMIT, {"type": "number"}]})]
_NUMBER_SCHEMA: Final[dict[str, Any]] = {"type": "number", "exclusiveMinimum": 0}
Positive = Annotated[float, BeforeValidator(_positive), WithJsonSchema(_NUMBER_SCHEMA)]
_NET_LOSS: Final[dict[str, Any]] = {"type": "number", "minimum": 0, "exclusiveMaximum": 1}
NetLoss = Annotated[float, BeforeValidator(_net_loss), WithJsonSchema(_NET_LOSS)]
NetLossOrOff = Annotated[
    float | str, BeforeValidator(_net_loss_or_off), WithJsonSchema({"anyOf": [_NET_LOSS, {"const": "off"}]})
]
