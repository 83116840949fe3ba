"""Raw values and digests of answers: headers, JSON bodies, streams, facts, and everything bad that can stand there."""

import gzip
import json
import math
import zlib
from typing import Any, NamedTuple

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from canary.observe.content import MOST_PIECES, Content
from canary.observe.outcome import observe
from canary.observe.sources import FACTS, Place, Source, pointer, read_source, read_text_source
from canary.observe.values import UNTOLD, Reader, number_of
from canary.store.frames import Side
from canary.terms import Ending, Measures, MetricKind, MetricSpec
from tests.support.frames import a_side

JSON = ("content-type", "application/json")
STREAM = ("content-type", "text/event-stream; charset=utf-8")
CHAT = "json:/choices/0/message/content"


def measures(*sources: str, diversity: str = "") -> Measures:
    metrics = (MetricSpec(name=f"m{i}", kind=MetricKind.MEAN, source=source) for i, source in enumerate(sources))
    return Measures(metrics=tuple(metrics), diversity=diversity)


class Read(NamedTuple):
    values: tuple[float | None, ...]
    answer: bytes


def reading(side: Side, *sources: str, diversity: str = "") -> Read:
    """What is read of one answer."""
    kind = next((value for name, value in side.headers if name == "content-type"), "")
    reader, content, outcome = Reader(measures(*sources, diversity=diversity)), Content(side), observe(side, content_type=kind)
    return Read(reader.values(content, outcome), reader.digest(content, outcome))


def value(side: Side, source: str = "json:/score") -> float | None:
    """The one value."""
    (found,) = reading(side, source).values
    return found


def answer(side: Side, diversity: str = CHAT) -> bytes:
    return reading(side, diversity=diversity).answer


def a_json(document: Any, **fields: Any) -> Side:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return a_side(**({"body": body, "headers": (JSON,)} | fields))


def a_stream(*events: Any, **fields: Any) -> Side:
    told = (event if isinstance(event, str) else json.dumps(event) for event in events)
    body = "".join(f"data: {data}\n\n" for data in told).encode()
    return a_side(**({"body": body, "headers": (STREAM,)} | fields))


def is_nan(found: float | None) -> bool:
    return found is not None and math.isnan(found)


# sources


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("header:X-Cost", Source(Place.HEADER, name="x-cost")),
        ("json:/usage/cost", Source(Place.JSON, path=("usage", "cost"))),
        ("json:/a~1b/m~0n/0", Source(Place.JSON, path=("a/b", "m~n", "0"))),
        ("json:/~01", Source(Place.JSON, path=("~1",))),
        ("json:", Source(Place.JSON)),
        ("json:/", Source(Place.JSON, path=("",))),
        ("fact:latency", Source(Place.FACT, name="latency")),
        ("fact:status=404", Source(Place.FACT, name="status", status="404")),
        ("fact:status=4xx", Source(Place.FACT, name="status", status="4")),
    ],
)
def test_sources(text: str, meant: Source) -> None:
    assert read_source(text) == meant


@pytest.mark.parametrize("name", ["Authorization", "proxy-authorization", "Cookie", "Set-Cookie", "x-api-key", "X-Auth-Token"])
def test_a_secret_is_no_source(name: str) -> None:
    with pytest.raises(ValueError, match="carries secrets and is never read"):
        read_source(f"header:{name}")


@pytest.mark.parametrize(
    "text", ["", "cost", "header:", "header:a b", "json", "json:a", "json:/~", "fact:", "fact:speed", "body"]
)
def test_what_is_no_source(text: str) -> None:
    with pytest.raises(ValueError, match=r"found|not a header|unknown fact"):
        read_source(text)


def test_sources_of_text() -> None:
    assert read_text_source("body") == Source(Place.BODY)
    assert read_text_source(CHAT).path == ("choices", "0", "message", "content")
    for text in ("header:a", "off", "json:a", f"json:/{'a' * 600}"):
        with pytest.raises(ValueError, match="found"):
            read_text_source(text)


@given(st.lists(st.text(max_size=5), max_size=4))
def test_any_pointer_comes_back(names: list[str]) -> None:
    text = "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)
    assert pointer(text) == tuple(names)


# headers


@pytest.mark.parametrize(
    ("text", "meant"),
    [("0.0031", 0.0031), (" 7 ", 7.0), ("-2", -2.0), ("1e-3", 0.001), (".5", 0.5), ("true", 1.0), ("False", 0.0), ("+3.", 3.0)],
)
def test_numbers_of_headers(text: str, meant: float) -> None:
    assert value(a_side(headers=(("x-cost", text),)), "header:x-cost") == meant


@pytest.mark.parametrize(
    "text", ["", "NaN", "inf", "-Infinity", "1,5", "1_000", "0x10", "5 USD", "1e999", "yes", "١", "9" * 50]
)
def test_what_is_no_number(text: str) -> None:
    assert math.isnan(number_of(text))
    assert is_nan(value(a_side(headers=(("x-cost", text),)), "header:x-cost"))


def test_a_header_that_is_missing_is_absent() -> None:
    assert value(a_side(headers=(JSON,)), "header:x-cost") is None


def test_a_header_that_stands_there_twice_is_no_number() -> None:
    assert is_nan(value(a_side(headers=(("x-cost", "1"), ("x-cost", "2"))), "header:x-cost"))


@given(st.text(max_size=12))
def test_no_text_is_read_as_an_endless_number(text: str) -> None:
    found = number_of(text)
    assert math.isnan(found) or math.isfinite(found)


# JSON bodies


@pytest.mark.parametrize(
    ("told", "meant"),
    [(0.5, 0.5), (3, 3.0), (True, 1.0), (False, 0.0), ("0.25", 0.25), ("true", 1.0), (-1, -1.0), (None, None), (0, 0.0)],
)
def test_values_of_a_body(told: Any, meant: float | None) -> None:
    assert value(a_json({"score": told})) == meant


@pytest.mark.parametrize("told", ["a lot", "yes", [1], {"a": 1}, "1,5", 10**400])
def test_values_that_are_no_numbers(told: Any) -> None:
    assert is_nan(value(a_json({"score": told})))


@pytest.mark.parametrize(
    "text", [b'{"score": NaN}', b'{"score": 1e999}', b'{"score": Infinity}', b"<html>", b'{"score":', b"\xff\xfe"]
)
def test_a_good_answer_that_is_no_json_has_no_readable_value(text: bytes) -> None:
    assert is_nan(value(a_json(text)))


def test_a_negative_cost_is_handed_on_as_it_stands() -> None:
    assert value(a_json({"cost": -0.02}), "json:/cost") == -0.02


def test_pointers_go_through_lists_and_odd_names() -> None:
    body = {"choices": [{"a/b": {"m~n": 2, "": 5}}], "0": 7}
    assert value(a_json(body), "json:/choices/0/a~1b/m~0n") == 2.0
    assert value(a_json(body), "json:/choices/0/a~1b/") == 5.0
    assert value(a_json(body), "json:/0") == 7.0
    for nowhere in ("/choices/1/a", "/choices/-", "/choices/00", "/choices/0/a~1b/m~0n/x", "/choices/a"):
        assert value(a_json(body), f"json:{nowhere}") is None
    assert value(a_json(3), "json:") == 3.0


def test_an_error_page_has_no_value() -> None:
    assert value(a_json(b"<html>not found</html>", status=404)) is None
    assert value(a_json({"error": "no"}, status=404)) is None


def test_an_answer_without_a_body_has_no_value() -> None:
    assert value(a_side(status=204)) is None


@pytest.mark.parametrize("ending", [Ending.CUT, Ending.CLIENT_LEFT, Ending.TIMEOUT])
def test_a_cut_body_has_no_value(ending: Ending) -> None:
    assert value(a_json(b'{"score": 0.5, "te', ending=ending)) is None


def test_nobody_can_tell_the_value_of_a_body_that_was_not_kept() -> None:
    assert value(a_json(b"", response_bytes=500)) == UNTOLD
    assert value(a_json(b'{"score": 0.5', response_bytes=90_000, body_truncated=True)) == UNTOLD


def test_a_body_just_over_the_cap_is_put_together_with_its_end() -> None:
    body = json.dumps({"text": "x" * 50, "score": 0.5}).encode()
    side = a_json(body[:30], tail=body[30:], body_truncated=True, response_bytes=len(body))
    assert value(side) == 0.5


def test_what_is_nested_too_deep_is_no_json() -> None:
    assert is_nan(value(a_json(b"[" * 100_000)))


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda body: zlib.compress(body, wbits=-15)),
        ("zstd", zstandard.ZstdCompressor().compress),
        ("Identity", bytes),
    ],
    ids=["gzip", "deflate", "raw deflate", "zstd", "identity"],
)
def test_packed_bodies_are_unpacked(coding: str, pack: Any) -> None:
    packed = pack(json.dumps({"score": 0.5}).encode())
    assert value(a_json(packed, headers=(JSON, ("content-encoding", coding)))) == 0.5


def test_nobody_can_tell_what_an_unknown_packing_or_a_bomb_holds() -> None:
    assert value(a_json(b"\x8b\x03", headers=(JSON, ("content-encoding", "br")))) == UNTOLD
    assert value(a_json(b"no gzip", headers=(JSON, ("content-encoding", "gzip")))) == UNTOLD
    bomb = gzip.compress(b" " * 50_000_000 + b'{"score": 1}')
    assert value(a_json(bomb, headers=(JSON, ("content-encoding", "gzip")))) == UNTOLD


# streams


def test_a_stream_says_its_value_at_the_end() -> None:
    chunks = [{"choices": [{"delta": {"content": "a"}}], "usage": None} for _ in range(5)]
    side = a_stream(*chunks, {"usage": {"score": 0.75}}, "[DONE]")
    assert value(side, "json:/usage/score") == 0.75


def test_the_last_event_that_has_it_counts() -> None:
    assert value(a_stream({"score": 1}, {"score": 2}, {"score": None}, {"other": "score"})) == 2.0
    assert value(a_stream({"a": 1})) is None


def test_streams_of_every_line_end_and_shape() -> None:
    body = b'\xef\xbb\xbfevent: x\r\ndata: {"score":\r\ndata: 3}\r\n\r\n: remark\r\n\r\ndata: [DONE]\r\n\r\n'
    assert value(a_side(body=body, headers=(STREAM,))) == 3.0


def test_the_end_of_a_long_stream_is_enough() -> None:
    side = a_stream(
        {"a": 1}, body_truncated=True, response_bytes=900_000, tail=b'ut": 1}\n\ndata: {"score": 0.5}\n\ndata: [DONE]\n\n'
    )
    assert value(side) == 0.5
    lost = a_stream({"a": 1}, body_truncated=True, response_bytes=900_000, tail=b"data: [DONE]\n\n")
    assert value(lost) == UNTOLD


def test_a_stream_that_was_cut_keeps_what_it_said() -> None:
    side = a_stream({"score": 4}, ending=Ending.CUT)
    assert value(Side(**({f: getattr(side, f) for f in side.__struct_fields__} | {"body": side.body + b'data: {"sco'}))) == 4.0


# facts


def test_facts() -> None:
    side = a_side(status=404, body=b"12345", attempts=2)
    names = [f"fact:{name}" for name in FACTS if name != "status"]
    found = dict(zip(names, reading(side, *names).values, strict=True))
    assert found == {
        "fact:latency": 19.8,
        "fact:ttfb": 14.8,
        "fact:bytes": 5.0,
        "fact:client_error": 1.0,
        "fact:abandoned": 0.0,
        "fact:retried": 1.0,
        "fact:error_event": 0.0,
    }
    assert reading(side, "fact:status=404", "fact:status=4xx", "fact:status=200").values == (1.0, 1.0, 0.0)


def test_facts_of_an_answer_that_never_came() -> None:
    side = a_side(ending=Ending.REFUSED, status=0, written_us=-1, first_byte_us=-1)
    assert reading(side, "fact:latency", "fact:ttfb", "fact:client_error").values == (None, None, 0.0)
    assert value(a_side(ending=Ending.CLIENT_LEFT), "fact:abandoned") == 1.0
    assert value(a_side(status=429), "fact:client_error") == 0.0


# digests


def a_chat(text: str, unique: str = "1", **fields: Any) -> Side:
    return a_json({"id": unique, "choices": [{"message": {"content": text}}]}, **fields)


def a_chat_stream(text: str, unique: str = "1") -> Side:
    first = {"id": unique, "choices": [{"delta": {"role": "assistant", "content": ""}}]}
    return a_stream(first, *({"id": unique, "choices": [{"delta": {"content": piece}}]} for piece in text), "[DONE]")


def test_an_answer_is_known_by_its_text_alone() -> None:
    assert answer(a_chat("yes", "1")) == answer(a_chat("yes", "2"))
    assert answer(a_chat("yes")) != answer(a_chat("no"))
    assert len(answer(a_chat("yes"))) == 8


def test_a_stream_is_known_by_its_pieces_put_together() -> None:
    assert answer(a_chat_stream("yes", "1")) == answer(a_chat_stream("yes", "2")) == answer(a_chat("yes"))
    assert answer(a_chat_stream("yes")) != answer(a_chat_stream("yea"))


def test_other_models_say_it_elsewhere() -> None:
    message = a_json({"id": "m", "content": [{"type": "text", "text": "yes"}]})
    events = [{"type": "message_start", "message": {"id": "m"}}, *({"delta": {"type": "text_delta", "text": c}} for c in "yes")]
    assert answer(message) == answer(a_stream(*events)) == answer(a_chat("yes"))


def test_where_no_text_is_found_the_whole_answer_counts() -> None:
    assert answer(a_json({"x": 1})) == answer(a_json({"x": 1})) != answer(a_json({"x": 2}))
    assert answer(a_json(b"<html>")) == answer(a_json(b"<html>"), "body")


def test_a_whole_empty_answer_is_an_answer() -> None:
    assert answer(a_side(status=204), "body")


@pytest.mark.parametrize(
    "fields",
    [{"status": 500}, {"ending": Ending.CUT}, {"ending": Ending.CLIENT_LEFT}, {"body": b"", "response_bytes": 9}],
    ids=["failed", "cut", "left", "not kept"],
)
def test_what_is_no_whole_answer_has_no_digest(fields: dict[str, Any]) -> None:
    assert answer(a_chat("yes", **fields)) == b""


def test_only_the_beginning_of_an_endless_text_is_put_together() -> None:
    long = "a" * (MOST_PIECES - 1)
    assert answer(a_chat_stream(long + "b")) == answer(a_chat_stream(long + "c")) != answer(a_chat_stream("b" + long))


def test_nothing_is_measured_where_nothing_is_asked_for() -> None:
    assert reading(a_chat("yes")) == ((), b"")
    for reader, reads in ((Reader(Measures()), (False, False)), (Reader(measures("fact:bytes")), (True, False))):
        assert (reader.reads_values, reader.reads_text) == reads
    assert Reader(measures(diversity="body")).reads_text


# anything at all


@given(body=st.binary(max_size=200), kind=st.sampled_from([JSON, STREAM]), coding=st.sampled_from(["", "gzip", "zstd", "x"]))
def test_no_body_breaks_the_reader(body: bytes, kind: tuple[str, str], coding: str) -> None:
    side = a_side(body=body, headers=(kind, ("content-encoding", coding)))
    found = reading(side, "json:/score", "json:/a/0", diversity=CHAT)
    assert all(v is None or isinstance(v, float) for v in found.values)
    assert len(found.answer) == 8 or not body or coding
