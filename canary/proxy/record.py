"""What is written down of an exchange: the journal's frames, built from the calls."""

from canary.proxy.request import Request
from canary.proxy.route import Route
from canary.store.frames import Live, Side
from canary.terms import MirrorDrop
from canary.wire.call import Call
from canary.wire.heads import RequestHead

MAX_PATH = 512


def side_of(call: Call, version: str, *, request_bytes: int, body: bytes) -> Side:
    """One version's answer; `body` is what is written down of its body."""
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
        answer.noted if answer is not None else (),
        tuple(call.chunks),
        body,
        call.truncated,
        call.tail if body else b"",
    )


def _text_of(route: Route, head: RequestHead) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """Method, path and the fields that may be written down."""
    names = route.request_names
    fields = tuple([(names[low], value.decode("latin-1")) for low, value, _ in head.fields if low in names])
    text = (head.method.decode("ascii"), head.path[:MAX_PATH].decode("latin-1"), fields)
    if head.form is not None and not head.form.opens(names):
        head.form.remember(route, text)
    return text


def frames(request: Request, call: Call, *, mirror: str, drop: MirrorDrop) -> tuple[Live, Live]:
    """The live frame as the route's rules want it, and as its pair wants it: with both bodies up to the cap."""
    assignment, route, head, version = request.assignment, request.route, request.head, request.target.name
    cap = route.body_cap
    form = head.form
    method, path, fields = (form.memo.get(route) if form is not None else None) or _text_of(route, head)
    known = (
        request.exchange_id,
        route.name,
        assignment.segment,
        assignment.stratum,
        assignment.arm,
        assignment.assigned_by,
        request.start_at_us,
        assignment.unit_hash,
        assignment.bucket,
        assignment.weight_bp,
        method,
        path,
    )
    size = request.request_bytes
    if not (mirror or route.keeps_bodies):
        bare = Live(*known, side_of(call, version, request_bytes=size, body=b""), mirror, drop, fields)
        return bare, bare
    side = side_of(call, version, request_bytes=size, body=b"".join(call.body))
    cut = len(request.body) > cap or size > len(request.body)
    full = Live(*known, side, mirror, drop, fields, request.body[:cap], cut)
    if route.keeps_bodies:
        return full, full
    return Live(*known, side_of(call, version, request_bytes=size, body=b""), mirror, drop, fields), full
