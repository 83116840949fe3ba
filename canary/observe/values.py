"""What a route measures of one answer: the raw values of its metrics, and the digest of its text.

Nothing is judged here. A value is a finite number of any sign, None where the answer has none, NaN where what stands in its
place is no number, and UNTOLD where nobody can tell any more, because we did not keep what it stood in.
"""

import math
import re
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

from canary.observe.content import NOTHING, Captured, Content, at
from canary.observe.outcome import Outcome
from canary.observe.sources import Place, Source, read_source, read_text_source
from canary.terms import Ending, Measures

UNTOLD: Final = math.inf
"""The body was longer than what is captured, packed in a way we cannot read, or left out while the disk was slow."""

DIGEST_BYTES: Final = 8
_NO_NUMBER: Final = math.nan
_ANSWER: Final = b"canary-answer"
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?")
_WORDS: Final = {"true": 1.0, "false": 0.0}
_CHAT: Final = ("choices", "0", "message", "content")
_OTHER_CHATS: Final = (
    ("content", "0", "text"),
    ("candidates", "0", "content", "parts", "0", "text"),
    ("output", "0", "content", "0", "text"),
)
"""Where other language models say what a chat completion says in its message."""


class Reader:
    """Reads what one route measures; made once, as sources are parsed."""

    __slots__ = ("_sources", "_text", "measures", "names", "reads_text", "reads_values")

    def __init__(self, measures: Measures) -> None:
        self.measures = measures
        self.names = tuple(metric.name for metric in measures.metrics)
        self._sources = tuple(read_source(metric.source) for metric in measures.metrics)
        self._text = read_text_source(measures.diversity) if measures.diversity else None
        self.reads_values = bool(self._sources)
        self.reads_text = self._text is not None

    def values(self, content: Content, outcome: Outcome) -> tuple[float | None, ...]:
        """Values in the order of the measures' metrics."""
        return tuple([_value(source, outcome, content) for source in self._sources])

    def digest(self, content: Content, outcome: Outcome) -> bytes:
        """Of the answer's text; empty where its diversity is not guarded, or it is not whole. Of a stream it costs most."""
        return b"" if self._text is None else _digest(self._text, outcome, content)


@lru_cache(maxsize=256)
def reader_of(measures: Measures) -> Reader:
    """The one reader of these measures."""
    return Reader(measures)


def number_of(text: str) -> float:
    """A plain decimal number, or true or false; NaN for anything else: "1,5", "inf", "5 USD"."""
    stripped = text.strip()
    if _NUMBER.fullmatch(stripped) is None:
        return _WORDS.get(stripped.lower(), _NO_NUMBER)
    value = float(stripped)
    return value if math.isfinite(value) else _NO_NUMBER


def _value(source: Source, outcome: Outcome, content: Content) -> float | None:
    match source.place:
        case Place.HEADER:
            found = [value for name, value in content.side.headers if name == source.name]
            return number_of(found[0]) if len(found) == 1 else _NO_NUMBER if found else None
        case Place.FACT:
            return _fact(source, outcome, content.side)
        case _:
            return _json_value(source.path, outcome, content)


def _json_value(path: tuple[str, ...], outcome: Outcome, content: Content) -> float | None:
    if content.is_stream:
        found = content.last(path)
    else:
        document = content.document()
        if document is NOTHING and not content.gone and content.raw:
            # what calls itself a good answer and is no JSON has no readable value; an error page has none at all
            whole = outcome.ending is Ending.WHOLE and 200 <= outcome.status < 300
            return _NO_NUMBER if whole else None
        found = at(document, path)
    if found is NOTHING:
        return UNTOLD if content.gone else None
    return _number(found)


def _number(found: Any) -> float | None:
    if found is None:
        return None
    if isinstance(found, str):
        return number_of(found)
    if not isinstance(found, bool | int | float):
        return _NO_NUMBER
    try:
        value = float(found)
    except OverflowError:  # an integer of hundreds of digits
        return _NO_NUMBER
    return value if math.isfinite(value) else _NO_NUMBER


def _fact(source: Source, outcome: Outcome, side: Captured) -> float | None:
    match source.name:
        case "latency":
            return outcome.latency_us / 1000 if outcome.latency_us >= 0 else None
        case "ttfb":
            return outcome.ttfb_us / 1000 if outcome.ttfb_us >= 0 else None
        case "bytes":
            return float(outcome.response_bytes)
        case "status":
            return float(str(outcome.status).startswith(source.status))
        case "client_error":
            return float(outcome.client_error)
        case "abandoned":
            return float(outcome.left)
        case "retried":
            return float(side.attempts > 1)
        case _:
            return float(outcome.error_event)


def _digest(source: Source, outcome: Outcome, content: Content) -> bytes:
    """Of the text, or of the whole body where no text is found: an answer that ended well always has one."""
    if outcome.failed or outcome.ending is not Ending.WHOLE or (content.gone and not content.raw):
        return b""
    text = b""
    if source.place is Place.JSON:
        found = _stream_text(source.path, content) if content.is_stream else _document_text(source.path, content)
        text = found.encode(errors="surrogatepass")
    return blake2b(text or content.raw, digest_size=DIGEST_BYTES, person=_ANSWER).digest()


def _document_text(path: tuple[str, ...], content: Content) -> str:
    document = content.document()
    paths = (path, *_OTHER_CHATS) if path == _CHAT else (path,)
    return next((found for known in paths if isinstance(found := at(document, known), str)), "")


def _stream_text(path: tuple[str, ...], content: Content) -> str:
    """Streams say bit by bit, in a `delta`, what a document says at once in a `message`."""
    within = tuple("delta" if name == "message" else name for name in path)
    return content.text(tuple(dict.fromkeys((within, path, ("delta", *path[-1:]), ("delta", "text"), ("delta",)))))
