"""What one ended answer was, as far as scores need it."""

import math
from typing import Final

import msgspec

UNTOLD: Final = math.inf
"""A value that nobody can tell, because what it stood in was not kept: scored against the claim, whichever that is."""


class Fact(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One answer's end. A `lost` one (its worker died) counts as failed at every age; its durations are not read."""

    age_us: int  # start -> end
    latency_us: int  # written -> end; -1 where nothing was written
    failed: bool
    left: bool  # the client went first
    lost: bool = False
    ttfb_us: int = -1  # written -> first byte; -1 where none came
    exchange_id: bytes = b""  # decides how values are rounded
    unit_hash: bytes = b""  # of a sticky unit
    values: tuple[
        float | None, ...
    ] = ()  # as read, in the order of the measures' metrics; None: absent, NaN: no number, or UNTOLD
    answer: bytes = b""  # digest of the answer's text where its diversity is guarded; empty: there is none
    client_error: bool = False  # answered with a status that says the request was wrong: 4xx, but 408 and 429
