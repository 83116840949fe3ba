"""Server-sent events out of bytes cut anywhere, and whether one of them says that the answer failed."""

import json
from collections.abc import Iterator
from typing import Final, NamedTuple

from canary.terms import RouteKind

_BOM: Final = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One server-sent event: its name ("message" where none was given) and its data lines joined by newlines."""

    name: str
    data: str


class EventStream:
    """Decodes server-sent events as they come; line ends may be LF, CR LF or CR, and the bytes may be cut anywhere."""

    def __init__(self) -> None:
        self._rest = b""
        self._started = False
        self._name = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that `data` completes."""
        rest = self._rest + data
        if not self._started:
            if len(rest) < len(_BOM) and _BOM.startswith(rest):
                self._rest = rest  # may still become a byte order mark
                return
            self._started = True
            rest = rest.removeprefix(_BOM)
        held = rest.endswith(b"\r")  # its LF may come with the next piece
        lines = rest[: -1 if held else None].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop() + (b"\r" if held else b"")
        for line in lines:
            yield from self._line(line)

    def finish(self) -> Iterator[Event]:
        """What is left when the stream ends without its last empty line: still an event to us, a cut one included."""
        if self._rest:
            yield from self._line(self._rest.rstrip(b"\r"))
            self._rest = b""
        yield from self._line(b"")

    def _line(self, line: bytes) -> Iterator[Event]:
        if not line:
            if self._data or self._name:
                yield Event(self._name or "message", "\n".join(self._data))
            self._name, self._data = "", []
            return
        field, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode(errors="replace")
        if field == b"data":
            self._data.append(text)
        elif field == b"event":
            self._name = text


def has_error_event(body: bytes, kind: RouteKind) -> bool:
    """True where an event is named `error`, or (language models) its JSON data has an `error` at its top."""
    if b"error" not in body:  # the usual answer costs one search
        return False
    stream = EventStream()
    return any(_is_error(event, kind) for part in (stream.feed(body), stream.finish()) for event in part)


def _is_error(event: Event, kind: RouteKind) -> bool:
    if event.name == "error":
        return True
    if kind is not RouteKind.LLM or '"error"' not in event.data:
        return False
    try:
        found = json.loads(event.data)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and bool(found.get("error"))
