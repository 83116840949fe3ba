"""What one ended answer was, as far as scores need it."""

import msgspec


class Fact(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One answer's end. A `lost` one (its worker died) counts as failed at every age; its durations are not read."""

    age_us: int  # start -> end
    latency_us: int  # written -> end; -1 where nothing was written
    failed: bool
    left: bool  # the client went first
    lost: bool = False
