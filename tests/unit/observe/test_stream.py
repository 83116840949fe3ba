"""Server-sent events out of bytes cut anywhere."""

import pytest

from canary.observe.stream import Event, EventStream, has_error_event
from canary.terms import RouteKind

LONG = (
    b'\xef\xbb\xbf: a comment\r\nevent: message_start\r\ndata: {"type": 1}\r\n\r\n'
    b"data: one\ndata: two\n\nid: 7\nretry: 10\ndata:no space\r\rdata\n\nevent: ping\n\n"
    b"data: caf\xc3\xa9 \xff\n\ndata: [DONE]\n\n"
)
EVENTS = [
    Event("message_start", '{"type": 1}'),
    Event("message", "one\ntwo"),
    Event("message", "no space"),
    Event("message", ""),
    Event("ping", ""),
    Event("message", "café \ufffd"),
    Event("message", "[DONE]"),
]


def _events(*pieces: bytes) -> list[Event]:
    stream = EventStream()
    return [event for piece in pieces for event in stream.feed(piece)] + [*stream.finish()]


def test_all_line_ends_and_fields() -> None:
    assert _events(LONG) == EVENTS


def test_a_cut_at_any_byte_changes_nothing() -> None:
    for at in range(len(LONG) + 1):
        assert _events(LONG[:at], LONG[at:]) == EVENTS
    assert _events(*[LONG[i : i + 1] for i in range(len(LONG))]) == EVENTS


def test_events_come_as_soon_as_they_are_whole() -> None:
    stream = EventStream()
    assert [*stream.feed(b"data: 1\n")] == []
    assert [*stream.feed(b"\ndata: 2")] == [Event("message", "1")]
    assert [*stream.finish()] == [Event("message", "2")]
    assert [*stream.finish()] == []


ANTHROPIC = b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error"}}\n\n'
OPENAI = b'data: {"error": {"message": "The server had an error", "code": null}}\n\n'


@pytest.mark.parametrize("kind", RouteKind)
def test_an_event_named_error_is_one(kind: RouteKind) -> None:
    assert has_error_event(b"data: fine\n\n" + ANTHROPIC, kind)
    assert has_error_event(b"event: error\r\ndata: {}", kind)  # cut before its end


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (OPENAI, True),
        (b'data: {"choices": []}\n\n' + OPENAI + b"data: [DONE]\n\n", True),
        (b'data: {"choices": [{"delta": {"content": "an \\"error\\": {} in prose"}}]}\n\n', False),
        (b'data: {"choices": [{"error": "nested"}]}\n\n', False),
        (b'data: {"error": null, "choices": []}\n\n', False),
        (b'data: "error"\n\n', False),
        (b'data: {"error": {"message": "cut in the mid', False),
        (b"data: " + b"[" * 100_000 + b'"error"\n\n', False),
        (b"data: all is well\n\n", False),
        (b"", False),
    ],
)
def test_language_models_also_say_error_at_the_top_of_their_json(body: bytes, found: bool) -> None:
    assert has_error_event(body, RouteKind.LLM) is found
    assert not has_error_event(body, RouteKind.HTTP)
