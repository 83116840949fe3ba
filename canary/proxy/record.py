"""What is known of a request, and what is written down of its exchange: the journal's frames."""

from typing import Final, cast

from canary.proxy.assignment import NO_COIN, Assignment
from canary.proxy.rewrite import Target
from canary.proxy.route import Route
from canary.store.frames import Live, Open, Side
from canary.terms import Arm, AssignedBy, Ending, MirrorDrop
from canary.wire.call import Call
from canary.wire.heads import RequestHead

MAX_PATH: Final = 512
Text = tuple[str, str, tuple[tuple[str, str], ...]]
"""Method, path and the fields that may be written down."""

_ASSIGNED: Final = Assignment()
_STABLE: Final = Arm.STABLE
_HASH: Final = AssignedBy.HASH
_WHOLE: Final = Ending.WHOLE
_NO_DROP: Final = MirrorDrop.NONE
# The encoder asks an enum for its value by name, at the price of ten other fields: the usual words come as plain text.
_STABLE_WORD: Final = cast("Arm", Arm.STABLE.value)
_CANDIDATE_WORD: Final = cast("Arm", Arm.CANDIDATE.value)
_HASH_WORD: Final = cast("AssignedBy", AssignedBy.HASH.value)
_WHOLE_WORD: Final = cast("Ending", Ending.WHOLE.value)
_NO_DROP_WORD: Final = cast("MirrorDrop", MirrorDrop.NONE.value)


def side_of(call: Call, version: str, request_bytes: int, body: bytes) -> Side:
    """One version's answer; `body` is what is written down of its body."""
    ending, answer = call.ending, call.answer
    assert ending is not None
    return Side(
        version,
        _WHOLE_WORD if ending is _WHOLE else ending,
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


def _text_of(route: Route, head: RequestHead) -> Text:
    """What a request's head says, as it is written down."""
    names = route.request_names
    fields = tuple([(names[low], value.decode("latin-1")) for low, value, _ in head.fields if low in names])
    text = (head.method.decode("ascii"), head.path[:MAX_PATH].decode("latin-1"), fields)
    if head.form is not None and not head.form.opens(names):
        head.form.remember(route, text)
    return text


class Recorded(Call):
    """A call that is written down, with all that is known of its request before anything is sent."""

    __slots__ = (
        "assignment",
        "drop",
        "exchange_id",
        "head",
        "mirror",
        "request_body",
        "request_bytes",
        "route",
        "start_at_us",
        "stratum",
        "target",
    )

    def __init__(self, route: Route, head: RequestHead, body: bytes, start_ns: int) -> None:
        Call.__init__(self, head.method, start_ns)
        self.route = route
        self.head = head
        self.request_body = body
        self.request_bytes = len(body)
        self.assignment = _ASSIGNED
        self.stratum = 0  # the request's task class; 0: of none that is named
        self.target: Target = route.stable
        self.exchange_id = b""
        self.start_at_us = 0  # the start on the journal's clock
        self.mirror = ""  # the version to which a copy was sent
        self.drop = _NO_DROP

    def opening(self, mirrored: bool) -> Open:
        """The open frame; `mirrored`: a pair is meant to follow."""
        assigned = self.assignment
        arm = _STABLE_WORD if assigned.arm is _STABLE else _CANDIDATE_WORD
        return Open(
            self.exchange_id, assigned.segment, self.stratum, arm, self.start_at_us, mirrored, False, assigned.unit_hash
        )

    def frames(self) -> tuple[Live, Live]:
        """The live frame as the route's rules want it, and as its pair wants it: with both bodies up to the cap."""
        route, head, version, size = self.route, self.head, self.target.name, self.request_bytes
        keeps, form = route.keeps_bodies, head.form
        text: Text = (form.memo.get(route) if form is not None else None) or _text_of(route, head)
        if not (self.mirror or keeps):
            bare = self._live(text, side_of(self, version, size, b""), b"", False)
            return bare, bare
        cap, body = route.body_cap, self.request_body
        cut = len(body) > cap or size > len(body)
        side = side_of(self, version, size, b"".join(self.body))
        full = self._live(text, side, body[:cap], cut)
        if keeps:
            return full, full
        return self._live(text, side_of(self, version, size, b""), b"", False), full

    def _live(self, text: Text, side: Side, body: bytes, cut: bool) -> Live:
        assigned, drop = self.assignment, self.drop
        method, path, fields = text
        return Live(
            self.exchange_id,
            self.route.name,
            assigned.segment,
            self.stratum,
            _STABLE_WORD if assigned.arm is _STABLE else _CANDIDATE_WORD,
            _HASH_WORD if assigned.assigned_by is _HASH else assigned.assigned_by,
            self.start_at_us,
            assigned.unit_hash,
            assigned.bucket,
            self.route.weight_bp if assigned.bucket != NO_COIN else 0,
            method,
            path,
            side,
            self.mirror,
            _NO_DROP_WORD if drop is _NO_DROP else drop,
            fields,
            body,
            cut,
        )
