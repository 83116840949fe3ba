"""What is written down of an exchange: the journal's frames, built from the calls."""

from canary.proxy.assign import Assignment
from canary.proxy.route import Route
from canary.store.frames import Live, Side
from canary.terms import MirrorDrop
from canary.wire.call import Call
from canary.wire.head import RequestHead

MAX_PATH = 512


def side_of(call: Call, version: str, names: dict[bytes, str], *, request_bytes: int, bodies: bool) -> Side:
    """One version's answer; `names` are the headers that may be written down."""
    answer = call.answer
    headers: tuple[tuple[str, str], ...] = ()
    if answer is not None:
        headers = tuple([(names[low], value.decode("latin-1")) for low, value in answer.fields if low in names])
    ending = call.ending
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
        b"".join(call.body) if bodies else b"",
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

    def live(self, call: Call, *, exchange_id: bytes, version: str, mirror: str, drop: MirrorDrop, bodies: bool) -> Live:
        """The live frame; `bodies`: both bodies up to the cap."""
        assignment, route, head = self.assignment, self.route, self.head
        names, cap = route.request_names, route.body_cap
        return Live(
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
            head.method.decode("ascii"),
            head.path[:MAX_PATH].decode("latin-1"),
            side_of(call, version, route.response_names, request_bytes=self.request_bytes, bodies=bodies),
            mirror,
            drop,
            tuple([(names[low], value.decode("latin-1")) for low, value, _ in head.fields if low in names]),
            self.body[:cap] if bodies else b"",
            bodies and (len(self.body) > cap or self.request_bytes > len(self.body)),
        )
