"""What is known of a request before anything is sent.

Values with msgspec's base, which the compiled build cannot take in: nothing here is compiled.
"""

import msgspec

from canary.proxy.rewrite import Target
from canary.proxy.route import Route
from canary.terms import UNSCORED, Arm, AssignedBy
from canary.wire.heads import RequestHead


class Assignment(msgspec.Struct, frozen=True, gc=False):
    """Fixed before anything is sent, for the exchange's whole life."""

    arm: Arm = Arm.STABLE
    assigned_by: AssignedBy = AssignedBy.DEFAULT
    segment: int = UNSCORED
    bucket: int = -1  # -1 where no coin was tossed
    weight_bp: int = 0
    unit_hash: bytes = b""
    in_share: bool = False  # of the shadow
    stratum: int = 0  # the request's task class; 0: of none that is named


class Request(msgspec.Struct, gc=False, eq=False):
    """What is known when the exchange begins: its part of a live frame, and where it goes."""

    route: Route
    head: RequestHead
    assignment: Assignment
    body: bytes
    request_bytes: int
    start_at_us: int
    start_ns: int  # the same instant on the monotonic clock
    exchange_id: bytes
    target: Target
