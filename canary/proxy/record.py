"""What is written down of an exchange: the journal's frames, built from the calls."""

from canary.proxy.assign import Assignment
from canary.proxy.route import Route
from canary.store.frames import Live, Side
from canary.terms import MirrorDrop
from canary.wire.call import Call
from canary.wire.head import RequestHead
from canary.wire.names import Names

MAX_PATH = 512


def side_of(call: Call, version: str, names: Names[str], *, request_bytes: int, bodies: bool) -> Side:
    """One version's answer; `names` are the headers that may be written down."""
    return _side(
        call, version, headers_of(call, names), request_bytes=request_bytes, body=b"".join(call.body) if bodies else b""
    )


def headers_of(call: Call, names: Names[str]) -> tuple[tuple[str, str], ...]:
    """The answer's headers that may be written down."""
    answer = call.answer
    if answer is None:
        return ()
    if answer.noted is None:
        answer.noted = tuple([(known, value.decode("latin-1")) for name, value in answer.fields if (known := names[name])])
    return answer.noted


def _side(call: Call, version: str, headers: tuple[tuple[str, str], ...], *, request_bytes: int, body: bytes) -> Side:
    ending, answer = call.ending, call.answer
    assert ending is not None
    return Side(
        version,
        ending,
        answer.status if answer is not None else 0,
        call.connect_us,
        call.written_us,
        call.first_byte_us,
        call.end_us,
        call.attempts,
        request_bytes,
        call.body_bytes,
        headers,
        tuple(call.chunks),
        body,
        call.truncated,
    )


class Request:
    """The part of a live frame that is known when the exchange begins."""

    __slots__ = ("assignment", "body", "head", "request_bytes", "route", "start_at_us")

    def __init__(self, route: Route, head: RequestHead, assignment: Assignment, *, body: bytes, start_at_us: int) -> None:
        self.start_at_us = start_at_us
        self.route = route
        self.head = head
        self.assignment = assignment
        self.body = body
        self.request_bytes = len(body)

    def frames(self, call: Call, *, exchange_id: bytes, version: str, mirror: str, drop: MirrorDrop) -> tuple[Live, Live]:
        """The live frame as the route's rules want it, and as its pair wants it: with both bodies up to the cap."""
        assignment, route, head = self.assignment, self.route, self.head
        names, cap = route.request_names, route.body_cap
        headers = headers_of(call, route.response_names)
        text = head.memo.get(names)
        if text is None:
            fields = tuple([(known_as, value.decode("latin-1")) for low, value, _ in head.fields if (known_as := names[low])])
            text = head.memo[names] = (head.method.decode("ascii"), head.path[:MAX_PATH].decode("latin-1"), fields)
        method, path, fields = text
        known = (
            exchange_id,
            route.name,
            assignment.segment,
            0,
            assignment.arm,
            assignment.assigned_by,
            self.start_at_us,
            assignment.unit_hash,
            assignment.bucket,
            assignment.weight_bp,
            method,
            path,
        )
        size = self.request_bytes
        if not (mirror or route.keeps_bodies):
            bare = Live(*known, _side(call, version, headers, request_bytes=size, body=b""), mirror, drop, fields)
            return bare, bare
        side = _side(call, version, headers, request_bytes=size, body=b"".join(call.body))
        cut = len(self.body) > cap or size > len(self.body)
        full = Live(*known, side, mirror, drop, fields, self.body[:cap], cut)
        if route.keeps_bodies:
            return full, full
        return Live(*known, _side(call, version, headers, request_bytes=size, body=b""), mirror, drop, fields), full
