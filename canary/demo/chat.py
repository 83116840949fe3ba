"""OpenAI-compatible chat answers as bytes: plain, streamed, failed."""

import json
from typing import Final

import msgspec

_TEXT: Final = "the canary sings while both answers are weighed and nobody is harmed by what is on trial "
_CHARS_PER_TOKEN: Final = 4
MAX_CHUNKS: Final = 6


class ChatRequest(msgspec.Struct):
    """What a model reads of a request; other fields are allowed."""

    model: str = "demo"
    max_tokens: int = 64
    stream: bool = False


_decoder = msgspec.json.Decoder(ChatRequest)


def parse(body: bytes) -> ChatRequest | None:
    """The request, or None where it is not one."""
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError:
        return None


def text_of(tokens: int) -> str:
    """So many tokens of text, about."""
    chars = tokens * _CHARS_PER_TOKEN
    return (_TEXT * (chars // len(_TEXT) + 1))[:chars]


def completion(request: ChatRequest, in_tok: int) -> bytes:
    """The body of a whole answer."""
    message = {"role": "assistant", "content": text_of(request.max_tokens)}
    return json.dumps(
        {
            "id": "chatcmpl-demo",
            "object": "chat.completion",
            "created": 0,
            "model": request.model,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": _usage(request, in_tok),
        }
    ).encode()


def chunks(request: ChatRequest, in_tok: int) -> list[bytes]:
    """The server-sent events of a streamed answer, the last one with usage and end mark."""
    count = min(MAX_CHUNKS, max(1, request.max_tokens // 8))
    text = text_of(request.max_tokens)
    size = -(-len(text) // count)
    events = [_event(request, {"index": 0, "delta": {"content": text[i : i + size]}}) for i in range(0, len(text), size)]
    last = _event(request, {"index": 0, "delta": {}, "finish_reason": "stop"}, usage=_usage(request, in_tok))
    return [*events, last + b"data: [DONE]\n\n"]


def failure() -> bytes:
    """The body of a failed answer."""
    return json.dumps({"error": {"message": "the model server is out of memory", "type": "server_error"}}).encode()


def models(name: str) -> bytes:
    """The body of GET /v1/models."""
    return json.dumps({"object": "list", "data": [{"id": name, "object": "model", "owned_by": "canary-demo"}]}).encode()


def _usage(request: ChatRequest, in_tok: int) -> dict[str, int]:
    return {"prompt_tokens": in_tok, "completion_tokens": request.max_tokens, "total_tokens": in_tok + request.max_tokens}


def _event(request: ChatRequest, choice: dict[str, object], *, usage: dict[str, int] | None = None) -> bytes:
    event: dict[str, object] = {
        "id": "chatcmpl-demo",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": request.model,
        "choices": [choice],
    }
    if usage:
        event["usage"] = usage
    return b"data: " + json.dumps(event).encode() + b"\n\n"
