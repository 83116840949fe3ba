"""Where a value of an answer is read: the grammar of `header:x-cost`, `json:/usage/score`, `fact:latency` and `body`."""

import re
from enum import StrEnum
from typing import Final

import msgspec


class Place(StrEnum):
    """Which part of an answer holds the value."""

    HEADER = "header"
    JSON = "json"
    FACT = "fact"
    BODY = "body"


class Source(msgspec.Struct, frozen=True):
    """One parsed source."""

    place: Place
    name: str = ""  # of the header (lower case) or fact
    path: tuple[str, ...] = ()  # the JSON pointer's tokens; none: the whole document
    status: str = ""  # of the fact `status`: "404", or "4" for all 4xx

    @property
    def reads_body(self) -> bool:
        """True where the answer's body must have been captured."""
        return self.place in {Place.JSON, Place.BODY}


FACTS: Final = {
    "latency": "ms",
    "ttfb": "ms",
    "bytes": "B",
    "status": "",
    "client_error": "",
    "abandoned": "",
    "retried": "",
    "error_event": "",
}
"""What is known of every answer, with its unit; those without one are 0 or 1."""

CREDENTIALS: Final = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "x-auth-token",
        "x-amz-security-token",
        "openai-organization",
        "openai-project",
    }
)
"""What a client shows to be let in: none of it reaches a candidate unless its version says so."""

NEVER_READ: Final = CREDENTIALS | {"proxy-authenticate", "cookie", "cookie2", "set-cookie", "set-cookie2"}
_SECRET: Final = re.compile(r"(?:.*-)?(?:authorization|api-?key|key|token|secret|password|cookie)")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_STATUS: Final = re.compile(r"status=([1-5])(xx|[0-9]{2})")
_LONGEST: Final = 512


def read_source(text: str) -> Source:
    """The source of a metric's values; ValueError says what was found and expected."""
    place, colon, rest = text.partition(":")
    if len(text) > _LONGEST:
        raise ValueError(f"a source has at most {_LONGEST} characters, found {len(text)}")
    if colon and place == Place.HEADER:
        return Source(Place.HEADER, name=_header(rest))
    if colon and place == Place.JSON:
        return Source(Place.JSON, path=pointer(rest))
    if colon and place == Place.FACT:
        return _fact(rest)
    raise ValueError(f"expected header:NAME, json:/POINTER or fact:NAME, found {text!r}")


def read_text_source(text: str) -> Source:
    """The source of an answer's text; ValueError says what was found and expected."""
    if text == Place.BODY:
        return Source(Place.BODY)
    if not text.startswith("json:") or len(text) > _LONGEST:
        raise ValueError(f"expected json:/POINTER or body, found {text!r}")
    return Source(Place.JSON, path=pointer(text[5:]))


def pointer(text: str) -> tuple[str, ...]:
    """The tokens of a JSON pointer (RFC 6901); ValueError where it is none."""
    if not text:
        return ()
    if not text.startswith("/"):
        raise ValueError(f"a JSON pointer begins with /, found {text!r}")
    if re.search(r"~(?![01])", text):
        raise ValueError(f"in a JSON pointer ~0 stands for ~ and ~1 for /, found {text!r}")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text[1:].split("/"))


def looks_secret(lower: str) -> bool:
    """Whether a header's name, in lower case, says that its value is secret."""
    return _SECRET.fullmatch(lower) is not None


def carries_secrets(lower: str) -> bool:
    """Whether a header of that name, in lower case, is neither read as a metric nor written down."""
    return lower in NEVER_READ or looks_secret(lower)


def _header(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"not a header's name: {name!r}")
    lower = name.lower()
    if carries_secrets(lower):
        raise ValueError(f"{lower} carries secrets and is never read")
    return lower


def _fact(text: str) -> Source:
    found = _STATUS.fullmatch(text)
    if found is not None:
        return Source(Place.FACT, name="status", status=found[1] if found[2] == "xx" else found[1] + found[2])
    if text.startswith("status"):
        raise ValueError(f"a status is asked for by its number or class, fact:status=404 or fact:status=4xx, found {text!r}")
    if text not in FACTS:
        raise ValueError(f"unknown fact {text!r}; facts: {', '.join(FACTS)}")
    return Source(Place.FACT, name=text)
