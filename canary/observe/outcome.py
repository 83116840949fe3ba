"""One side's answer as the statistics and people see it: did it fail, whose fault was it, how long did it take."""

from typing import Final, Protocol

import msgspec

from canary.observe.stream import has_error_event
from canary.terms import Ending, Fault, RouteKind

_FAILED_ENDINGS: Final = frozenset({Ending.CUT, Ending.RESET, Ending.REFUSED, Ending.TIMEOUT, Ending.MALFORMED, Ending.LOST})
_FAILED_STATUSES: Final = frozenset({408, 429})
STREAM: Final = "text/event-stream"


class Answered(Protocol):
    """What must be known of an answer; durations in microseconds since the exchange's start, -1 where it never came."""

    @property
    def ending(self) -> Ending: ...
    @property
    def status(self) -> int: ...
    @property
    def connect_us(self) -> int: ...
    @property
    def written_us(self) -> int: ...
    @property
    def first_byte_us(self) -> int: ...
    @property
    def end_us(self) -> int: ...
    @property
    def response_bytes(self) -> int: ...
    @property
    def body(self) -> bytes: ...
    @property
    def tail(self) -> bytes: ...


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The measured record of one side."""

    failed: bool
    left: bool  # the client went first: not a failure
    fault: Fault
    ending: Ending
    status: int
    latency_us: int  # written -> end; -1 where nothing was written
    ttfb_us: int  # written -> first byte; -1 where none came
    age_us: int  # start -> end
    connect_us: int  # shown, never scored
    response_bytes: int
    error_event: bool = False  # inside a stream that began with a 2xx

    @property
    def client_error(self) -> bool:
        """True where the answer says that the request was wrong: 4xx, but not 408 and 429, which have failed."""
        return 400 <= self.status < 500 and self.status not in _FAILED_STATUSES


LOST: Final = Outcome(
    failed=True,
    left=False,
    fault=Fault.OWN,
    ending=Ending.LOST,
    status=0,
    latency_us=-1,
    ttfb_us=-1,
    age_us=0,  # ended badly at every age
    connect_us=-1,
    response_bytes=0,
)
"""Nothing more is known: the worker died."""


def observe(side: Answered, *, kind: RouteKind = RouteKind.HTTP, content_type: str = "") -> Outcome:
    """The outcome of one side.

    Failed (STATISTICS section 1): refused, reset, timed out, 408, 429, 5xx, malformed or cut, an error event inside a 2xx
    stream. Other 4xx have not failed, and neither has an answer that its client left.
    """
    ending, status, end_us = side.ending, side.status, side.end_us
    in_stream = bool(side.body) and 200 <= status < 300 and content_type.startswith(STREAM)
    error_event = in_stream and (has_error_event(side.body, kind) or (bool(side.tail) and has_error_event(side.tail, kind)))
    left = ending is Ending.CLIENT_LEFT
    failed = not left and (ending in _FAILED_ENDINGS or status >= 500 or status in _FAILED_STATUSES or error_event)
    written = side.written_us
    first = side.first_byte_us
    return Outcome(
        failed,
        left,
        Fault.NONE if ending is Ending.WHOLE and status < 400 and not error_event else _fault(ending, status, failed=failed),
        ending,
        status,
        end_us - written if written >= 0 else -1,
        first - written if first >= 0 and written >= 0 else -1,
        end_us,
        side.connect_us,
        side.response_bytes,
        error_event,
    )


def _fault(ending: Ending, status: int, *, failed: bool) -> Fault:
    """Whose failure it was, for people: a vendor's 408 or 429 is the upstream's, every other 4xx the client's."""
    if ending is Ending.CLIENT_LEFT:
        return Fault.CLIENT
    if ending is Ending.LOST:
        return Fault.OWN
    if ending is Ending.REJECTED:
        return Fault.OWN if status >= 500 else Fault.CLIENT
    if failed:
        return Fault.UPSTREAM
    return Fault.CLIENT if 400 <= status < 500 else Fault.NONE
